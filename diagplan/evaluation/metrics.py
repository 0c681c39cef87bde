"""Figures of generated videos by clip and horizon, and the rates of a decoder.

N clips, T generated frames. Curves are float64 [N, T], the first generated frame first; over clips they are averaged
later, so that one interval can be given for all of them.
"""

import math
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from diagplan.evaluation.pictures import ssim
from diagplan.planner.errors import SpecError

__all__ = ["Rates", "decibels", "equal_tokens", "rates", "squared_error", "ssim_curve"]

Curve = NDArray[np.float64]
Frames = NDArray[np.uint8]
Integers = NDArray[np.integer[Any]]


class Rates(NamedTuple):
    """What a decoder costs, as the Diagonal Decoding paper counts (arXiv 2503.14070).

    Attributes:
        step: STEP: forward passes for one video, the pass over the prompt included; the paper prints thousands.
        tp: TP: tokens generated a second.
        fps: FPS: video frames generated a second. A tokenizer that packs several frames into one grid counts them all.
    """

    step: float
    tp: float
    fps: float


def rates(*, steps: float, tokens: int, frames: int, seconds: float) -> Rates:
    """The rates of one replay.

    Args:
        steps: passes.
        tokens: generated, of all videos of the replay.
        frames: video frames generated, of all videos of the replay.
        seconds: of the replay, without loading and without the image tokenizer.

    Raises:
        SpecError: a number that is not above 0.

    >>> rates(steps=750, tokens=5040, frames=15, seconds=4.0)
    Rates(step=750, tp=1260.0, fps=3.75)
    """
    if not (min(steps, tokens, frames) > 0 and 0 < seconds < math.inf):
        raise SpecError(f"expected numbers above 0, got {steps=}, {tokens=}, {frames=}, {seconds=}.")
    return Rates(step=steps, tp=tokens / seconds, fps=frames / seconds)


def equal_tokens(tokens: Integers, others: Integers) -> Curve:
    """The share of equal tokens by clip and frame, of tokens [N, T, rows, cols].

    Raises:
        SpecError: other shapes.
    """
    if tokens.ndim != 4 or tokens.shape != others.shape:
        raise SpecError(f"expected tokens [N, T, rows, cols] of one shape, got {tokens.shape} and {others.shape}.")
    share: Curve = (tokens == others).mean(axis=(2, 3))
    return share


def squared_error(truth: Frames, made: Frames) -> Curve:
    """The mean squared error by clip and frame, of frames uint8 [N, T, height, width, 3].

    Averaged first, then turned into ``decibels``: two equal pictures have no finite PSNR of their own.

    Raises:
        SpecError: other shapes.
    """
    _same(truth, made)
    pairs = zip(truth, made, strict=True)  # by clip: float64 copies of all frames would be large
    errors = [((a.astype(np.float64) - b) ** 2).mean(axis=(1, 2, 3)) for a, b in pairs]
    return np.stack(errors)


def decibels(error: NDArray[np.float64]) -> NDArray[np.float64]:
    """PSNR of mean squared errors of 8-bit pictures, in dB; infinite where the error is 0.

    >>> float(decibels(np.array(2601.0)).round(3))
    13.979
    """
    with np.errstate(divide="ignore"):
        shown: NDArray[np.float64] = 10 * np.log10(255**2 / error)
    return shown


def ssim_curve(truth: Frames, made: Frames) -> Curve:
    """Structural similarity by clip and frame, of frames uint8 [N, T, height, width, 3].

    Raises:
        SpecError, MissingExtraError: as ``ssim``.
    """
    _same(truth, made)
    return np.array([[ssim(a, b) for a, b in zip(*clip, strict=True)] for clip in zip(truth, made, strict=True)])


def _same(truth: Frames, made: Frames) -> None:
    if truth.ndim != 5 or truth.shape != made.shape or not truth.size:
        raise SpecError(f"expected frames [N, T, height, width, 3] of one shape, got {truth.shape} and {made.shape}.")
