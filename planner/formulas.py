"""The closed forms of diagonal decoding: step counts in forward passes, speed-ups as exact fractions.

Notation (Diagonal Decoding, arXiv 2503.14070, section 3): T frames of h rows and w columns, row delay k, frame
delay d, both in steps; k' = min(k, w), F = (h - 1) k' + w, d' = min(d, F). ``d=None`` means frames in sequence.
The pass over the prompt is one of the steps, for it predicts the first token. Everything is an ``int`` or a
``Fraction``: no result is ever rounded. Every function raises ``SpecError`` for an argument that is not an
integer of at least 1. The theorems of ``planner/proofs`` prove the same forms for all integers.
"""

from dataclasses import dataclass
from fractions import Fraction

from diagplan.planner.layout import require_int

__all__ = [
    "PassCount",
    "count_passes",
    "frame_delay",
    "frame_steps",
    "r_diag",
    "r_diag_approx",
    "r_diag_error_bound",
    "r_spa",
    "r_spa_approx",
    "r_spa_error_bound",
    "row_delay",
    "total_steps",
    "zipar_llamagen_steps",
]


def _positive(**arguments: int) -> list[int]:
    """The arguments as plain integers, which never overflow."""
    return [require_int(name, value, 1, largest=None) for name, value in arguments.items()]


def row_delay(k: int, cols: int) -> int:
    """k' = min(k, w): the steps from the start of a row to the start of the next one.

    >>> row_delay(k=80, cols=64)
    64
    """
    k, cols = _positive(k=k, cols=cols)
    return min(k, cols)


def frame_steps(rows: int, cols: int, k: int) -> int:
    """F = (h - 1) k' + w: the steps of one frame alone.

    >>> frame_steps(rows=14, cols=24, k=2)
    50
    """
    rows, cols = _positive(rows=rows, cols=cols)
    return (rows - 1) * row_delay(k, cols) + cols


def frame_delay(d: int | None, rows: int, cols: int, k: int) -> int:
    """d' = min(d, F): the steps from the start of a frame to the start of the next one; F for ``d=None``.

    >>> frame_delay(d=None, rows=14, cols=24, k=2)
    50
    """
    alone = frame_steps(rows, cols, k)
    if d is None:
        return alone
    (d,) = _positive(d=d)
    return min(d, alone)


def total_steps(frames: int, rows: int, cols: int, k: int, d: int | None) -> int:
    """(T - 1) d' + (h - 1) k' + w: the forward passes of the whole video.

    >>> total_steps(frames=3, rows=40, cols=64, k=2, d=10)
    162
    """
    (frames,) = _positive(frames=frames)
    return (frames - 1) * frame_delay(d, rows, cols, k) + frame_steps(rows, cols, k)


def zipar_llamagen_steps(frames: int, rows: int, cols: int, window: int) -> int:
    """T (2 w + (h - 2) min(window, w)), or T w for h = 1: the passes of ZipAR's LlamaGen release.

    That release generates row 0 with no row beside it: row 1 starts after w steps, each later row ``window`` steps
    after the row above. Frames are in sequence.

    >>> zipar_llamagen_steps(frames=1, rows=24, cols=24, window=16)
    400
    """
    frames, rows, cols, window = _positive(frames=frames, rows=rows, cols=cols, window=window)
    alone = cols if rows == 1 else 2 * cols + (rows - 2) * row_delay(window, cols)
    return frames * alone


def r_spa(rows: int, cols: int, k: int) -> Fraction:
    """h w / ((h - 1) k' + w): how many times fewer steps than next-token prediction, frames in sequence.

    >>> r_spa(rows=14, cols=24, k=2)
    Fraction(168, 25)
    """
    rows, cols = _positive(rows=rows, cols=cols)
    return Fraction(rows * cols, frame_steps(rows, cols, k))


