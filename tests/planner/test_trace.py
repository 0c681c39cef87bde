"""A trace is inert columns, equal by value, whole again from its passes."""

import copy
import pickle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from diagplan.planner.trace import TracedPass, sample_trace
from tests.support.invalid_traces import BASE, PASSES, TOKENS


@st.composite
def passes(draw: st.DrawFn) -> list[TracedPass]:
    ids = st.dictionaries(st.integers(0, 99), st.integers(0, 9), max_size=5)
    numbers = st.integers(0, 99)
    return draw(st.lists(st.builds(TracedPass, numbers, numbers, ids, ids, numbers), max_size=6))


@given(passes())
def test_passes_come_back(listed: list[TracedPass]) -> None:
    sample = sample_trace(3, listed, [1, 2])
    assert [sample.traced(number) for number in range(sample.passes)] == listed
    pairs = [one._replace(guesses=tuple(one.guesses.items())) for one in listed]  # type: ignore[arg-type]
    assert sample_trace(3, pairs, np.array([1, 2], dtype=np.int32)) == sample


def test_traces_are_values() -> None:
    assert BASE.passes == 3
    assert copy.deepcopy(BASE) == BASE
    assert pickle.loads(pickle.dumps(BASE)) == BASE
    assert hash(pickle.loads(pickle.dumps(BASE))) == hash(BASE)
    other = sample_trace(0, PASSES, [9, 1, 2, 3, 4, 5, 7])
    assert other != BASE.samples[0]
    assert sample_trace(0, PASSES, TOKENS) == BASE.samples[0]


def test_columns_are_read_only() -> None:
    for name in BASE.samples[0].__slots__[1:]:
        with pytest.raises(ValueError, match="read-only"):
            getattr(BASE.samples[0], name)[...] = 0
