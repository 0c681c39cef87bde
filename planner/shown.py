"""A value in an error message: bounded before it is formatted, whatever a hostile file has made of it."""

__all__ = ["shown"]

#: Characters, and bits of a whole number, that a message shows.
_MOST, _BITS = 60, 128


def shown(value: object) -> str:
    """A short text for any value; takes no more time for a large one than for a small one.

    >>> shown("a" * 1000)[:12], shown(10**400), shown([[1] * 9] * 9), shown(2.5)
    ("'aaaaaaaaaaa", 'a number of 1329 bits', 'a list of 9', '2.5')
    """
    match value:
        case None | bool() | float():
            return repr(value)
        case int():
            return str(value) if value.bit_length() <= _BITS else f"a number of {value.bit_length()} bits"
        case str() | bytes():
            return repr(value[:_MOST]) + ("..." if len(value) > _MOST else "")
        case list() | tuple() | dict() | set() | frozenset():
            return f"a {type(value).__name__} of {len(value)}"
    name = type(value).__name__[:_MOST]
    return f"{'an' if name[:1] in 'AEIOUaeiou' else 'a'} {name}"
