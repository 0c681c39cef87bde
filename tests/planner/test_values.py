"""Frozen dataclasses with arrays as values."""

import copy
import pickle
from dataclasses import dataclass

import numpy as np
import pytest
from numpy.typing import NDArray

from diagplan.planner.values import ByValue, read_only


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Held(ByValue):
    """A name and some numbers."""

    name: str
    numbers: NDArray[np.int32]

    def __post_init__(self) -> None:
        object.__setattr__(self, "numbers", read_only(self.numbers, np.int32))


def held(name: str = "a", *numbers: int) -> Held:
    return Held(name=name, numbers=np.array(numbers))


def test_equal_where_every_field_is() -> None:
    assert held("a", 1, 2) == held("a", 1, 2)
    assert hash(held("a", 1, 2)) == hash(held("a", 1, 2))
    for other in (held("b", 1, 2), held("a", 1, 3), held("a", 1), ("a", 1)):
        assert held("a", 1, 2) != other


@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy, lambda value: pickle.loads(pickle.dumps(value))])
def test_copies_are_equal_and_frozen(copied: object) -> None:
    again = copied(held("a", 1, 2))  # type: ignore[operator]
    assert again == held("a", 1, 2)
    assert not again.numbers.flags.writeable


def test_a_writeable_array_is_copied() -> None:
    mine = np.array([1, 2], dtype=np.int32)
    column = read_only(mine, np.int32)
    mine[0] = 9
    assert column.tolist() == [1, 2]
