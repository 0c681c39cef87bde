"""The nearest earlier entry below a bound, against a loop, and how many entries are looked at."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from diagplan.planner.checker.nearest import last_at_most
from tests.support.counted import Counted


@given(st.lists(st.integers(-3, 9), max_size=40), st.data())
def test_it_is_the_last_that_is_small_enough(values: list[int], data: st.DataObject) -> None:
    pairs = st.tuples(st.integers(-1, len(values) - 1), st.integers(-5, 10))
    questions = data.draw(st.lists(pairs, max_size=20))
    start, bound = np.array(questions, dtype=np.int64).reshape(-1, 2).T
    expected = [max((i for i in range(first + 1) if values[i] <= most), default=-1) for first, most in questions]
    assert last_at_most(np.array(values, dtype=np.int64), start, bound).tolist() == expected


def test_every_question_looks_at_few_entries() -> None:
    """All but the first entry are too large: a walk would look at n^2 / 2 entries."""
    n = 1 << 12
    values = np.arange(n, dtype=np.int64).view(Counted)
    Counted.taken = 0
    found = last_at_most(values, np.arange(n), np.zeros(n, dtype=np.int64))
    assert not found.any()
    assert n <= Counted.taken <= 2 * 12 * n
