"""The least multiple that is no less, of numbers and of arrays."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from diagplan.planner.rounding import rounded_up


@given(number=st.integers(0, 1 << 40), step=st.integers(1, 1 << 20))
def test_it_is_the_least_multiple_that_is_no_less(number: int, step: int) -> None:
    least = rounded_up(number, step)
    assert least % step == 0
    assert least - step < number <= least


def test_arrays_are_rounded_number_by_number() -> None:
    numbers = np.arange(40)
    np.testing.assert_array_equal(rounded_up(numbers, 7), [rounded_up(number, 7) for number in range(40)])
