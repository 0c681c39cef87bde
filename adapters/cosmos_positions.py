"""Cosmos' position tables: 3D rotary angles, with and without the frequency rescale, and the absolute 3D embedding.

Rows are the slots of a sequence: cells in raster order, (t H + h) W + w, behind one row of no rotation and no embedding
where the sequence begins with the begin-of-video token. Source: cosmos-predict1, autoregressive/modules/embedding.py.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields

import torch
from torch import Tensor

from diagplan.planner.errors import SpecError
from diagplan.planner.shown import shown

__all__ = ["LARGEST", "FrequencyRescale", "absolute_table", "rotary_tables"]

#: Numbers of a configuration are smaller: a JSON file may hold integers that no float can.
LARGEST = 1e30
#: Frames, rows and columns of the latent grid.
Grid = tuple[int, int, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class FrequencyRescale:
    """How a model trained on a smaller grid slows its rotary frequencies down (YaRN's blend, without its magnitude).

    Frequencies above 2 pi ``beta_fast`` / length are kept, those below 2 pi ``beta_slow`` / length divided by
    ``scale``, the ones between blended. The time's length is ``frames``; height *and* width take ``rows``.

    Args:
        frames, rows: of the original latent grid.
        scale, beta_fast, beta_slow: as in the release's ``yarn_*``.

    Raises:
        SpecError: a number that is not finite and positive, or beta_fast <= beta_slow.
    """

    frames: int = 3
    rows: int = 40
    scale: float = 2.0
    beta_fast: float = 4.0
    beta_slow: float = 1.0

    def __post_init__(self) -> None:
        numbers = [getattr(self, field.name) for field in fields(self)]  # not astuple, which copies what they hold
        if any(isinstance(n, bool) or not isinstance(n, int | float) or not 0 < n < LARGEST for n in numbers):
            raise SpecError(f"expected positive numbers for the frequency rescale, got {shown(numbers)}.")
        if self.beta_fast <= self.beta_slow:
            raise SpecError(
                f"expected beta_fast > beta_slow, got beta_fast={shown(self.beta_fast)} and "
                f"beta_slow={shown(self.beta_slow)}."
            )

    def __call__(self, frequencies: Tensor, length: int) -> Tensor:
        """The rescaled frequencies of one axis, float32 [d / 2]."""
        low, high = (2 * math.pi * beta / length for beta in (self.beta_slow, self.beta_fast))
        kept = ((frequencies - low) / (high - low)).clamp(0, 1)
        return frequencies * ((1 - kept) / self.scale + kept)


def rotary_tables(
    grid: Grid, head_dim: int, theta: float, *, rescale: FrequencyRescale | None = None, lead: int = 0
) -> tuple[Tensor, Tensor]:
    """cos and sin of every slot's angles, float32 [lead + T H W, D]; the two halves of a row are equal.

    A half holds the angles of t, h, w in this order, of d_t / 2, d_s / 2, d_s / 2 frequencies:
    d_s = 2 floor(D / 6), d_t the rest. Computed in float32, as in the release.
    """
    space = 2 * (head_dim // 6)
    widths = (head_dim - 2 * space, space, space)
    lengths = (1, 1, 1) if rescale is None else (rescale.frames, rescale.rows, rescale.rows)
    parts = []
    for axis, width, length in zip(_cells(grid), widths, lengths, strict=True):
        frequencies = 1.0 / theta ** (torch.arange(0, width, 2, dtype=torch.float32) / max(width, 1))
        if rescale is not None:
            frequencies = rescale(frequencies, length)
        parts.append(axis[:, None].float() * frequencies)
    half = torch.cat(parts, dim=1)
    angle = _behind(lead, torch.cat((half, half), dim=1))
    return angle.cos(), angle.sin()


def absolute_table(grid: Grid, dim: int, *, lead: int = 0) -> Tensor:
    """The absolute embedding of every slot, bfloat16 [lead + T H W, dim]: [e_t, e_h, e_w], zeros for the lead.

    e(p) of width d is d / 2 sines of p 10000^(-2j / d), then as many cosines; the widths are split as in
    ``rotary_tables``. The release keeps the table in bfloat16 whatever the model's dtype, and so do the logits notice.
    """
    space = 2 * (dim // 6)
    parts = []
    for axis, width in zip(_cells(grid), (dim - 2 * space, space, space), strict=True):
        omega = 10_000.0 ** (-torch.arange(width // 2, dtype=torch.float64) / max(width / 2, 1))
        # One row for each coordinate: the table itself may be large.
        at = torch.arange(int(axis.max()) + 1, dtype=torch.float64)[:, None] * omega
        parts.append(torch.cat((at.sin(), at.cos()), dim=1).float().to(torch.bfloat16)[axis])
    return _behind(lead, torch.cat(parts, dim=1))


def _cells(grid: Grid) -> Sequence[Tensor]:
    """t, h and w of every cell in raster order, int64 [T H W] each."""
    frames, rows, cols = grid
    cell = torch.arange(frames * rows * cols)
    return cell // (rows * cols), cell // cols % rows, cell % cols


def _behind(lead: int, table: Tensor) -> Tensor:
    """``lead`` rows of zeros, then the table."""
    return torch.cat((table.new_zeros(lead, table.shape[1]), table))
