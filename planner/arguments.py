"""What kind of thing an argument is: swapped and wrongly typed ones are refused where they enter."""

from types import UnionType

from diagplan.planner.errors import SpecError

__all__ = ["require_kind"]


def require_kind(name: str, value: object, kind: type | UnionType, remedy: str, *, what: str = "") -> None:
    """Raise ``SpecError`` unless a value is of a kind; ``what`` says the kind in words, its name by default.

    The message shows short values only: one in the wrong place may be of any size.
    """
    if isinstance(value, kind):
        return
    words = what or f"a {getattr(kind, '__name__', kind)}"
    if value is None or isinstance(value, bool | float | str):
        got = f"{value!r:.60}"
    else:
        got = f"the class {value.__name__}" if isinstance(value, type) else f"<{type(value).__name__}>"
    raise SpecError(f"expected {name} to be {words}, got {name}={got}. {remedy}")
