"""Imported orders: the step of every cell, from a JSON or .npy file."""

import json
from pathlib import Path

import numpy as np

from diagplan.planner.arguments import require_path
from diagplan.planner.errors import DocumentError, SpecError
from diagplan.planner.layout import MAX_POSITIONS
from diagplan.planner.schedule import MAX_LABEL, Imported
from diagplan.schemas.arrays import array_from_npy
from diagplan.schemas.files import read_bytes
from diagplan.schemas.limits import require_affordable

__all__ = ["read_order"]

_DEEPEST = 3
_MAX_BYTES = 8 * MAX_POSITIONS + (1 << 16)  # the longest order as int64, and a header


def read_order(path: str | Path, *, label: str | None = None) -> Imported:
    """Read an order: the step of every cell as integers [T, h, w], or [h, w] for one frame.

    Args:
        path: a .npy file, or a .json file holding nested lists.
        label: what to call the order; by default the file's name without its extension.

    Raises:
        DocumentError: the file cannot be read, or holds no array of integers.
        SpecError: the numbers are not an order: below 0, or a step that no cell has.

    >>> read_order("lpd.npy")  # doctest: +SKIP
    Imported(label='lpd')
    """
    require_path("path", path)
    path = Path(path)
    data = read_bytes(path, _MAX_BYTES)
    if path.suffix == ".npy":
        steps = array_from_npy(data, path.name, of="integers")
    elif path.suffix == ".json":
        steps = _from_json(data, path.name)
    else:
        raise DocumentError(f"expected an order as .npy or .json, got {path.name}. Save it as one of the two.")
    if steps.size > MAX_POSITIONS:
        raise DocumentError(f"expected at most {MAX_POSITIONS} cells in {path.name}, got {steps.size}.")
    return Imported(steps=steps, label=_label(path) if label is None else label)


def _label(path: Path) -> str:
    return "".join(char if char.isprintable() else "?" for char in path.stem)[:MAX_LABEL]


def _from_json(data: bytes, name: str) -> np.ndarray:
    require_affordable(data, name)
    try:
        value = json.loads(data)
        array = np.array(value)
    except (ValueError, RecursionError) as error:
        raise DocumentError(
            f"expected nested lists of integers in {name}, got {str(error) or 'too deep nesting'}."
        ) from None
    if array.dtype.kind != "i" or array.ndim > _DEEPEST:
        raise SpecError(
            f"expected nested lists of integers, [T][h][w] or [h][w], in {name}, got "
            f"{array.ndim} levels of {array.dtype.name}."
        )
    return array
