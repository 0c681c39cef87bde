"""Chameleon and Anole: prompts (GAIR-NLP/anole, and ChameleonProcessor of transformers) and three branches."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from diagplan.images.folder import ModelFolder
from diagplan.images.prompts import Prompted, Request, padded
from diagplan.images.texts import Texts
from diagplan.images.vq import Decoder
from diagplan.planner.arguments import is_file
from diagplan.planner.errors import DocumentError, SpecError
from diagplan.planner.layout import Layout

__all__ = ["branches_of", "code_table", "codes_of", "decoder", "decoder_file", "prompts", "weights_of"]

#: Where the published folders keep the decoder, which transformers' conversion leaves out.
_FILES = ("tokenizer/vqgan.ckpt", "vqgan.ckpt", "vqgan.safetensors")

#: Anole's own scales: of the text against the picture alone, and of the picture against nothing.
TEXT_SCALE, PICTURE_SCALE = 3.0, 1.2


def prompts(folder: ModelFolder, request: Request) -> Prompted:
    """Ids of prompts: the first id, the text, end of turn, begin of image.

    A prompt of text alone has two branches: the one with its pictures alone is the one with nothing.

    Raises:
        SpecError: a size, a ratio or a negative prompt, of which the model has none.
        DocumentError: a tokenizer without one of the tokens.
    """
    side, pixels = _grid(folder)
    if request.ratio not in (None, (1, 1)) or request.size not in (None, (pixels, pixels)):
        raise SpecError(
            f"expected pictures of {pixels}x{pixels}, the only size of this model, got another size or ratio. Leave "
            "it out."
        )
    if request.negative is not None:
        raise SpecError(
            "expected no negative prompt, which Anole does not know, got one. Its guidance leads away from an empty "
            "prompt. Leave it out."
        )
    texts = Texts(folder.tokenizer)
    first = texts.id_of(texts.token("bos_token", text="<s>"))
    turn = texts.id_of(texts.token("sep_token", text="<reserved08706>"))
    begin = texts.id_of(texts.token("boi_token", text="<racm3:break>"))
    end = texts.id_of(texts.token("eoi_token", text="<eoss>"))
    low, high = codes_of(folder)
    full = [[first, *texts.ids(text + (request.suffix or ""), special=False), turn, begin] for text in request.texts]
    if request.guided:
        each = [branches_of(ids, (low, high), first=first, begin=begin, end=end) for ids in full]
        count = max(len(branches) for branches in each)
        laid = [[branches[min(at, len(branches) - 1)] for branches in each] for at in range(count)]
    else:
        laid = [full]
    filler = texts.id_of(texts.token("pad_token", "eos_token"))
    branches = padded(laid, filler)
    return Prompted(
        layouts=(Layout(frames=1, rows=side, cols=side, lead=branches[0].ids.shape[1]),),
        branches=branches, width=pixels, height=pixels, texts=request.texts,
    )  # fmt: skip


def branches_of(ids: Sequence[int], codes: tuple[int, int], *, first: int, begin: int, end: int) -> list[list[int]]:
    """Anole's branches of a prompt: all of it; its pictures alone; nothing but the marks that begin one.

    Args:
        ids: of the prompt, which ends in ``begin``.
        codes: the range of ids of pictures.
        first: the id of the beginning.
        begin: the id of begin of image.
        end: the id of end of image.

    Returns:
        three lists of ids; two where the prompt has no picture, for the second is then the third.

    >>> branches_of([1, 50, 51, 9, 8], (4, 8), first=1, begin=8, end=10)
    [[1, 50, 51, 9, 8], [1, 8]]
    """
    pictures = [first, *(one for one in ids[1:] if codes[0] <= one < codes[1] or one in (begin, end))]
    nothing = [first, begin]
    return [list(ids), nothing] if pictures == nothing else [list(ids), pictures, nothing]


def weights_of(scale: float, branches: int, picture: float = PICTURE_SCALE) -> float | tuple[float, ...]:
    """The weights of u + picture (i - u) + scale (f - i); of two branches the scale alone.

    >>> weights_of(3.0, 2)
    3.0
    """
    return scale if branches == 2 else (scale, picture - scale, 1 - picture)


def codes_of(folder: ModelFolder) -> tuple[int, int]:
    """The range of ids of pictures, as ``vocabulary_map`` names them.

    Raises:
        DocumentError: config.json has no such names, or their ids have gaps.
    """
    names: Any = folder.sizes("vocabulary_map")
    ids = sorted(number for name, number in names.items() if name.startswith("IMGIMG") and isinstance(number, int))
    if not ids or ids != list(range(ids[0], ids[-1] + 1)):
        raise DocumentError(
            f"expected vocabulary_map in {folder.model / 'config.json'} to name image tokens without gaps, got "
            f"{len(ids)} of them. Fetch the file again."
        )
    return ids[0], ids[-1] + 1


def code_table(folder: ModelFolder) -> dict[int, int]:
    """Id -> code, as the names of ``vocabulary_map`` spell them: digits as the letters A to J."""
    letters = str.maketrans("ABCDEFGHIJ", "0123456789")
    names: Any = folder.sizes("vocabulary_map")
    return {
        number: int(name.removeprefix("IMGIMG").removesuffix("Z").translate(letters))
        for name, number in names.items()
        if name.startswith("IMGIMG") and isinstance(number, int)
    }


def _grid(folder: ModelFolder) -> tuple[int, int]:
    """Rows of tokens and pixels of a picture's side."""
    vq = folder.sizes("vq_config")
    pixels = folder.whole(vq.get("resolution", 512), "resolution")
    levels = vq.get("channel_multiplier", [1, 1, 2, 2, 4])
    return pixels // 2 ** (len(levels) - 1), pixels


def decoder_file(folder: ModelFolder) -> Path:
    """The file of the image decoder.

    Raises:
        DocumentError: there is none.
    """
    for path in [folder.vq] if folder.vq is not None else [folder.path / name for name in _FILES]:
        if is_file(path):
            return path
    raise DocumentError(
        f"expected the image decoder vqgan.ckpt, got {folder.vq or folder.path} without it: transformers' "
        "Chameleon has an encoder alone. Fetch tokenizer/vqgan.ckpt of the original release, and name it with --vq."
    )


def decoder(folder: ModelFolder, device: str) -> Decoder:
    """Ids int64 [B, rows, cols] to pictures uint8 [B, height, width, 3], by the original's own decoder.

    Raises:
        DocumentError: its file is missing or cannot be read.
    """
    from diagplan.adapters.vq_decoder import load_vq

    low, high = codes_of(folder)
    table = np.array([code_table(folder)[number] for number in range(low, high)], dtype=np.int64)
    tokenizer = load_vq(decoder_file(folder), device=device)

    def decode(ids: NDArray[np.int64]) -> NDArray[np.uint8]:
        return tokenizer.decode(table[ids - low])

    return decode
