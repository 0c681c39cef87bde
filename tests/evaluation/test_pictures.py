"""Picture quality against closed forms and scikit-image."""

import math
from typing import Any

import numpy as np
import pytest

from diagplan.evaluation.pictures import psnr, ssim
from diagplan.planner.errors import SpecError


def noise(*shape: int, seed: int = 0) -> Any:
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def test_psnr_is_the_closed_form() -> None:
    black = np.zeros((2, 4, 6, 3), np.uint8)
    assert psnr(black, black) == math.inf
    assert psnr(black, black + np.uint8(255)) == 0.0
    assert psnr(black, black + np.uint8(51)) == pytest.approx(20 * math.log10(5))
    half = black.copy()
    half[0] = 255  # over all pixels together, not the mean of two figures
    assert psnr(black, half) == pytest.approx(10 * math.log10(2))


def test_psnr_is_that_of_scikit_image() -> None:
    metrics = pytest.importorskip("skimage.metrics")
    a, b = noise(3, 16, 20, 3), noise(3, 16, 20, 3, seed=1)
    assert psnr(a, b) == pytest.approx(metrics.peak_signal_noise_ratio(a, b, data_range=255))
    assert psnr(a, b) == psnr(b, a)


def test_ssim_of_flat_pictures_is_the_closed_form() -> None:
    """Without variance only the means count: (2 a b + c1) / (a² + b² + c1), c1 = (.01 255)²."""
    pytest.importorskip("skimage.metrics")
    a, b, c1 = 100.0, 160.0, (0.01 * 255) ** 2
    flat = [np.full((16, 20, 3), level, np.uint8) for level in (a, b)]
    assert ssim(flat[0], flat[1]) == pytest.approx((2 * a * b + c1) / (a**2 + b**2 + c1), abs=1e-9)


def test_ssim_is_the_mean_over_pictures() -> None:
    metrics = pytest.importorskip("skimage.metrics")
    a, b = noise(2, 16, 20, 3), noise(2, 16, 20, 3, seed=1)
    b[0] = a[0]
    single = metrics.structural_similarity(
        a[1], b[1], channel_axis=-1, data_range=255, gaussian_weights=True, sigma=1.5, use_sample_covariance=False
    )
    assert ssim(a, a) == pytest.approx(1.0)
    assert ssim(a, b) == pytest.approx((1 + single) / 2)
    assert ssim(a[None], b[None]) == ssim(a, b)


@pytest.mark.parametrize("measure", [psnr, ssim])
def test_what_cannot_be_compared(measure: Any) -> None:
    for a, b in (
        (noise(16, 16, 3), noise(16, 18, 3)),
        (noise(0, 16, 16, 3), noise(0, 16, 16, 3)),
        (noise(16, 16), noise(16, 16)),
    ):
        with pytest.raises(SpecError, match="expected pictures"):
            measure(a, b)


def test_ssim_needs_room_for_its_window() -> None:
    with pytest.raises(SpecError, match="at least 11 pixels a side"):
        ssim(noise(10, 16, 3), noise(10, 16, 3))
