"""A published WHAM checkpoint as safetensors: the tensors that are used, under their own names, and what it says.

Two thirds of a published file are the optimizer's. The new file is written tensor by tensor, whole or not at all.
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import torch

from diagplan.adapters.weights import Checkpoint
from diagplan.adapters.wham import WhamConfig
from diagplan.adapters.wham_files import (
    NOTES_KEY,
    notes_text,
    open_wham,
    require_tied,
    transformer_names,
    wham_config_for,
)
from diagplan.adapters.wham_tokenizer import WhamTokenizerConfig, tokenizer_config_for, tokenizer_names
from diagplan.planner.errors import DocumentError, SpecError
from diagplan.planner.shown import shown
from diagplan.schemas.atomic import Replacement

__all__ = ["Converted", "convert_wham"]

_DTYPES = {torch.float64: "F64", torch.float32: "F32", torch.float16: "F16", torch.bfloat16: "BF16"}


class Converted(NamedTuple):
    """What was written.

    Attributes:
        config, tokenizer: of the two models.
        tensors, left_out: how many were written, and how many were not.
        bytes_read, bytes_written: of the two files.
    """

    config: WhamConfig
    tokenizer: WhamTokenizerConfig
    tensors: int
    left_out: int
    bytes_read: int
    bytes_written: int


def convert_wham(
    source: str | Path,
    target: str | Path,
    *,
    config: str | Path | WhamConfig | None = None,
    head_size: int | None = None,
    on_tensor: Callable[[int, int], None] | None = None,
) -> Converted:
    """Write the transformer and the image tokenizer of a checkpoint as one safetensors file.

    Args:
        source: a checkpoint, as for ``load_wham``; nothing in it is run.
        target: the file to write.
        config: as for ``load_wham``; kept in the file, so that it need not be given again.
        head_size: as for ``load_wham_tokenizer``; kept in the file.
        on_tensor: called with the number of tensors written so far and of all.

    Raises:
        SpecError: sizes that the file does not tell, or one file to be read and written.
        DocumentError: a file that is missing or cannot be read, lacks tensors or has others, or cannot be written.
    """
    source, target = Path(source), Path(target)
    checkpoint, notes = open_wham(source)
    if any(target.resolve() == file.resolve() for file in checkpoint.files):
        raise SpecError(f"expected another file to write than {source}, got the same. Give another name.")
    sizes = wham_config_for(checkpoint, notes, config)
    names = transformer_names(checkpoint, sizes)
    vision = tokenizer_config_for(checkpoint, notes._replace(config=sizes), head_size=head_size)
    require_tied(checkpoint, names)
    kept = sorted({*names.values(), *tokenizer_names(checkpoint, vision).values()})
    try:
        written = _write(checkpoint, kept, target, notes_text(sizes, vision.head_size), on_tensor or (lambda *_: None))
    except OSError as error:
        raise DocumentError(
            f"expected to write a file, got path={shown(str(target), 300)}: {error.strerror or error}. Give "
            "another path."
        ) from None
    read = sum(file.stat().st_size for file in checkpoint.files)
    return Converted(sizes, vision, len(kept), len(checkpoint.headers) - len(kept), read, written)


def _write(
    checkpoint: Checkpoint, kept: list[str], target: Path, notes: str, on_tensor: Callable[[int, int], None]
) -> int:
    header: dict[str, object] = {"__metadata__": {"format": "pt", NOTES_KEY: notes}}
    end = 0
    for name in kept:
        shape, dtype = checkpoint.headers[name]
        kind: torch.dtype = getattr(torch, dtype)
        start, end = end, end + torch.Size(shape).numel() * kind.itemsize
        header[name] = {"dtype": _DTYPES[kind], "shape": list(shape), "data_offsets": [start, end]}
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with Replacement(target) as replacement:
        replacement.write(len(text).to_bytes(8, "little") + text)
        for number, name in enumerate(kept, start=1):
            replacement.write(checkpoint.read(name).flatten().view(torch.uint8).numpy().data)
            on_tensor(number, len(kept))
    return 8 + len(text) + end
