"""Where a position lies, by arithmetic on slot numbers: the checker's own, in other terms than the compiler's grids."""

import numpy as np
from numpy.typing import NDArray

from diagplan.planner.plan import Plan

__all__ = ["NEVER", "Slots"]

Int64 = NDArray[np.int64]

#: A step later than all steps: of a token that no feed chooses, of a slot that no feed writes.
NEVER = np.iinfo(np.int32).max


class Slots:
    """Frame, row and column of positions; frames count from the first prompt frame.

    Args:
        plan: any plan of a valid layout. Only its layout and its number of positions are read.

    Attributes:
        w, h: columns and rows of a frame.
        line: slots from the start of a row to that of the next one. picture: the same of a frame.
        lead: given tokens before the first frame.
        total: positions of the plan.
    """

    def __init__(self, plan: Plan) -> None:
        layout = plan.layout
        self.w, self.h = layout.cols, layout.rows
        self.line = layout.cols + layout.between_rows
        self.picture = layout.rows * self.line - layout.between_rows + layout.between_frames
        self.lead = layout.lead
        self.total = plan.positions

    def frame(self, slot: Int64) -> Int64:
        """The frame of each slot, int64 of the same shape; of cells only it means anything, as row and col do."""
        return np.asarray((slot - self.lead) // self.picture)

    def row(self, slot: Int64) -> Int64:
        """The row of each slot."""
        return np.asarray((slot - self.lead) % self.picture // self.line)

    def col(self, slot: Int64) -> Int64:
        """The column of each slot."""
        return np.asarray((slot - self.lead) % self.picture % self.line)

    def at(self, frame: Int64, row: Int64, col: Int64) -> Int64:
        """The slots of cells."""
        return np.asarray(self.lead + frame * self.picture + row * self.line + col)
