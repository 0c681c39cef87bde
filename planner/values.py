"""Frozen dataclasses that hold arrays, as values: equality, a hash to match, pickles, read-only columns."""

from collections.abc import Callable
from dataclasses import fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["ByValue", "as_column", "read_only"]


def read_only(array: NDArray[Any], dtype: type[np.generic]) -> NDArray[Any]:
    """The array as a contiguous column of a dtype that cannot be written to; a writeable one is copied."""
    column = np.ascontiguousarray(array, dtype=dtype)
    if column.flags.writeable:
        column = column.copy() if column is array else column
        column.flags.writeable = False
    return column


def as_column(value: Any, dtype: type[np.signedinteger[Any]]) -> Any:
    """A column of a dtype, read-only, where the value is an array of whole numbers that the dtype holds.

    Anything else stays what it is, an array as a read-only copy: no number is ever changed, and nothing is raised. Who
    takes columns from anybody must ask what they are, as the checker does first of all.
    """
    try:
        array = np.asarray(value)
    except Exception:  # noqa: BLE001 - a ragged list, or an object whose own conversion fails
        return value
    if array.ndim and (_holds(array, dtype) or (array.size == 0 and array.dtype.kind in "bf")):
        return read_only(array, dtype)
    return read_only(value, value.dtype) if isinstance(value, np.ndarray) and value.ndim else value


def _holds(array: NDArray[Any], dtype: type[np.signedinteger[Any]]) -> bool:
    """Whether a dtype has every number of an array of integers."""
    if array.dtype.kind not in "iu":
        return False
    if np.can_cast(array.dtype, dtype) or not array.size:
        return True
    limits = np.iinfo(dtype)
    return bool(limits.min <= int(array.min()) and int(array.max()) <= limits.max)


class ByValue:
    """Base of frozen dataclasses (``eq=False``) that are equal where every field and every array is.

    The hash takes the arrays' shapes only: it costs nothing, and equality tells apart what it does not. Pickles and
    copies are made anew through the constructor, which checks and freezes the arrays as for any other instance.
    """

    __slots__ = ()

    def __eq__(self, other: object) -> bool:
        if type(other) is not type(self):
            return NotImplemented
        theirs = _values(other)
        return self is other or all(_same(value, theirs[name]) for name, value in _values(self).items())

    def __hash__(self) -> int:
        facts = (value.shape if isinstance(value, np.ndarray) else value for value in _values(self).values())
        return hash((type(self), *facts))

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[type[Any], dict[str, Any]]]:
        return _made_anew, (type(self), _values(self))


def _values(value: Any) -> dict[str, Any]:
    return {field.name: getattr(value, field.name) for field in fields(value) if field.init}


def _same(left: Any, right: Any) -> bool:
    if isinstance(left, np.ndarray) or isinstance(right, np.ndarray):
        return type(left) is type(right) and left.dtype == right.dtype and np.array_equal(left, right)
    return bool(left == right)


def _made_anew(kind: type[Any], values: dict[str, Any]) -> Any:
    return kind(**values)
