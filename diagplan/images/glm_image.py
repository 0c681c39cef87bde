"""GLM-Image: its prompts (zai-org/GLM-Image, and GlmImageProcessor of transformers), and the pipeline that decodes."""

import math
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from diagplan.images.folder import ModelFolder
from diagplan.images.prompts import Prompted, Request, padded
from diagplan.images.texts import Texts
from diagplan.planner.arguments import is_file
from diagplan.planner.errors import DocumentError, SpecError
from diagplan.planner.extras import require_packages
from diagplan.planner.layout import Layout

__all__ = ["decode", "grids_of", "prompts", "require_decoder", "upsampled"]

#: Pixels of a token's side, and the usual side of a picture.
FACTOR, SIDE = 32, 1024


def grids_of(size: tuple[int, int] | None, ratio: tuple[int, int] | None) -> tuple[tuple[int, int], tuple[int, int]]:
    """Rows and columns of the preview and of the picture.

    Args:
        size: width and height in pixels; ``None``: about 1024 x 1024 of a ratio.
        ratio: width : height; ``None``: 1 : 1.

    Raises:
        SpecError: a size that is no multiple of 32, or a preview or a picture without a row or a column.

    >>> grids_of((768, 1152), None)
    ((19, 13), (36, 24))
    """
    if size is None:
        width, height = ratio or (1, 1)
        scale = SIDE / math.sqrt(width * height) / FACTOR
        rows, cols = round(height * scale), round(width * scale)
    else:
        if size[0] % FACTOR or size[1] % FACTOR:
            raise SpecError(
                f"expected a size in multiples of {FACTOR} pixels, got size={size[0]}x{size[1]}. GLM-Image has a token "
                f"for {FACTOR} x {FACTOR} pixels."
            )
        rows, cols = size[1] // FACTOR, size[0] // FACTOR
    preview = (0, 0)
    if rows and cols:
        preview = int(math.sqrt(rows / cols) * (FACTOR // 2)), int(math.sqrt(cols / rows) * (FACTOR // 2))
    if not all(preview):
        raise SpecError(
            f"expected a picture whose preview has a row and a column, got {rows} x {cols} tokens. Give a less "
            "extreme size or ratio."
        )
    return preview, (rows, cols)


def prompts(folder: ModelFolder, request: Request) -> Prompted:
    """Ids of prompts: the text, both grids, image start; two layouts, the preview first.

    Raises:
        SpecError: a negative prompt or a size that there is not.
        DocumentError: a tokenizer without one of the tokens.
    """
    if request.negative is not None:
        raise SpecError(
            "expected no negative prompt, got one: GLM-Image's token model is decoded without guidance. Leave it out."
        )
    (ph, pw), (rows, cols) = grids_of(request.size, request.ratio)
    texts = Texts(folder.tokenizer)
    template = texts.template()
    begin = texts.token("grid_bos_token", text="<sop>")
    end = texts.token("grid_eos_token", text="<eop>")
    start = texts.token("bos_token")
    grids = f"{begin}{rows} {cols}{end}{begin}{ph} {pw}{end}{start}"

    def ids(text: str) -> Sequence[int]:
        written = text + (request.suffix or "")
        return texts.ids((written if template is None else texts.chat(written, template, answer=False)) + grids)

    branches = padded([[ids(text) for text in request.texts]], texts.id_of(texts.token("pad_token", "eos_token")))
    lead = branches[0].ids.shape[1]
    return Prompted(
        layouts=(
            Layout(frames=1, rows=ph, cols=pw, lead=lead),
            Layout(frames=1, rows=rows, cols=cols, lead=lead + ph * pw),
        ),
        branches=branches, width=FACTOR * cols, height=FACTOR * rows, texts=request.texts,
    )  # fmt: skip


def upsampled(codes: NDArray[np.int64]) -> NDArray[np.int64]:
    """Codes [B, h, w] as the diffusion transformer reads them, each twice along both axes, [B, 2h x 2w].

    >>> upsampled(np.array([[[1, 2]]])).tolist()
    [[1, 1, 2, 2, 1, 1, 2, 2]]
    """
    return codes.repeat(2, axis=1).repeat(2, axis=2).reshape(len(codes), -1)


def require_decoder(folder: ModelFolder) -> None:
    """Raise ``DocumentError`` unless the folder holds the pipeline that makes pixels of tokens."""
    index = folder.path / "model_index.json"
    if not is_file(index):
        raise DocumentError(
            f"expected GLM-Image's pipeline, got {folder.path} without {index.name}. Its token model alone makes no "
            "pixels. Give the folder of the whole repository, or write the tokens alone: --tokens-out without -o."
        )
    for part in ("transformer", "vae", "text_encoder", "tokenizer", "scheduler"):
        if not (folder.path / part).is_dir():
            raise DocumentError(
                f"expected {part} in {folder.path}, got no such folder. Its pipeline makes pixels of tokens: fetch the "
                "whole repository."
            )


def decode(
    folder: ModelFolder,
    tokens: NDArray[np.int64],
    texts: Sequence[str],
    *,
    device: str,
    dtype: str,
    steps: int = 50,
    guidance: float = 1.5,
    seed: int = 0,
    on_picture: Callable[[int], None] = lambda _: None,
) -> NDArray[np.uint8]:
    """Pictures uint8 [B, height, width, 3] of codes int64 [B, rows, cols], by diffusers' GlmImagePipeline.

    The pipeline is loaded without the token model, which should have been let go before.

    Args:
        folder: of the whole pipeline.
        tokens: of the large grid.
        texts: the prompts, whose quoted parts the pipeline's glyph encoder reads.
        device: where it runs.
        dtype: of its weights.
        steps: of denoising.
        guidance: of the diffusion transformer.
        seed: of its noise; picture i has that of seed + i.
        on_picture: called with the number of pictures that are done.

    Raises:
        DocumentError: a part of the pipeline is missing.
        MissingExtraError: diffusers is not installed.
    """
    require_decoder(folder)
    require_packages("GLM-Image's pictures", "diffusers", "transformers")
    import torch
    from diffusers import GlmImagePipeline

    pipeline = _pipeline(GlmImagePipeline, folder.path, getattr(torch, dtype)).to(device)
    pipeline.set_progress_bar_config(disable=True)
    rows, cols = tokens.shape[1:]
    pictures = []
    for number, (codes, text) in enumerate(zip(upsampled(tokens), texts, strict=True)):
        image = pipeline(
            prompt=text,
            prior_token_ids=torch.from_numpy(codes[None]).to(device),
            height=FACTOR * rows,
            width=FACTOR * cols,
            num_inference_steps=steps,
            guidance_scale=guidance,
            generator=torch.Generator(device="cpu").manual_seed(seed + number),
            output_type="pil",
        ).images[0]
        pictures.append(np.asarray(image.convert("RGB")))
        on_picture(number + 1)
    return np.stack(pictures)


def _pipeline(kind: Any, folder: Path, dtype: Any) -> Any:
    from diffusers.utils import logging

    level = logging.get_verbosity()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # older releases know no other name of torch_dtype
            return kind.from_pretrained(
                folder, torch_dtype=dtype, local_files_only=True, vision_language_encoder=None, processor=None
            )
    except Exception as error:  # whatever a damaged part of seven makes two libraries raise
        raise DocumentError(
            f"expected GLM-Image's pipeline in {folder}, got one that cannot be loaded ({type(error).__name__}: "
            f"{' '.join(str(error).split())[:200]}). Fetch it again."
        ) from error
    finally:
        logging.set_verbosity(level)
        logging.enable_progress_bar()
