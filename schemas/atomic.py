"""Write a file whole or not at all (a temporary file in the same folder, then one rename), and make folders."""

import contextlib
import errno
import io
import os
import stat
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np
from numpy.typing import NDArray

from diagplan.planner.arguments import exists
from diagplan.planner.errors import DocumentError, SpecError
from diagplan.planner.shown import shown
from diagplan.schemas.temporaries import sweep, temporary_name

__all__ = [
    "Replacement",
    "made_folder",
    "make_folder",
    "move_into_place",
    "no_empty_folder",
    "npy_bytes",
    "require_ending",
    "write_atomically",
]

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
    What a process that was killed has left in the folder is removed first.

    Raises:
        DocumentError: the file cannot be written; the message says what to do. Nothing is left behind.
    """
    place = os.fspath(path)
    try:
        if _is_special(place):
            _write_through(place, data)
        else:
            with Replacement(place) as replacement:
                replacement.write(data)
    except (OSError, ValueError) as error:
        remedy = _REMEDIES.get(error.errno or 0) if isinstance(error, OSError) else None
        raise DocumentError(
            f"expected to write a file, got path={shown(place, _PATH)}: {_reason(error)}. "
            f"{remedy or 'Give another path.'}"
        ) from error


class Replacement:
    """A file that gets its name when it is whole; until then whatever library fills it at ``temporary``, beside it.

    Leaving the ``with`` block writes it through to the disk and renames it, as ``keep`` does; leaving it by an error
    removes it, as ``discard`` does. A symbolic link is followed; a file that is there keeps its permissions. Of a
    process that is killed at any moment, the old file or the new one stays, and a temporary file that a later
    process removes.

    Args:
        path: of the file.

    Attributes:
        temporary: where to write; an empty file.

    Raises:
        OSError: the file cannot be written; a folder, or a device or a pipe, is there.
        ValueError: a path that cannot be one.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self._target = os.path.realpath(path)
        self._mode: int | None = None  # of the file that is there
        with contextlib.suppress(FileNotFoundError):
            self._mode = _replaceable_mode(self._target)
        folder = os.path.dirname(self._target)  # noqa: PTH120
        sweep(folder)
        self.temporary = os.path.join(folder, temporary_name())  # noqa: PTH118
        flags = os.O_CREAT | os.O_EXCL | os.O_WRONLY | getattr(os, "O_BINARY", 0)
        # Until it has a name, nobody else reads what replaces a private file; the umask decides about a new one.
        self._handle: int | None = os.open(self.temporary, flags, 0o666 if self._mode is None else 0o600)

    def __enter__(self) -> Self:
        return self

    def write(self, data: bytes | memoryview) -> None:
        """Append bytes, as ``bytes`` or a flat view of them."""
        assert self._handle is not None
        rest = memoryview(data)
        while rest:
            rest = rest[os.write(self._handle, rest) :]

    def keep(self) -> None:
        """Give the file its name, with its contents and the name on the disk.

        Raises:
            OSError: it cannot be written; the old file stays, and nothing else.
        """
        assert self._handle is not None
        try:
            if self._mode is not None:
                os.chmod(self.temporary, self._mode)  # noqa: PTH101
            _sync(self._handle)
            self._close()
            os.replace(self.temporary, self._target)  # noqa: PTH105
        except BaseException:
            self.discard()
            raise
        _sync_folder(os.path.dirname(self._target))  # noqa: PTH120

    def discard(self) -> None:
        """Remove what was written. A second call, or one after ``keep``, does nothing."""
        with contextlib.suppress(OSError):
            self._close()
        with contextlib.suppress(OSError):
            os.unlink(self.temporary)  # noqa: PTH108

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self.keep()
        else:
            self.discard()

    def _close(self) -> None:
        handle, self._handle = self._handle, None
        if handle is not None:
            os.close(handle)


def move_into_place(path: str | os.PathLike[str], target: str | os.PathLike[str]) -> None:
    """Give a file that is whole its name on the same disk, with its contents and the name on the disk.

    Raises:
        OSError: it cannot be moved; the old file stays.
    """
    handle = os.open(path, os.O_RDONLY if os.name == "posix" else os.O_RDWR)
    try:
        _sync(handle)
    finally:
        os.close(handle)
    os.replace(path, target)  # noqa: PTH105
    _sync_folder(os.path.dirname(os.path.realpath(target)))  # noqa: PTH120


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
    file = os.path.basename(path).lower()  # noqa: PTH119 - of a text or a path
    named = [ending for ending in endings if ending]
    if file.endswith(tuple(named)) or ("" in endings and not os.path.splitext(file)[1]):  # noqa: PTH122
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


@contextlib.contextmanager
def made_folder(path: str | os.PathLike[str]) -> Iterator[None]:
    """``make_folder`` for what is done inside ``no_empty_folder``.

    Raises:
        DocumentError: as ``make_folder``.
    """
    with no_empty_folder(path):
        make_folder(path)
        yield


@contextlib.contextmanager
def no_empty_folder(path: str | os.PathLike[str]) -> Iterator[None]:
    """Where what is done inside fails, a folder and those above it go again that are new, and in which nothing lies."""
    folder = Path(path)
    new = [place for place in (folder, *folder.parents) if not exists(place)]
    try:
        yield
    except BaseException:
        for place in new:
            with contextlib.suppress(OSError, ValueError):  # something lies in it, or it cannot be
                place.rmdir()
        raise


def _reason(error: OSError | ValueError) -> str:
    return error.strerror if isinstance(error, OSError) and error.strerror else str(error)


def _is_special(path: str) -> bool:
    """Whether the path leads to a device or a pipe; /dev/stdout leads to one that has no path of its own."""
    with contextlib.suppress(FileNotFoundError):
        status = os.stat(path)  # noqa: PTH116
        return not (stat.S_ISREG(status.st_mode) or stat.S_ISDIR(status.st_mode))
    return False


def _replaceable_mode(target: str) -> int:
    """The permissions of the file that is there, unless it must not be replaced."""
    status = os.stat(target)  # noqa: PTH116 - pathlib would parse the path anew for every call
    if stat.S_ISDIR(status.st_mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
    if not stat.S_ISREG(status.st_mode):
        raise FileExistsError(errno.EEXIST, "it is a device or a pipe, and what is written needs a file of its own")
    if not os.access(target, os.W_OK):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
    return stat.S_IMODE(status.st_mode)


def _sync(handle: int) -> None:
    """Have a file's contents on the disk; a file system that has no such call is no reason to lose them."""
    try:
        os.fsync(handle)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOSYS, errno.ENOTSUP):
            raise


def _sync_folder(folder: str) -> None:
    """Have a folder's names on the disk; where the system has no such call, or refuses it, they get there later."""
    with contextlib.suppress(OSError):
        handle = os.open(folder, os.O_RDONLY | getattr(os, "O_DIRECTORY", 0))
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def _write_through(target: str, data: bytes) -> None:
    with open(target, "wb") as file:  # noqa: PTH123
        file.write(data)
