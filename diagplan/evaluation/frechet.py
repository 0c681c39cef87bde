"""The Frechet distance between Gaussians fitted to features, which FID and FVD are.

    d² = |m1 - m2|² + tr(C1 + C2 - 2 (C1 C2)^(1/2))

The trace of the root is taken from symmetric matrices only: with S = C1^(1/2), the root of C1 C2 has the trace of the
root of S C2 S, whose eigenvalues are real and not negative. The general root of a product, as many programs take it,
may come out complex where few samples make a covariance singular.
"""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from diagplan.planner.errors import SpecError

__all__ = ["Gaussian", "fit_gaussian", "frechet_distance", "frechet_gaussians", "frechet_tokenizer", "latent_features"]

Features = NDArray[np.floating[Any]]


class Gaussian(NamedTuple):
    """A mean, float64 [D], and a covariance, float64 [D, D]."""

    mean: NDArray[np.float64]
    covariance: NDArray[np.float64]


def fit_gaussian(features: Features) -> Gaussian:
    """The mean and the covariance (by N - 1) of features [N, D].

    Raises:
        SpecError: fewer than two samples, another shape, or numbers that are not finite.
    """
    samples = np.asarray(features, np.float64)
    if samples.ndim != 2 or not samples.shape[1]:
        raise SpecError(f"expected features [samples, width], got {samples.shape}.")
    if len(samples) < 2:
        raise SpecError(f"expected at least 2 samples, got {len(samples)}. One sample has no covariance.")
    if not np.isfinite(samples).all():
        raise SpecError("expected finite features, got NaN or infinity. Check the frames and the weights.")
    return Gaussian(samples.mean(0), np.cov(samples, rowvar=False).reshape(samples.shape[1], -1))


def frechet_gaussians(one: Gaussian, other: Gaussian) -> float:
    """The squared Frechet distance of two Gaussians, which is what FID and FVD print; at least 0.

    Raises:
        SpecError: Gaussians of different widths.
    """
    if one.mean.shape != other.mean.shape:
        raise SpecError(f"expected features of one width, got {one.mean.shape[0]} and {other.mean.shape[0]}.")
    root = _root(one.covariance)
    inner = root @ other.covariance @ root
    crossed = np.sqrt(np.clip(np.linalg.eigvalsh((inner + inner.T) / 2), 0, None)).sum()
    apart = float(((one.mean - other.mean) ** 2).sum())
    spread = float(np.trace(one.covariance) + np.trace(other.covariance) - 2 * crossed)
    return apart + max(0.0, spread)  # rounding may leave -1e-15 where the covariances are equal


def frechet_distance(features: Features, others: Features) -> float:
    """``frechet_gaussians`` of Gaussians fitted to features [N, D] and [M, D].

    With fewer samples than the width the distance is defined but biased: compare only what has the same number.

    Raises:
        SpecError: as ``fit_gaussian`` and ``frechet_gaussians``.
    """
    return frechet_gaussians(fit_gaussian(features), fit_gaussian(others))


def latent_features(latents: Features) -> NDArray[np.float64]:
    """Features of frames from an image tokenizer's latents [F, C, rows, cols]: mean and deviation over cells, [F, 2 C].

    Raises:
        SpecError: another shape.
    """
    if latents.ndim != 4 or not latents.size:
        raise SpecError(f"expected latents [frames, channels, rows, cols], got {latents.shape}.")
    wide = latents.astype(np.float64)
    return np.concatenate([wide.mean(axis=(2, 3)), wide.std(axis=(2, 3))], axis=1)


def frechet_tokenizer(latents: Features, others: Features) -> float:
    """The Frechet distance of frames by features of the image tokenizer: an offline stand-in, no FVD and no FID.

    It sees how frames look, each by itself, and nothing of motion. Figures of different tokenizers do not compare.

    Args:
        latents: of generated frames, [F, C, rows, cols].
        others: of recorded frames.

    Raises:
        SpecError: as ``latent_features`` and ``frechet_distance``.
    """
    return frechet_distance(latent_features(latents), latent_features(others))


def _root(matrix: NDArray[np.float64]) -> NDArray[np.float64]:
    """The symmetric root of a covariance."""
    values, vectors = np.linalg.eigh(matrix)
    root: NDArray[np.float64] = (vectors * np.sqrt(np.clip(values, 0, None))) @ vectors.T
    return root
