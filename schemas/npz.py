"""Arrays from .npz files that anyone may have written: as ``diagplan.schemas.arrays``, and bounded before unpacking."""

import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from diagplan.planner.errors import DocumentError
from diagplan.schemas.arrays import array_from_npy

__all__ = ["read_npz"]

#: Bytes that one array may unpack to, whichever is more: so many, or so many times the file's.
_MOST, _EXPANSION = 1 << 28, 64
_PACKINGS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)


def read_npz(path: str | Path, names: Sequence[str], *, of: str = "numbers") -> dict[str, NDArray[Any]]:
    """Arrays of a .npz file by name, of numbers, truth values or text; no other member of the file is unpacked.

    Args:
        path: of the file.
        names: of the arrays.
        of: what they should hold, for messages.

    Raises:
        DocumentError: the file cannot be read, lacks an array, holds another kind, or unpacks to far more than it is.
    """
    place = Path(path)
    try:
        limit = max(_MOST, _EXPANSION * place.stat().st_size)
        with place.open("rb") as file, zipfile.ZipFile(file) as archive:
            return {name: array_from_npy(_member(archive, name, limit), name, of=of, kinds="biufcU") for name in names}
    except DocumentError as error:
        raise DocumentError(f"{place}: {error}") from None
    except Exception as error:  # noqa: BLE001 - zipfile raises almost anything for a file that is damaged
        reason = (isinstance(error, OSError) and error.strerror) or " ".join(str(error).split())[:200].rstrip(".")
        raise DocumentError(
            f"expected a .npz of {of}, got {place}, which cannot be read: {reason or type(error).__name__}."
        ) from None


def _member(archive: zipfile.ZipFile, name: str, limit: int) -> bytes:
    entry = archive.getinfo(f"{name}.npy")
    if entry.compress_type not in _PACKINGS:
        raise ValueError(f"{name} is packed in another way than numpy.savez does")
    if entry.file_size > limit:
        raise ValueError(f"{name} would be {entry.file_size:,} bytes, more than {limit:,}")
    with archive.open(entry) as file:  # gives no more bytes than the directory of the zip declares
        return file.read()
