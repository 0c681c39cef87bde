"""What kind of thing an argument is: swapped and wrongly typed ones are refused where they enter."""

import math
import os
from contextlib import suppress
from numbers import Real
from types import UnionType

from diagplan.planner.errors import SpecError
from diagplan.planner.shown import shown

__all__ = [
    "exists",
    "is_file",
    "is_folder",
    "named_briefly",
    "require_call",
    "require_kind",
    "require_number",
    "require_path",
]


def require_kind(name: str, value: object, kind: type | UnionType, remedy: str, *, what: str = "") -> None:
    """Raise ``SpecError`` unless a value is of a kind; ``what`` says the kind in words, its name by default."""
    if isinstance(value, kind):
        return
    words = what or f"a {getattr(kind, '__name__', kind)}"
    raise SpecError(f"expected {name} to be {words}, got {name}={named_briefly(value)}. {remedy}")


def require_path(name: str, value: object) -> None:
    """Raise ``SpecError`` unless a value names a file or a folder."""
    require_kind(name, value, str | os.PathLike, "Give a text or a pathlib.Path.", what="a path")


def is_file(path: str | os.PathLike[str]) -> bool:
    """Whether a file is there; ``False`` for a name that no file can have, at which pathlib raises."""
    return os.path.isfile(path)  # noqa: PTH113


def is_folder(path: str | os.PathLike[str]) -> bool:
    """Whether a folder is there; ``False`` for a name that no folder can have, at which pathlib raises."""
    return os.path.isdir(path)  # noqa: PTH112


def exists(path: str | os.PathLike[str]) -> bool:
    """Whether a file or a folder is there; ``False`` for a name that neither can have, at which pathlib raises."""
    return os.path.exists(path)  # noqa: PTH110


def require_call(name: str, value: object, remedy: str = "") -> None:
    """Raise ``SpecError`` unless a value can be called or is ``None``."""
    if value is not None and (isinstance(value, type) or not callable(value)):
        message = f"expected {name} to be a function or None, got {name}={named_briefly(value)}."
        raise SpecError(f"{message} {remedy or 'Give a function, or leave it out.'}")


def require_number(name: str, value: object, remedy: str, *, finite: bool = False) -> float:
    """The value as a plain ``float``: a real number, also NumPy's, but no bool and none that a float cannot hold.

    Args:
        name: of the argument.
        value: whatever was given for it.
        remedy: what to give instead.
        finite: refuse infinities and NaN too.

    Raises:
        SpecError: the value is something else.

    >>> require_number("temperature", 1, "Give one, such as 0.9.")
    1.0
    """
    number = None
    if not isinstance(value, bool) and isinstance(value, Real):
        with suppress(OverflowError):
            number = float(value)
    if number is None or (finite and not math.isfinite(number)):
        words = "a finite number" if finite else "a number"
        raise SpecError(f"expected {name} to be {words}, got {name}={shown(value)}. {remedy}")
    return number


def named_briefly(value: object) -> str:
    """A value as a message shows it: short ones as they are, others by their type, for they may be of any size.

    >>> named_briefly("greedy"), named_briefly([1, 2])
    ("'greedy'", '<list>')
    """
    if value is None or isinstance(value, bool | float | str):
        return shown(value)
    return f"the class {value.__name__}" if isinstance(value, type) else f"<{type(value).__name__}>"
