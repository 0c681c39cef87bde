"""Files of WHAM's recordings: frames and actions as its sample data has them, and actions as JSON lines."""

import json
import zipfile
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from diagplan.adapters.wham_actions import BLOCK, BUTTONS, STICKS, bins_from_sticks, decode_actions, encode_actions
from diagplan.planner.errors import DocumentError, SpecError

__all__ = ["read_actions", "read_clip"]

_LINES = f'{{"buttons": [{BUTTONS} times 0 or 1], "sticks": [{STICKS} positions from -1 to 1]}} on each line'
#: Bytes of an actions file that are read.
_MOST = 1 << 26


def read_clip(path: str | Path) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Frames uint8 [T, height, width, 3] and actions int64 [T, 16] of one file of the published sample data.

    Such a ``.npz`` holds ``images``, uint8 [T, 3, height, width], and ``actions``, [T, 16], binned. Nothing is
    unpickled.

    Raises:
        DocumentError: a file that cannot be read, or that holds something else.
    """
    try:
        with Path(path).open("rb") as file, np.load(file, allow_pickle=False) as held:
            images, actions = held["images"], held["actions"]
    except (OSError, ValueError, KeyError, EOFError, AttributeError, TypeError, zipfile.BadZipFile) as error:
        said = str(error).partition("\n")[0][:200].rstrip(".")
        raise DocumentError(f"expected a .npz with images and actions, got {path}: {said}.") from None
    if images.ndim != 4 or images.shape[1] != 3 or images.dtype != np.uint8 or len(images) != len(actions):
        raise DocumentError(
            f"expected images uint8 [T, 3, height, width] and as many actions, got {images.dtype} "
            f"{list(images.shape)} and {list(np.shape(actions))} in {path}."
        )
    try:
        ids = encode_actions(actions)
    except SpecError as error:
        raise DocumentError(f"{path}: {error}") from None
    return np.ascontiguousarray(images.transpose(0, 2, 3, 1)), decode_actions(ids)


def read_actions(path: str | Path) -> NDArray[np.int64]:
    """Token ids of the actions in a file, int64 [T, 16].

    Such a file is a ``.npz`` of the sample data, a ``.npy`` of whole numbers [T, 16], binned, or JSON lines: an object
    with 12 ``buttons``, 0 or 1, and 4 ``sticks``, positions from -1 to 1, for each frame.

    Raises:
        DocumentError: a file that cannot be read, or that holds something else.
    """
    place = Path(path)
    ending = place.suffix.lower()
    if ending == ".npz":
        return encode_actions(read_clip(place)[1])
    actions = _of_array(place) if ending == ".npy" else [_action(*line) for line in _lines(place)]
    try:
        return encode_actions(np.asarray(actions).reshape(-1, BLOCK) if len(actions) == 0 else actions)
    except SpecError as error:
        raise DocumentError(f"{path}: {error}") from None


def _of_array(path: Path) -> NDArray[Any]:
    try:
        with path.open("rb") as file:
            array = np.lib.format.read_array(file, allow_pickle=False)
    except Exception as error:  # noqa: BLE001 - the parser of its header raises almost anything
        said = (str(error).partition("\n")[0] or type(error).__name__)[:200].rstrip(".")
        raise DocumentError(f"expected a .npy of actions, got {path}: {said}.") from None
    if array.ndim != 2 or array.dtype.kind not in "iuf":
        raise DocumentError(
            f"expected actions as numbers [T, {BLOCK}], got {array.dtype} {list(array.shape)} in {path}."
        )
    return array


def _lines(path: Path) -> Iterator[tuple[Any, str]]:
    """Each line's object, and where it stands."""
    try:
        if path.stat().st_size > _MOST:
            raise DocumentError(f"expected an actions file of at most {_MOST >> 20} MiB, got {path}.")
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise DocumentError(f"expected {_LINES}, got {path}, which is not UTF-8 text.") from None
    except OSError as error:
        raise DocumentError(f"cannot read the actions {path}: {error.strerror}. Check the name.") from None
    for number, line in enumerate(text.split("\n"), start=1):
        if line.strip():
            try:
                said = json.loads(line)
            except (ValueError, RecursionError):
                said = None
            yield said, f"{path}, line {number}"


def _action(said: Any, where: str) -> list[int]:
    """One action, binned."""
    known = isinstance(said, dict) and set(said) == {"buttons", "sticks"}
    parts = [said[name] for name in ("buttons", "sticks")] if known else []
    sizes = [len(part) for part in parts if isinstance(part, list)]
    if sizes != [BUTTONS, STICKS] or not all(_is_number(value) for value in chain.from_iterable(parts)):
        raise DocumentError(f"expected {_LINES}, got another one at {where}.")
    buttons, sticks = parts
    if any(value not in (0, 1) for value in buttons):
        raise DocumentError(f"expected buttons as 0 or 1, got others at {where}.")
    if any(abs(value) > 1 for value in sticks):
        raise DocumentError(f"expected sticks as positions from -1 to 1, got others at {where}.")
    return [*map(int, buttons), *bins_from_sticks(sticks).tolist()]


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e9
