"""Rates, and curves by clip and frame, against closed forms."""

import math
from typing import Any

import numpy as np
import pytest

from diagplan.evaluation.metrics import decibels, equal_tokens, rates, squared_error, ssim_curve
from diagplan.evaluation.pictures import psnr, ssim
from diagplan.planner.errors import SpecError


def noise(*shape: int, seed: int = 0) -> Any:
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def test_rates_are_the_papers() -> None:
    """MC-AR 300M at k = 2: 750 passes, 15 frames of 336 tokens; the paper prints 3.98 frames a second."""
    found = rates(steps=750, tokens=15 * 336, frames=15, seconds=15 / 3.98)
    assert found.step == 750
    assert found.fps == pytest.approx(3.98)
    assert found.tp == pytest.approx(3.98 * 336)


@pytest.mark.parametrize("seconds", [0.0, -1.0, math.inf, math.nan])
def test_rates_need_time(seconds: float) -> None:
    with pytest.raises(SpecError, match="numbers above 0"):
        rates(steps=1, tokens=1, frames=1, seconds=seconds)


def test_equal_tokens_by_clip_and_frame() -> None:
    a = np.zeros((2, 3, 2, 2), int)
    b = a.copy()
    b[1, 2, 0, 0] = 7
    assert equal_tokens(a, b).tolist() == [[1, 1, 1], [1, 1, 0.75]]
    with pytest.raises(SpecError, match="one shape"):
        equal_tokens(a, b[:1])


def test_error_and_ssim_by_clip_and_frame() -> None:
    pytest.importorskip("skimage.metrics")
    a, b = noise(2, 2, 16, 20, 3), noise(2, 2, 16, 20, 3, seed=1)
    b[0, 1] = a[0, 1]
    error = squared_error(a, b)
    assert error[0, 1] == 0
    assert decibels(error)[0, 1] == math.inf
    assert float(decibels(error.mean())) == pytest.approx(psnr(a, b))  # over all pixels together
    curve = ssim_curve(a, b)
    assert curve[1, 0] == pytest.approx(ssim(a[1, 0], b[1, 0]))
    assert curve[0, 1] == pytest.approx(1)
    for measure in (squared_error, ssim_curve):
        with pytest.raises(SpecError, match="one shape"):
            measure(a, b[:, :1])
