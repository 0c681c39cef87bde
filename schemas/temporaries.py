"""Temporary files and folders beside what they become: named after their process, removed when it is dead."""

import os
import re
import secrets
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import lru_cache
from hashlib import sha256
from pathlib import Path

__all__ = ["sweep", "temporary_folder", "temporary_name"]

#: Days without a write after which a temporary of a process that cannot be asked for is taken for left behind: one of
#: another machine, another container, or from before the last boot.
_DAYS = 7

_NAME = re.compile(r"\.diagplan-([0-9a-f]{12})-([1-9]\d{0,8})-(\d+)-[0-9a-f]{12}\.tmp")


def temporary_name() -> str:
    """A name that nothing has yet. It tells ``sweep`` which process is writing."""
    pid = os.getpid()
    began = (_state_and_start(pid) or ("", "0"))[1]
    return f".diagplan-{_system() or '0' * 12}-{pid}-{began}-{secrets.token_hex(6)}.tmp"


@lru_cache(
    maxsize=1024
)  # one look into a folder is enough for a process: what is left behind after it waits for the next one
def sweep(folder: str) -> None:
    """Remove what processes that are dead have left in a folder under a ``temporary_name``; what cannot be, stays."""
    ours = _system()
    with suppress(OSError, ValueError), os.scandir(folder) as entries:
        for entry in entries:
            parts = _NAME.fullmatch(entry.name)
            if parts is not None and _is_left_behind(entry, ours, *parts.groups()):
                if entry.is_dir(follow_symlinks=False):
                    shutil.rmtree(entry.path, ignore_errors=True)
                else:
                    with suppress(OSError):
                        os.unlink(entry.path)  # noqa: PTH108


@contextmanager
def temporary_folder(folder: str | Path) -> Iterator[Path]:
    """A new folder inside ``folder``; it is removed at the end, or by a later process if this one is killed.

    Raises:
        OSError: it cannot be made.
    """
    sweep(os.path.realpath(folder))
    place = Path(folder, temporary_name())
    place.mkdir()
    try:
        yield place
    finally:
        shutil.rmtree(place, ignore_errors=True)


def _is_left_behind(entry: os.DirEntry[str], ours: str, system: str, pid: str, began: str) -> bool:
    if system == ours:
        return not _is_alive(int(pid), began)
    try:
        return time.time() - entry.stat(follow_symlinks=False).st_mtime > _DAYS * 24 * 3600
    except OSError:  # it has just got its name
        return False


def _is_alive(pid: int, began: str) -> bool:
    """Whether the process that began then lives; one that hides its state is taken to be it."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:  # somebody else's
        pass
    status = _state_and_start(pid)
    return status is None or (status[0] not in "ZX" and status[1] == began)  # a zombie writes no more


def _system() -> str:
    """The booted kernel and the space of process ids in it, hashed; nothing where the system does not say.

    A host's name would not do: machines share names, and containers of one machine have process ids of their own.
    """
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii")
        return sha256(f"{boot} {os.readlink('/proc/self/ns/pid')}".encode()).hexdigest()[:12]  # noqa: PTH115
    except (OSError, ValueError):
        return ""


def _state_and_start(pid: int) -> tuple[str, str] | None:
    """The letter of a process' state, and its start in ticks since the boot, which tells it from a later one."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()  # the name before may hold spaces
        return fields[0].decode(), fields[19].decode()
    except (OSError, IndexError, ValueError):
        return None
