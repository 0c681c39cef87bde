"""A Llama-like model whose picture tokens are described by a ``raster.json`` beside its config.json."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from diagplan.images.folder import ModelFolder
from diagplan.images.prompts import Prompted, Request, padded
from diagplan.images.texts import Texts
from diagplan.images.vq import Decoder
from diagplan.planner.errors import DocumentError, SpecError
from diagplan.planner.layout import Layout

__all__ = ["decoder", "prompts", "require_file"]


def prompts(folder: ModelFolder, request: Request) -> Prompted:
    """Ids of prompts: what the tokenizer gives for a text, then the raster's own lead.

    The branch without the condition is the negative prompt, or an empty text.

    Raises:
        SpecError: a ratio, or a size that is not the raster's: nothing tells how many pixels a token has.
    """
    if request.ratio is not None or request.size is not None:
        raise SpecError(
            "expected no size and no ratio, got one: the picture has the rows and columns of raster.json. Leave it "
            "out, or change raster.json."
        )
    raster, texts = folder.raster, Texts(folder.tokenizer)
    assert raster is not None, "a folder without raster.json is none of this family"
    branches = [[[*texts.ids(text + (request.suffix or "")), *raster.lead] for text in request.texts]]
    if request.guided:
        branches.append([[*texts.ids(request.negative or ""), *raster.lead]] * len(request.texts))
    if not all(ids for branch in branches for ids in branch):
        raise DocumentError(
            f"expected an id before the picture, got none for an empty text: {folder.tokenizer} adds none, and "
            "raster.json has no lead. Give the lead ids."
        )
    laid = padded(branches, 0)
    return Prompted(
        layouts=(
            Layout(
                frames=1, rows=raster.rows, cols=raster.cols, lead=laid[0].ids.shape[1],
                between_rows=len(raster.between_rows),
            ),
        ),
        branches=laid, between=raster.between_rows, width=0, height=0, texts=request.texts,
    )  # fmt: skip


def require_file(folder: ModelFolder) -> Path:
    """The file of the image decoder.

    Raises:
        DocumentError: none is named.
    """
    if folder.vq is None:
        raise DocumentError(
            "expected a file of the image decoder for a model of raster.json, got none: nothing tells what its tokens "
            "look like. Name one with --vq (vq_ds16_c2i.pt, vqgan.ckpt), or write the tokens alone: --tokens-out."
        )
    return folder.vq


def decoder(folder: ModelFolder, device: str) -> Decoder:
    """Ids int64 [B, rows, cols] to pictures uint8 [B, height, width, 3]; code 0 is the first id of the raster.

    Raises:
        DocumentError: no file is named, or it cannot be read.
    """
    from diagplan.adapters.vq_decoder import load_vq

    raster, tokenizer = folder.raster, load_vq(require_file(folder), device=device)
    assert raster is not None, "a folder without raster.json is none of this family"

    def decode(ids: NDArray[np.int64]) -> NDArray[np.uint8]:
        return tokenizer.decode(ids - raster.ids[0])

    return decode
