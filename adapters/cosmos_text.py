"""The text that a Video2World model reads: T5-11B's last hidden state, from a file or from a local T5 folder.

Source: cosmos-predict1, auxiliary/t5_text_encoder.py: 512 tokens, padded and cut; the vectors behind a text are zeros,
and the release lets the model see them.
"""

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from diagplan.adapters.weights import open_checkpoint
from diagplan.planner.errors import DocumentError, MissingExtraError, SpecError
from diagplan.planner.shown import shown
from diagplan.schemas.arrays import read_npy

__all__ = ["encode_text", "read_text_features"]

#: Tokens of a text.
TOKENS = 512
_NPY = b"\x93NUMPY"


def read_text_features(path: str | Path) -> Tensor:
    """Text features from a ``.npy`` file, or a ``.safetensors`` file with one tensor; nothing is ever unpickled.

    Returns:
        float32 [B, tokens, width].

    Raises:
        DocumentError: another file, or an array of another kind.
    """
    path = Path(path)
    try:
        with path.open("rb") as file:
            head = file.read(9)
    except OSError as error:
        raise DocumentError(f"cannot read {path}: {error.strerror}. Check the name and the permissions.") from None
    if head.startswith(_NPY):
        features = _from_npy(path)
    elif head[8:9] == b"{":
        checkpoint = open_checkpoint(path)
        if len(checkpoint.headers) != 1:
            raise DocumentError(f"expected one tensor of text features in {path}, got {len(checkpoint.headers)}.")
        features = checkpoint.read(next(iter(checkpoint.headers)))
    else:
        raise DocumentError(
            f"expected text features as .npy or .safetensors, got {path}, which is neither. Save the last hidden "
            "state of T5-11B with numpy.save, float [tokens, 1024]."
        )
    if features.ndim not in (2, 3) or 0 in features.shape or not features.is_floating_point():
        raise DocumentError(
            f"expected text features, float [tokens, width] or [batch, tokens, width], got {path} with "
            f"{str(features.dtype).removeprefix('torch.')} {list(features.shape)}."
        )
    return (features[None] if features.ndim == 2 else features).float()


def _from_npy(path: Path) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(read_npy(path, of="floats")))


def encode_text(
    texts: str | Sequence[str],
    folder: str | Path,
    *,
    tokens: int = TOKENS,
    device: str = "cpu",
    dtype: torch.dtype = torch.float32,
) -> Tensor:
    """Text features by a T5 encoder on this machine; nothing is downloaded.

    Args:
        texts: one text, or one for each sample.
        folder: of a T5 as transformers saves it, with its tokenizer; the releases read T5-11B.
        tokens: a text is padded to this length, and a longer one is silently cut there, as by the release.
        device: of the encoder.
        dtype: of the encoder.

    Returns:
        its last hidden state, float32 [B, tokens, width]; zeros behind the end of a text.

    Raises:
        SpecError: no text, a blank one, or one that UTF-8 cannot express.
        DocumentError: a folder without a T5 that can be read.
        MissingExtraError: transformers is not installed.
    """
    several = [texts] if isinstance(texts, str) else list(texts)
    if not several or tokens < 1:
        raise SpecError(
            f"expected at least one text and one token, got {len(several)} texts and tokens={shown(tokens)}."
        )
    for number, text in enumerate(several):
        _check_text(text, number)
    tokenizer, encoder = _load_t5(Path(folder), device, dtype)
    encoded = tokenizer(several, padding="max_length", truncation=True, max_length=tokens, return_tensors="pt").to(
        device
    )
    with torch.inference_mode():
        hidden = encoder(input_ids=encoded["input_ids"], attention_mask=encoded["attention_mask"]).last_hidden_state
    seen = encoded["attention_mask"][:, :, None].bool()
    return torch.where(seen, hidden.float(), 0.0)


def _check_text(text: str, number: int) -> None:
    if not text.strip():
        raise SpecError(
            f"expected a text that says something, got {shown(text[:20])} as text {number}. Say what to show."
        )
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise SpecError(
            f"expected a text that UTF-8 can express, got {shown(text[error.start])} at character {error.start} of "
            f"text {number}. Leave it out."
        ) from None


@contextmanager
def _quiet(transformers: Any) -> Iterator[None]:
    """Loading without progress bars on stderr, nor warnings about the tokenizer's forms, which are of no use here."""
    logging = transformers.utils.logging
    shown = logging.is_progress_bar_enabled()
    if shown:
        logging.disable_progress_bar()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        if shown:
            logging.enable_progress_bar()


def _load_t5(folder: Path, device: str, dtype: torch.dtype) -> tuple[Any, Any]:
    try:
        transformers = import_module("transformers")
    except ImportError:
        raise MissingExtraError(
            "expected the package transformers for encoding text, got none. Install it: pip install transformers "
            "sentencepiece; or read features from a file."
        ) from None
    if not (folder / "config.json").is_file():
        raise DocumentError(
            f"expected a folder with T5 (config.json, weights, tokenizer), got {folder} without config.json. Google "
            "publishes T5-11B on Hugging Face as google-t5/t5-11b. Fetch it, or read features from a file."
        )
    try:
        with _quiet(transformers):
            tokenizer = transformers.AutoTokenizer.from_pretrained(folder, local_files_only=True)
            encoder, loaded = transformers.T5EncoderModel.from_pretrained(
                folder, local_files_only=True, dtype=dtype, output_loading_info=True
            )
        if loaded["missing_keys"]:  # transformers would go on with random ones
            raise ValueError(f"no weights for {', '.join(sorted(loaded['missing_keys'])[:4])}")
        return tokenizer, encoder.to(device).eval()
    except Exception as error:
        reason = " ".join(str(error).split())[:200]
        raise DocumentError(f"expected a folder with T5 and its tokenizer, got {folder} ({reason}).") from error
