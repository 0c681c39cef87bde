"""Names that have moved: the old module still gives them, with a warning, until version 0.3."""

import warnings
from collections.abc import Callable
from importlib import import_module
from typing import Any

__all__ = ["moved"]


def moved(old: str, new: str) -> Callable[[str], Any]:
    """A module's ``__getattr__`` that looks a name up in the module that it has moved to.

    Args:
        old: the module that people still import.
        new: where its names are.

    Raises:
        AttributeError: the name is in neither.
    """

    def look_up(name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(f"module {old!r} has no attribute {name!r}")
        value = getattr(import_module(new), name)
        warnings.warn(f"{old} is now {new}: import {name} from there.", DeprecationWarning, stacklevel=2)
        return value

    return look_up
