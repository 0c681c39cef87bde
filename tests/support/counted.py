"""Work counted instead of timed: an array that counts the entries taken from it."""

from typing import Any

import numpy as np

__all__ = ["Counted"]


class Counted(np.ndarray[Any, np.dtype[np.int64]]):
    """Counts, for all arrays of the kind, the entries taken by index from it and from what is made of it."""

    taken = 0

    def __getitem__(self, key: Any) -> Any:
        result = super().__getitem__(key)
        Counted.taken += np.size(result)
        return result
