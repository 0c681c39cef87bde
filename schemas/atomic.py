"""Write a file whole or not at all (a temporary file in the same folder, then one rename), and make folders."""

import contextlib
import errno
import io
import os
import secrets
import stat
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from diagplan.planner.errors import DocumentError, SpecError
from diagplan.planner.shown import shown

__all__ = ["make_folder", "npy_bytes", "require_ending", "write_atomically"]

#: Characters of a path in a message.
_PATH = 300
_REMEDIES = {
    errno.ENOENT: "The folder does not exist. Create it, or give another path.",
    errno.ENOTDIR: "A part of the path is a file, not a folder. Give another path.",
    errno.EISDIR: "The path is a folder. Give the path of a file.",
    errno.ENOSPC: "The disk is full. Free some space, or give a path on another disk.",
    errno.EDQUOT: "Your disk quota is used up. Free some space, or give a path on another disk.",
    errno.EFBIG: "The file is larger than the file system or your limits allow. Give a path on another disk.",
    errno.EACCES: "You may not write there. Change the permissions, or give another path.",
    errno.EPERM: "You may not write there. Change the permissions, or give another path.",
    errno.EROFS: "The file system is read-only. Give another path.",
    errno.ENAMETOOLONG: "The name is too long. Give a shorter path.",
}


def write_atomically(path: str | os.PathLike[str], data: bytes) -> None:
    """Write ``data`` to ``path``: a reader finds the old content or the new, never a part.

    A symbolic link is followed; a device or a pipe is written to directly. An existing file keeps its permissions.

    Raises:
        DocumentError: the file cannot be written; the message says what to do. Nothing is left behind.
    """
    place = os.fspath(path)
    try:
        _write(place if _is_special(place) else os.path.realpath(place), data)
    except (OSError, ValueError) as error:
        remedy = _REMEDIES.get(error.errno or 0) if isinstance(error, OSError) else None
        raise DocumentError(
            f"expected to write a file, got path={shown(place, _PATH)}: {_reason(error)}. "
            f"{remedy or 'Give another path.'}"
        ) from error


def require_ending(name: str, path: str | os.PathLike[str] | None, endings: Sequence[str]) -> None:
    """Refuse a file's name that promises another format than is written.

    Args:
        name: of the argument or option, for the message.
        path: ``None``, a device or a pipe that is there take anything.
        endings: of the format, in lower case; ``""`` among them: a name without an ending will do.

    Raises:
        SpecError: another ending.
    """
    if path is None or (os.path.exists(path) and not os.path.isfile(path) and not os.path.isdir(path)):  # noqa: PTH110, PTH112, PTH113
        return
    name = os.path.basename(path).lower()  # noqa: PTH119 - of a text or a path
    named = [ending for ending in endings if ending]
    if name.endswith(tuple(named)) or ("" in endings and not os.path.splitext(name)[1]):  # noqa: PTH122
        return
    words = " or ".join([", ".join(named[:-1]), named[-1]] if named[1:] else named)
    raise SpecError(f"expected a name ending in {words} for {name}, got {os.fspath(path)}. Change its ending.")


def npy_bytes(array: NDArray[np.int64]) -> bytes:
    """An array as a .npy file's bytes."""
    data = io.BytesIO()
    np.save(data, array)
    return data.getvalue()


def make_folder(path: str | os.PathLike[str]) -> None:
    """Make a folder and those above it; one that is there stays as it is.

    Raises:
        DocumentError: the folder cannot be made.
    """
    try:
        os.makedirs(path, exist_ok=True)  # noqa: PTH103
    except (OSError, ValueError) as error:
        raise DocumentError(f"cannot make the folder {os.fspath(path)}: {_reason(error)}. Give another one.") from error


def _reason(error: OSError | ValueError) -> str:
    return error.strerror if isinstance(error, OSError) and error.strerror else str(error)


def _is_special(path: str) -> bool:
    """Whether the path leads to a device or a pipe; /dev/stdout leads to one that has no path of its own."""
    with contextlib.suppress(FileNotFoundError):
        status = os.stat(path)  # noqa: PTH116
        return not (stat.S_ISREG(status.st_mode) or stat.S_ISDIR(status.st_mode))
    return False


def _write(target: str, data: bytes) -> None:
    replaced: int | None = None  # the mode of the file that is there
    with contextlib.suppress(FileNotFoundError):
        status = os.stat(target)  # noqa: PTH116 - pathlib would parse the path anew for every call
        if stat.S_ISDIR(status.st_mode):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        if not os.access(target, os.W_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        if not stat.S_ISREG(status.st_mode):
            _write_through(target, data)
            return
        replaced = stat.S_IMODE(status.st_mode)
    temporary = os.path.join(os.path.dirname(target), f".diagplan-{secrets.token_hex(6)}.tmp")  # noqa: PTH118, PTH120
    handle = os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY | getattr(os, "O_BINARY", 0), 0o666)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            if replaced is not None:
                os.chmod(temporary, replaced)  # noqa: PTH101 - the umask took bits away
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, target)  # noqa: PTH105
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary)  # noqa: PTH108
        raise


def _write_through(target: str, data: bytes) -> None:
    with open(target, "wb") as file:  # noqa: PTH123
        file.write(data)
