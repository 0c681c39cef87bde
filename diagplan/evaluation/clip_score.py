"""CLIP score of pictures and their prompts, by a user's own CLIP in the form of transformers.

100 times the cosine of the embeddings of picture and text, and never below 0: CLIPScore (Hessel et al., arXiv
2104.08718) with 100 in the place of its 2.5. Texts are cut at the length that the model was trained on.
"""

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from diagplan.planner.arguments import is_file
from diagplan.planner.errors import DocumentError, SpecError
from diagplan.planner.extras import require_packages
from diagplan.schemas.files import read_bytes

__all__ = ["ClipScorer", "load_clip"]

_WEIGHTS = "model.safetensors"
_PUBLISHED = "Most papers use openai/clip-vit-base-patch16 or openai/clip-vit-large-patch14 of Hugging Face"
_MOST = 1 << 24


class ClipScorer:
    """A CLIP with its tokenizer and its rules for pictures.

    Args:
        model: a ``CLIPModel`` of transformers.
        tokenizer: its tokenizer.
        pictures: its image processor.
        digest: SHA-256 of its weights.
        device: where it computes.
    """

    def __init__(self, model: Any, tokenizer: Any, pictures: Any, digest: str, device: str = "cpu") -> None:
        self.digest, self.device = digest, device
        self._model, self._tokenizer, self._pictures = model, tokenizer, pictures

    def scores(self, pictures: NDArray[np.uint8], texts: Sequence[str], *, batch: int = 16) -> NDArray[np.float64]:
        """The score of each picture with its text, float64 [B], 0 to 100.

        Args:
            pictures: uint8 [B, height, width, 3].
            texts: B of them.
            batch: pictures at a time.

        Raises:
            SpecError: pictures of another form, or another number of texts.
        """
        import torch
        from PIL import Image

        if pictures.ndim != 4 or pictures.shape[-1] != 3 or pictures.dtype != np.uint8 or len(pictures) != len(texts):
            raise SpecError(
                f"expected pictures uint8 [B, height, width, 3] and a text for each, got {pictures.dtype} "
                f"{list(pictures.shape)} and {len(texts)} texts."
            )
        most = int(self._model.config.text_config.max_position_embeddings)
        scores = np.zeros(len(pictures))
        for at in range(0, len(pictures), batch):
            part = slice(at, at + batch)
            seen = self._pictures([Image.fromarray(one) for one in pictures[part]], return_tensors="pt")
            read = self._tokenizer(
                list(texts[part]), padding=True, truncation=True, max_length=most, return_tensors="pt"
            )
            with torch.inference_mode():
                out = self._model(
                    input_ids=read["input_ids"].to(self.device),
                    attention_mask=read["attention_mask"].to(self.device),
                    pixel_values=seen["pixel_values"].to(self.device),
                )
                one, other = (
                    torch.nn.functional.normalize(value.double(), dim=-1)
                    for value in (out.image_embeds, out.text_embeds)
                )
            scores[part] = 100 * (one * other).sum(-1).clamp(min=0).cpu().numpy()
        return scores


def load_clip(folder: str | Path, *, device: str = "cpu") -> ClipScorer:
    """A CLIP from a folder as Hugging Face has it; nothing is fetched, and no pickle is read.

    Args:
        folder: with config.json, model.safetensors, the tokenizer's files and preprocessor_config.json.
        device: ``"cpu"``, ``"cuda"``, ...

    Raises:
        DocumentError: a file is missing, cannot be read, or is of another model.
        MissingExtraError: torch or transformers is not installed.
    """
    require_packages("the CLIP score", "torch", "transformers", "PIL")
    folder = Path(folder)
    for name in ("config.json", _WEIGHTS, "preprocessor_config.json"):
        if not is_file(folder / name):
            raise DocumentError(f"weights needed: {folder / name}. {_PUBLISHED}. Fetch the whole folder.")
    try:
        kind = json.loads(read_bytes(folder / "config.json", _MOST)).get("model_type")
    except (ValueError, RecursionError, AttributeError):
        kind = None
    if kind != "clip":
        raise DocumentError(
            f"expected model_type clip in {folder / 'config.json'}, got another model. {_PUBLISHED}. Give its folder."
        )
    import transformers

    # The one that needs no torchvision, where there are two.
    processor = getattr(transformers, "CLIPImageProcessorPil", transformers.CLIPImageProcessor)
    only: dict[str, Any] = {"local_files_only": True}
    logging: Any = transformers.utils.logging
    bars = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        model = transformers.CLIPModel.from_pretrained(folder, use_safetensors=True, **only)
        tokenizer = transformers.AutoTokenizer.from_pretrained(
            folder, trust_remote_code=False, padding_side="right", **only
        )
        pictures = processor.from_pretrained(folder, **only)
    except Exception as error:  # the library raises almost anything at a damaged file
        reason = " ".join(str(error).split())[:200]
        raise DocumentError(
            f"expected a CLIP in {folder}, got files that cannot be read ({type(error).__name__}: {reason}). Fetch "
            "them again."
        ) from error
    finally:
        if bars:
            logging.enable_progress_bar()
    with (folder / _WEIGHTS).open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    held: Any = model
    return ClipScorer(held.to(device).eval().requires_grad_(False), tokenizer, pictures, digest, device)
