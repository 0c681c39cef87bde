"""A value in an error message: bounded before it is formatted, whatever a hostile file has made of it."""

__all__ = ["shown"]

#: Characters, and bits of a whole number, that a message shows.
_MOST, _BITS = 60, 128
#: Numbers of a list that is shown as it is.
_FEW, _PLAIN = 4, {int, float, bool, type(None)}


def shown(value: object, most: int = _MOST) -> str:
    """A short text for any value; takes no more time for a large one than for a small one.

    Args:
        value: of a file, a document or an argument. A short list of numbers is shown, other containers are counted.
        most: characters of a text that are shown; more for a path, whose end tells.

    >>> shown("a" * 1000)[:12], shown(10**400), shown([[1] * 9] * 9), shown((5, 40))
    ("'aaaaaaaaaaa", 'a number of 1329 bits', 'a list of 9', '(5, 40)')
    """
    match value:
        case None | bool() | float():
            return repr(value)
        case int():
            return str(value) if value.bit_length() <= _BITS else f"a number of {value.bit_length()} bits"
        case str() | bytes():
            return repr(value[:most]) + ("..." if len(value) > most else "")
        case list() | tuple() if 0 < len(value) <= _FEW and all(type(part) in _PLAIN for part in value):
            inner = ", ".join(map(shown, value))
            return f"[{inner}]" if isinstance(value, list) else f"({inner}{',' * (len(value) == 1)})"
        case list() | tuple() | dict() | set() | frozenset():
            return f"a {type(value).__name__} of {len(value)}"
    name = type(value).__name__[:_MOST]
    return f"{'an' if name[:1] in 'AEIOUaeiou' else 'a'} {name}"
