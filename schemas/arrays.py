"""Arrays from .npy files that anyone may have written: never unpickled, never larger than the file, one error."""

import io
import math
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from diagplan.planner.errors import DocumentError

__all__ = ["array_from_npy", "read_npy"]

#: Characters of a header that are parsed; NumPy's own are below 1,000.
_HEADER = 4096


def read_npy(path: str | Path, *, of: str = "numbers") -> NDArray[Any]:
    """The array of a .npy file; ``of`` says in messages what it should hold.

    Raises:
        DocumentError: the file cannot be read, or is no .npy array of numbers or truth values.
    """
    try:
        data = Path(path).read_bytes()
    except OSError as error:
        raise DocumentError(f"cannot read {path}: {error.strerror}. Check the name and the permissions.") from None
    return array_from_npy(data, str(path), of=of)


def array_from_npy(data: bytes, name: str, *, of: str = "numbers", kinds: str = "biufc") -> NDArray[Any]:
    """The array in the bytes of a .npy file; ``name``, and ``of`` what, are for messages; ``kinds``: of NumPy's dtypes.

    Raises:
        DocumentError: they are no .npy array of such a kind.
    """
    if data[:2] == b"PK":
        raise DocumentError(f"expected one .npy array in {name}, got an archive. Save the array alone.")
    file = io.BytesIO(data)
    try:
        version = npy.read_magic(file)
        read = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}[version]
        shape, fortran, dtype = read(file, max_header_size=_HEADER)
        if dtype.kind not in kinds:
            raise ValueError(f"elements of {dtype.name}")
        held = len(data) - file.tell()
        # As Python's whole numbers: no product runs over, and nothing is allocated before the sizes agree.
        if any(type(size) is not int or size < 0 for size in shape) or math.prod(shape) * dtype.itemsize != held:
            raise ValueError(f"{held} bytes behind a header of other sizes")
        flat = np.frombuffer(data, dtype=dtype, offset=file.tell()).copy()
        return flat.reshape(shape[::-1]).T if fortran else flat.reshape(shape)
    except Exception as error:  # noqa: BLE001 - a hostile header makes NumPy raise almost anything
        reason = " ".join(str(error)[:400].split())[:200].rstrip(".") or type(error).__name__
        raise DocumentError(
            f"expected a .npy array of {of} in {name}, got a file that cannot be read: {reason}."
        ) from None
