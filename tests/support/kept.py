"""Files that a run makes once, whichever of its processes asks first; ``tests/conftest.py`` sets the folder up."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from tempfile import mkdtemp

from filelock import FileLock

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


def made_once(name: str, make: Callable[[Path], object]) -> Path:
    """The folder of that name, never to be changed: ``make`` fills it, unless another test or process of the run has.

    Args:
        name: of the folder.
        make: is called with an empty folder; what it raises leaves nothing behind.
    """
    folder = Path(os.environ[FOLDER], name)
    with FileLock(f"{folder}.lock"):
        if not folder.exists():
            begun = Path(f"{folder}.begun")
            shutil.rmtree(begun, ignore_errors=True)
            begun.mkdir(parents=True)
            make(begun)
            begun.rename(folder)
    return folder