def r_spa_approx(rows: int, cols: int, k: int) -> Fraction:
    """h / ((h / w) k' + 1), the paper's approximation of ``r_spa``: always below it.

    The paper writes k; beyond k = w it would fall below 1 for no reason, so k' stands here.

    >>> r_spa_approx(rows=14, cols=24, k=2)
    Fraction(84, 13)
    """
    rows, cols = _positive(rows=rows, cols=cols)
    return Fraction(rows * cols, rows * row_delay(k, cols) + cols)


def r_spa_error_bound(rows: int, cols: int, k: int) -> Fraction:
    """w / (h k' + w) < 1, at least r_spa - r_spa_approx, with equality exactly for k >= w.

    Over the common denominator the difference is r_spa_approx * k' / F.
    As k' <= w, F = h k' + (w - k') >= h k', so it is at most r_spa_approx / h.

    >>> r_spa_error_bound(rows=14, cols=24, k=2)
    Fraction(6, 13)
    """
    rows, cols = _positive(rows=rows, cols=cols)
    return Fraction(cols, rows * row_delay(k, cols) + cols)


def r_diag(frames: int, rows: int, cols: int) -> Fraction:
    """T h w / (T h + w - 1): times fewer steps than next-token prediction with stacked frames, k = 1 and d = h.

    >>> r_diag(frames=3, rows=40, cols=64)
    Fraction(2560, 61)
    """
    frames, rows, cols = _positive(frames=frames, rows=rows, cols=cols)
    return Fraction(frames * rows * cols, total_steps(frames, rows, cols, 1, rows))


def r_diag_approx(cols: int) -> Fraction:
    """w, the paper's approximation of ``r_diag``: never below it, exact for w = 1.

    >>> r_diag_approx(cols=64)
    Fraction(64, 1)
    """
    (cols,) = _positive(cols=cols)
    return Fraction(cols)


def r_diag_error_bound(frames: int, rows: int, cols: int) -> Fraction:
    """w (w - 1) / (T h + w - 1) = r_diag_approx - r_diag: the error itself, so no smaller bound exists.

    With N = T h + w - 1 the difference w - T h w / N is w (N - T h) / N, and N - T h = w - 1.
    It is small only where T h is large against w squared.

    >>> r_diag_error_bound(frames=3, rows=40, cols=64)
    Fraction(1344, 61)
    """
    (cols,) = _positive(cols=cols)
    return Fraction(cols * (cols - 1), total_steps(frames, rows, cols, 1, rows))


@dataclass(frozen=True, slots=True, kw_only=True)
class PassCount:
    """What one diagonal schedule costs on a grid, and what the published approximation says of it.

    Attributes:
        k, d: as asked for; ``d`` is ``None`` for frames in sequence.
        k_in_force, d_in_force: k' and d'.
        steps: forward passes.
        ratio: next-token prediction's passes over these, as both numbers: ``"5040/750"``.
        speedup: the same as one number.
        approximate: the published approximation of it; ``None`` where there is none for such delays.
        by: its name, ``"r_spa"`` or ``"r_diag"``.
    """

    k: int
    d: int | None
    k_in_force: int
    d_in_force: int
    steps: int
    ratio: str
    speedup: float
    approximate: float | None
    by: str | None


def count_passes(frames: int, rows: int, cols: int, k: int, d: int | None = None) -> PassCount:
    """The passes of a diagonal schedule, its exact speed-up, and the published approximation where there is one.

    >>> count_passes(15, 14, 24, k=2).ratio
    '5040/750'
    """
    tokens = frames * rows * cols
    steps = total_steps(frames, rows, cols, k, d)
    approximate, by = None, None
    d_in_force = frame_delay(d, rows, cols, k)
    if d_in_force == frame_steps(rows, cols, k):
        approximate, by = float(r_spa_approx(rows, cols, k)), "r_spa"
    elif k == 1 and d_in_force == rows:
        approximate, by = float(r_diag_approx(cols)), "r_diag"
    return PassCount(
        k=k, d=d, k_in_force=row_delay(k, cols), d_in_force=d_in_force, steps=steps, ratio=f"{tokens}/{steps}",
        speedup=tokens / steps, approximate=approximate, by=by,
    )  # fmt: skip
