"""Files that a run makes once, whichever of its processes asks first; ``tests/conftest.py`` sets the folder up."""

import os
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from tempfile import mkdtemp

from filelock import FileLock, Timeout

__all__ = ["FOLDER", "clear", "made_once", "set_up"]

#: The environment variable by which the processes of a run know the folder.
FOLDER = "DIAGPLAN_TESTS_KEPT"


def set_up() -> bool:
    """Make the folder; false in a process that was started with one."""
    if FOLDER in os.environ:
        return False
    os.environ[FOLDER] = mkdtemp(prefix="diagplan-tests-")
    return True


def clear() -> None:
    """Remove the folder."""
    shutil.rmtree(os.environ.pop(FOLDER), ignore_errors=True)


def made_once(
    name: str, make: Callable[[Path], object], meanwhile: Mapping[str, Callable[[Path], object]] | None = None
) -> Path:
    """The folder of that name, never to be changed: ``make`` fills it, unless another test or process of the run has.

    Args:
        name: of the folder.
        make: is called with an empty folder; what it raises leaves nothing behind.
        meanwhile: other folders that the run needs: while another process makes this one, some of them are made here.
    """
    for other, make_other in (meanwhile or {}).items():
        if _made(name, make, wait=False):
            break
        _made(other, make_other, wait=False)
    _made(name, make, wait=True)
    return Path(os.environ[FOLDER], name)


def _made(name: str, make: Callable[[Path], object], *, wait: bool) -> bool:
    """Make a folder, or find it made; false where another process is at it, unless that is waited for."""
    folder = Path(os.environ[FOLDER], name)
    try:
        with FileLock(f"{folder}.lock", timeout=-1 if wait else 0):
            if not folder.exists():
                begun = Path(f"{folder}.begun")
                shutil.rmtree(begun, ignore_errors=True)
                begun.mkdir(parents=True)
                make(begun)
                begun.rename(folder)
    except Timeout:
        return False
    return True
