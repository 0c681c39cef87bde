"""Files of WHAM's recordings: frames and actions as its sample data has them, and actions as JSON lines."""

import json
import math
import zipfile
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from diagplan.adapters.wham_actions import BLOCK, BUTTONS, STICKS, bins_from_sticks, decode_actions, encode_actions
from diagplan.planner.errors import DocumentError, SpecError

__all__ = ["encode_line", "read_actions", "read_clip"]

_LINES = f'{{"buttons": [{BUTTONS} times 0 or 1], "sticks": [{STICKS} positions from -1 to 1]}} on each line'
#: Bytes that are read: of an actions file, and of the images beside them once they are unpacked.
_MOST, _MOST_IMAGES = 1 << 26, 1 << 31
_LIMITS = {"images": _MOST_IMAGES, "actions": _MOST}
_HEADERS = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}
#: What numpy.savez and numpy.savez_compressed write. Others unpack to any size at once.
_PACKINGS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)


def read_clip(path: str | Path) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Frames uint8 [T, height, width, 3] and actions int64 [T, 16] of one file of the published sample data.

    Such a ``.npz`` holds ``images``, uint8 [T, 3, height, width], at most 2 GiB, and ``actions``, [T, 16], binned, at
    most 64 MiB. Nothing is unpickled.

    Raises:
        DocumentError: a file that cannot be read, or that holds something else.
    """
    images, actions = _members(Path(path), "images", "actions")
    ids = _encoded(actions, path)
    if images.ndim != 4 or images.shape[1] != 3 or images.dtype != np.uint8 or len(images) != len(actions):
        raise DocumentError(
            f"expected images uint8 [T, 3, height, width] and as many actions, got {images.dtype} "
            f"{list(images.shape)} and {list(actions.shape)} in {path}."
        )
    return np.ascontiguousarray(images.transpose(0, 2, 3, 1)), decode_actions(ids)


def read_actions(path: str | Path) -> NDArray[np.int64]:
    """Token ids of the actions in a file, int64 [T, 16].

    Such a file is a ``.npz`` of the sample data, whose images are not opened, a ``.npy`` of whole numbers [T, 16],
    binned, or JSON lines: an object with 12 ``buttons``, 0 or 1, and 4 ``sticks``, positions from -1 to 1, for each
    frame.

    Raises:
        DocumentError: a file that cannot be read, or that holds something else.
    """
    place = Path(path)
    ending = place.suffix.lower()
    if ending == ".npz":
        (actions,) = _members(place, "actions")
    elif ending == ".npy":
        actions = _of_array(place)
    else:
        actions = np.array([_action(*line) for line in _lines(place)], dtype=np.int64).reshape(-1, BLOCK)
    return _encoded(actions, path)


def encode_line(action: Any) -> NDArray[np.int64]:
    """Token ids of one action as JSON lines have it, int64 [16].

    Raises:
        DocumentError: something else.
    """
    return encode_actions(_action(action, "the action given"))


def _encoded(actions: NDArray[Any], path: str | Path) -> NDArray[np.int64]:
    if actions.ndim != 2 or actions.dtype.kind not in "iuf":
        raise DocumentError(
            f"expected actions as numbers [T, {BLOCK}], got {actions.dtype} {list(actions.shape)} in {path}."
        )
    try:
        return encode_actions(actions)
    except SpecError as error:
        raise DocumentError(f"{path}: {error}") from None


def _members(path: Path, *names: str) -> list[NDArray[Any]]:
    """Arrays of a ``.npz``; no other of its members is opened."""
    try:
        with path.open("rb") as file:
            single = file.read(len(npy.MAGIC_PREFIX)) == npy.MAGIC_PREFIX
            if not single:
                with zipfile.ZipFile(file) as archive:
                    return [_member(archive, name) for name in names]
    except Exception as error:  # noqa: BLE001 - zipfile and the parser of a header raise almost anything
        raise DocumentError(f"expected a .npz with images and actions, got {path}: {_said(error)}.") from None
    raise DocumentError(
        f"expected a .npz with images and actions, got {path}, which is one array. Save both with numpy.savez, or "
        "actions alone as .npy."
    )


def _member(archive: zipfile.ZipFile, name: str) -> NDArray[Any]:
    entry = next((entry for entry in archive.infolist() if entry.filename == f"{name}.npy"), None)
    if entry is None:
        raise ValueError(f"there is no {name}.npy in it")
    if entry.compress_type not in _PACKINGS:
        raise ValueError(f"{name}.npy is packed in another way than numpy.savez does")
    try:
        with archive.open(entry) as file:  # gives no more bytes than the directory of the zip declares
            return _array(file, entry.file_size, _LIMITS[name])
    except Exception as error:  # noqa: BLE001 - told with the member's name
        raise ValueError(f"{name}.npy: {_said(error)}") from None


def _of_array(path: Path) -> NDArray[Any]:
    try:
        with path.open("rb") as file:
            return _array(file, path.stat().st_size, _MOST)
    except Exception as error:  # noqa: BLE001 - the parser of its header raises almost anything
        raise DocumentError(f"expected a .npy of actions, got {path}: {_said(error)}.") from None


def _array(file: IO[bytes], size: int, most: int) -> NDArray[Any]:
    """The array in a ``.npy`` of that many bytes; its header is believed only as far as they go."""
    if size > most:
        raise ValueError(f"{size:,} bytes, more than {most >> 20:,} MiB")
    version = npy.read_magic(file)
    if version not in _HEADERS:
        raise ValueError(f"version {version} of the format, not 1.0 or 2.0")
    shape, _, dtype = _HEADERS[version](file)
    if not dtype.hasobject and math.prod(shape) * dtype.itemsize > size - file.tell():
        raise ValueError(f"an array of {dtype} {list(shape)} in {size:,} bytes")
    file.seek(0)
    array: NDArray[Any] = npy.read_array(file, allow_pickle=False)
    return array


def _said(error: Exception) -> str:
    reason = error.strerror if isinstance(error, OSError) else " ".join(str(error).split())
    return (reason or type(error).__name__)[:200].rstrip(".")


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
                action = json.loads(line)
            except (ValueError, RecursionError):
                action = None
            yield action, f"{path}, line {number}"


def _action(action: Any, where: str) -> list[int]:
    """One action, binned."""
    known = isinstance(action, dict) and set(action) == {"buttons", "sticks"}
    parts = [action[name] for name in ("buttons", "sticks")] if known else []
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
