"""Bootstrap intervals, against closed forms."""

import math
from typing import Any

import numpy as np
import pytest

from diagplan.evaluation.intervals import Interval, difference, interval
from diagplan.evaluation.metrics import decibels
from diagplan.planner.errors import SpecError


def test_an_interval_is_that_of_the_normal_law() -> None:
    values = np.random.default_rng(3).normal(5, 2, 400)
    found = interval(values, seed=1)
    assert found.mean == pytest.approx(values.mean())
    half = 1.96 * values.std() / 20
    assert found.low == pytest.approx(values.mean() - half, abs=0.15 * half)
    assert found.high == pytest.approx(values.mean() + half, abs=0.15 * half)
    assert interval(values, seed=1) == found
    assert interval(values, seed=2) != found


def test_intervals_cover_the_truth_as_often_as_they_say() -> None:
    random = np.random.default_rng(0)
    found = [interval(random.exponential(1, 60), level=0.8, resamples=300, seed=i) for i in range(200)]
    covered = np.mean([one.low is not None and one.high is not None and one.low <= 1 <= one.high for one in found])
    assert 0.7 < covered < 0.88


def test_weights_make_a_ratio_of_sums() -> None:
    found = interval([1, 3, 0], [2, 3, 0], seed=0)
    assert found.mean == 4 / 5
    assert found.low == 1 / 2
    assert found.high == 1
    assert interval([0, 0], [0, 0]) == Interval(mean=None, low=None, high=None)


def test_one_clip_has_no_interval() -> None:
    assert interval([2.5]) == Interval(mean=2.5, low=None, high=None)


def test_what_is_shown_may_be_another_scale() -> None:
    found = interval([100.0, 200.0], shown=decibels, seed=0)
    assert found.mean == pytest.approx(float(decibels(np.array(150.0))))
    assert found.low == pytest.approx(float(decibels(np.array(200.0))))  # the larger error, the fewer decibels
    assert interval([0.0, 0.0], shown=decibels).mean == math.inf


def test_a_difference_draws_the_same_clips_for_both() -> None:
    values = np.random.default_rng(0).normal(0, 10, 50)
    found = difference(values + 1, values)
    assert found.mean == pytest.approx(1)
    assert found.low == pytest.approx(1)
    assert found.high == pytest.approx(1)
    with pytest.raises(SpecError, match="the same clips"):
        difference(values, values[1:])


@pytest.mark.parametrize(
    ("values", "options", "said"),
    [
        ([], {}, "one number a clip"),
        ([[1.0]], {}, "one number a clip"),
        ([1.0, math.nan], {}, "finite"),
        ([1.0, 2.0], {"weights": [1.0, -1.0]}, "finite"),
        ([1.0, 2.0], {"level": 1.0}, "level"),
        ([1.0, 2.0], {"resamples": 0}, "resamples"),
    ],
)
def test_what_has_no_interval(values: Any, options: Any, said: str) -> None:
    with pytest.raises(SpecError, match=said):
        interval(values, **options)
