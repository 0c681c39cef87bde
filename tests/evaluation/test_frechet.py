"""The Frechet distance against closed forms."""

import re
from typing import Any

import numpy as np
import pytest

from diagplan.evaluation.frechet import (
    Gaussian,
    fit_gaussian,
    frechet_distance,
    frechet_gaussians,
    frechet_tokenizer,
    latent_features,
)
from diagplan.planner.errors import SpecError

RANDOM = np.random.default_rng(0)


def covariance(width: int, seed: int) -> Any:
    a = np.random.default_rng(seed).normal(size=(width, width))
    return a @ a.T


def test_shifted_means() -> None:
    c = covariance(5, 0)
    shift = np.arange(5.0)
    assert frechet_gaussians(Gaussian(np.zeros(5), c), Gaussian(shift, c)) == pytest.approx(float(shift @ shift))


def test_scaled_covariances() -> None:
    """tr(C + s² C - 2 s C) = (1 - s)² tr C."""
    c, s = covariance(4, 1), 3.0
    found = frechet_gaussians(Gaussian(np.zeros(4), c), Gaussian(np.zeros(4), s**2 * c))
    assert found == pytest.approx((1 - s) ** 2 * float(np.trace(c)))


def test_commuting_covariances() -> None:
    """Of one basis: the squared distance of the deviations along it."""
    basis, _ = np.linalg.qr(RANDOM.normal(size=(6, 6)))
    a, b = RANDOM.uniform(0, 4, 6), RANDOM.uniform(0, 4, 6)
    a[0] = 0  # singular
    one, other = (Gaussian(np.zeros(6), (basis * values) @ basis.T) for values in (a, b))
    assert frechet_gaussians(one, other) == pytest.approx(float(((np.sqrt(a) - np.sqrt(b)) ** 2).sum()))


def test_any_covariances_are_those_of_scipy() -> None:
    linalg = pytest.importorskip("scipy.linalg")
    a, b = covariance(7, 2), covariance(7, 3)
    expected = np.trace(a + b - 2 * linalg.sqrtm(a @ b).real)
    found = frechet_gaussians(Gaussian(np.zeros(7), a), Gaussian(np.zeros(7), b))
    assert found == pytest.approx(expected)
    assert found == pytest.approx(frechet_gaussians(Gaussian(np.zeros(7), b), Gaussian(np.zeros(7), a)))


def test_samples_of_one_dimension() -> None:
    a, b = np.array([[0.0], [2.0]]), np.array([[1.0], [7.0]])  # variances 2 and 18 by N - 1
    assert frechet_distance(a, b) == pytest.approx(9 + (18**0.5 - 2**0.5) ** 2)


def test_fewer_samples_than_width() -> None:
    samples = RANDOM.normal(size=(5, 40))
    assert frechet_distance(samples, samples) == pytest.approx(0, abs=1e-6)
    assert frechet_distance(samples, samples + 1) == pytest.approx(40)


@pytest.mark.parametrize(
    ("features", "said"),
    [
        (np.zeros((1, 3)), "at least 2 samples"),
        (np.zeros(3), "[samples, width]"),
        (np.array([[0.0], [np.nan]]), "finite"),
        (np.zeros((3, 4)), "one width, got 4 and 2"),
    ],
)
def test_what_has_no_distance(features: Any, said: str) -> None:
    with pytest.raises(SpecError, match=re.escape(said)):
        frechet_distance(features, np.zeros((2, 2)))


def test_tokenizer_features_are_means_and_deviations_over_cells() -> None:
    latents = np.zeros((2, 3, 2, 2))
    latents[1, 0] = [[1, 3], [1, 3]]
    assert latent_features(latents).tolist() == [[0] * 6, [2, 0, 0, 1, 0, 0]]
    others = RANDOM.normal(size=(9, 3, 2, 2))
    assert frechet_tokenizer(others, others) == pytest.approx(0, abs=1e-9)
    assert frechet_tokenizer(others + 2, others) == pytest.approx(12)
    assert fit_gaussian(latent_features(others)).mean.shape == (6,)
    with pytest.raises(SpecError, match="expected latents"):
        latent_features(np.zeros((2, 3)))
