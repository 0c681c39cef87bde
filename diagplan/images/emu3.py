"""Emu3: its prompts (baaivision/Emu3, and Emu3Processor of transformers) and its decoder."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from diagplan.images.folder import ModelFolder
from diagplan.images.prompts import Prompted, Request, padded
from diagplan.images.texts import Texts
from diagplan.images.vq import Decoder, as_pixels, image_statistics, load_vq, on_device
from diagplan.planner.errors import DocumentError, SpecError
from diagplan.planner.layout import Layout

__all__ = ["NEGATIVE", "SUFFIX", "decoder", "first_code", "grid_of", "prompts"]

#: What the release appends to a prompt, and what its guidance leads away from.
SUFFIX = " masterpiece, film grained, best quality."
NEGATIVE = (
    "lowres, bad anatomy, bad hands, text, error, missing fingers, extra digit, fewer digits, cropped, worst quality, "
    "low quality, normal quality, jpeg artifacts, signature, watermark, username, blurry."
)
#: Pixels of a picture of Emu3-Gen, and of a token's side.
AREA, FACTOR = 518400, 8
#: The token between two rows.
_LINE = "<|extra_200|>"


def grid_of(size: tuple[int, int] | None, ratio: tuple[int, int] | None, area: int = AREA) -> tuple[int, int]:
    """Rows and columns of tokens: of a size in pixels, else of a ratio, width : height, at the release's area.

    Raises:
        SpecError: a size that is no multiple of 8, or a ratio of no whole row or column.

    >>> grid_of(None, (16, 9)), grid_of((720, 720), None)
    ((68, 120), (90, 90))
    """
    if size is not None:
        width, height = size
        if width % FACTOR or height % FACTOR:
            raise SpecError(
                f"expected a size in multiples of {FACTOR} pixels, got size={width}x{height}. Emu3 has a token for "
                f"{FACTOR} x {FACTOR} pixels."
            )
        return height // FACTOR, width // FACTOR
    width, height = ratio or (1, 1)
    scale = math.sqrt(area / (width * height))
    rows, cols = round(height * scale / FACTOR), round(width * scale / FACTOR)
    if not rows or not cols:
        raise SpecError(f"expected a ratio of a row and a column at least, got ratio={width}:{height}. Give another.")
    return rows, cols


def prompts(folder: ModelFolder, request: Request) -> Prompted:
    """Ids of prompts: the first id, the text and what is appended, image start, ``ROWS*COLS``, image token.

    The negative prompt is written like the others, with image start, size and image token, as the original does; each
    branch has its own padding.

    Raises:
        SpecError: as ``grid_of``.
        DocumentError: a tokenizer without one of the tokens.
    """
    rows, cols = grid_of(request.size, request.ratio)
    texts = Texts(folder.tokenizer)
    first = texts.token("bos_token")
    start = texts.token("boi_token", text="<|image start|>")
    mark = texts.token("image_wrapper_token", text="<|image token|>")
    line: Any = folder.sizes("vocabulary_map").get(_LINE)
    between = texts.id_of(_LINE) if line is None else folder.whole(line, _LINE, 0)
    suffix = SUFFIX if request.suffix is None else request.suffix
    negative = NEGATIVE if request.negative is None else request.negative

    def ids(text: str) -> Sequence[int]:
        return texts.ids(f"{first}{text}{start}{rows}*{cols}{mark}")

    branches = [[ids(text + suffix) for text in request.texts]]
    if request.guided:
        branches.append([ids(negative)] * len(request.texts))
    filler = texts.id_of(texts.token("pad_token", "eos_token"))
    laid = padded(branches, filler)
    return Prompted(
        layouts=(Layout(frames=1, rows=rows, cols=cols, lead=laid[0].ids.shape[1], between_rows=1),),
        branches=laid, between=(between,), width=FACTOR * cols, height=FACTOR * rows, texts=request.texts,
    )  # fmt: skip


def first_code(folder: ModelFolder) -> int:
    """The id of code 0: ids of codes follow each other, as ``vocabulary_map`` names them.

    Raises:
        DocumentError: config.json has no such names, or their ids do not follow each other.
    """
    names: Any = folder.sizes("vocabulary_map")
    visual = sorted(name for name in names if name.startswith("<|visual token"))
    ids = [names[name] for name in visual]
    first = ids[0] if ids else None
    if not isinstance(first, int) or ids != list(range(first, first + len(ids))):
        raise DocumentError(
            f"expected vocabulary_map in {folder.model / 'config.json'} to name the visual tokens in order, got "
            f"{len(ids)} of them. Fetch the file again."
        )
    return first


def decoder(folder: ModelFolder, device: str) -> Decoder:
    """Ids int64 [B, rows, cols] to pictures uint8 [B, height, width, 3], by transformers' own Emu3VQVAE.

    Raises:
        DocumentError: the weights lack the decoder.
    """
    from transformers import Emu3Config
    from transformers.models.emu3.modeling_emu3 import Emu3VQVAE

    first, (mean, std) = first_code(folder), image_statistics(folder, 0.5)
    vq = load_vq(folder, Emu3VQVAE, Emu3Config, device)

    def decode(ids: NDArray[np.int64]) -> NDArray[np.uint8]:
        return as_pixels(vq.decode(on_device(ids - first, device)), mean=mean, std=std)

    return decode
