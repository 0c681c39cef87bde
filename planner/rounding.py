"""Whole multiples: widths and cache lengths are rounded up so that few shapes occur."""

from typing import Any, overload

import numpy as np
from numpy.typing import NDArray

__all__ = ["rounded_up"]


@overload
def rounded_up(number: int, step: int) -> int: ...
@overload
def rounded_up(number: NDArray[np.int64], step: int) -> NDArray[np.int64]: ...
def rounded_up(number: Any, step: int) -> Any:
    """The least multiple of ``step`` that is no less, of each.

    >>> rounded_up(65, 64), rounded_up(64, 64), rounded_up(0, 64)
    (128, 64, 0)
    """
    return -(-number // step) * step
