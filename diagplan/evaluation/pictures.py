"""Picture quality against the truth. Frames are uint8 [..., height, width, 3]."""

import math
from importlib import import_module
from typing import Any

import numpy as np
from numpy.typing import NDArray

from diagplan.planner.errors import SpecError
from diagplan.planner.extras import missing_packages

__all__ = ["psnr", "ssim"]

_WINDOW = 11  # pixels a side: 3.5 deviations of 1.5 on each side of the middle


def psnr(truth: NDArray[np.uint8], made: NDArray[np.uint8]) -> float:
    """Peak signal-to-noise ratio in dB over all pixels together; infinite for equal pictures.

    Raises:
        SpecError: shapes that differ.
    """
    _same(truth, made)
    error = float(np.mean((truth.astype(np.float64) - made.astype(np.float64)) ** 2))
    return math.inf if error == 0 else 10 * math.log10(255**2 / error)


def ssim(truth: NDArray[np.uint8], made: NDArray[np.uint8]) -> float:
    """Structural similarity (Wang et al. 2004: Gaussian window of deviation 1.5), the mean over pictures; at most 1.

    Raises:
        SpecError: shapes that differ, or sides shorter than the window's 11 pixels.
        MissingExtraError: scikit-image is not installed.
    """
    _same(truth, made)
    if min(truth.shape[-3:-1]) < _WINDOW:
        raise SpecError(f"expected pictures of at least {_WINDOW} pixels a side, got {truth.shape}.")
    try:
        metrics: Any = import_module("skimage.metrics")
    except ImportError:
        raise missing_packages("SSIM", ["skimage"]) from None
    pairs = zip(truth.reshape(-1, *truth.shape[-3:]), made.reshape(-1, *made.shape[-3:]), strict=True)
    options = {"channel_axis": -1, "gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False}
    return float(np.mean([metrics.structural_similarity(a, b, data_range=255, **options) for a, b in pairs]))


def _same(truth: NDArray[np.uint8], made: NDArray[np.uint8]) -> None:
    if truth.shape != made.shape or not truth.size or truth.ndim < 3 or truth.shape[-1] != 3:
        raise SpecError(f"expected pictures [..., height, width, 3] of one shape, got {truth.shape} and {made.shape}.")
