"""The flat sequence of slots: where every grid cell and every given token lies.

A sequence is ``lead | prompt frames | generated frames``; between two frames lie ``between_frames`` given
tokens, between two rows of a frame ``between_rows``. The sequence ends with the last generated cell: a token
after it could influence nothing. Slots are numbered in the order in which the model was trained (raster).
"""

from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from diagplan.planner.errors import SpecError
from diagplan.planner.shown import shown

__all__ = ["MAX_POSITIONS", "Int32", "Layout"]

#: Slots, positions, steps of a plan: its columns' one dtype. Aliases are named by dtype, so that a name means one.
Int32 = NDArray[np.int32]

#: The longest sequence accepted, in slots. Slot numbers are stored as int32.
MAX_POSITIONS = 1 << 24

_SMALLEST = {"frames": 1, "rows": 1, "cols": 1, "lead": 0, "prompt_frames": 0, "between_frames": 0, "between_rows": 0}


def require_int(name: str, value: object, smallest: int, *, largest: int | None = 2**31 - 1) -> int:
    """The value as a plain ``int``: an integer, also NumPy's, but no bool, from ``smallest`` to ``largest``.

    2^31 - 1 is the largest number that a plan document holds.

    Raises:
        SpecError: the value is something else.
    """
    if isinstance(value, bool) or not isinstance(value, int | np.integer):
        raise SpecError(
            f"expected {name} to be an integer, got {name}={shown(value)}. Give a whole number >= {smallest}."
        )
    number = int(value)
    if number < smallest:
        raise SpecError(
            f"expected {name} >= {smallest}, got {name}={shown(number)}. Give a whole number >= {smallest}."
        )
    if largest is not None and number > largest:
        raise SpecError(f"expected {name} <= {largest}, got {name}={shown(number)}. Give a smaller number.")
    return number


def store_int(owner: object, name: str, smallest: int, *, largest: int | None = 2**31 - 1) -> None:
    """Make a field of a frozen dataclass a plain ``int``, as ``require_int`` does, from its ``__post_init__``."""
    object.__setattr__(owner, name, require_int(name, getattr(owner, name), smallest, largest=largest))


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """The geometry of one sequence (Diagonal Decoding, section 3; slots in raster order).

    Args:
        frames: T, frames to generate.
        rows: h, token rows of a frame.
        cols: w, token columns of a frame.
        prompt_frames: frames that are given.
        lead: given tokens before everything (begin-of-video, class or text tokens).
        between_frames: given tokens between two frames (action blocks, end-of-frame tokens).
        between_rows: given tokens between two rows of a frame (end-of-line tokens).

    Raises:
        SpecError: a field is not an integer or too small, nothing is given before the first cell, or the
            sequence is longer than ``MAX_POSITIONS`` slots.

    >>> Layout(frames=15, rows=14, cols=24, prompt_frames=1, between_frames=11).positions
    5541
    """

    frames: int
    rows: int
    cols: int
    prompt_frames: int = 0
    lead: int = 0
    between_frames: int = 0
    between_rows: int = 0

    def __post_init__(self) -> None:
        for field in fields(self):
            store_int(self, field.name, _SMALLEST[field.name], largest=None)
        if self.lead + self.prompt_frames == 0:
            raise SpecError(
                "expected a given token before the first cell, got lead=0 and prompt_frames=0. "
                "The first token has nothing to be predicted from. Give prompt_frames >= 1 or lead >= 1."
            )
        for name in ("between_frames", "between_rows"):  # these need not show in positions
            if getattr(self, name) > MAX_POSITIONS:
                raise SpecError(
                    f"expected {name} <= {MAX_POSITIONS}, got {name}={shown(getattr(self, name))}. Give fewer tokens."
                )
        if self.positions > MAX_POSITIONS:
            raise SpecError(
                f"expected at most {MAX_POSITIONS} slots, got positions={shown(self.positions)}. "
                "Generate fewer frames in one plan."
            )

    @property
    def row_stride(self) -> int:
        """Slots from the start of a row to the start of the next one in the same frame."""
        return self.cols + self.between_rows

    @property
    def frame_stride(self) -> int:
        """Slots from the start of a frame to the start of the next one."""
        return self.rows * self.row_stride - self.between_rows + self.between_frames

    @property
    def positions(self) -> int:
        """Slots of the whole sequence, given and generated."""
        return self.lead + (self.prompt_frames + self.frames) * self.frame_stride - self.between_frames

    @property
    def first_generated(self) -> int:
        """The slot of cell (0, 0, 0): everything before it is the prompt."""
        return self.lead + self.prompt_frames * self.frame_stride

    @property
    def tokens(self) -> int:
        """Tokens to generate: T h w."""
        return self.frames * self.rows * self.cols

    def cell_slots(self, *, prompt: bool = False) -> Int32:
        """The slot of every cell, int32 [T, h, w]; with ``prompt`` the prompt frames come first, [P + T, h, w]."""
        first = 0 if prompt else self.prompt_frames
        frame = self.lead + np.arange(first, self.prompt_frames + self.frames, dtype=np.int32) * self.frame_stride
        row = np.arange(self.rows, dtype=np.int32) * self.row_stride
        col = np.arange(self.cols, dtype=np.int32)
        return np.asarray(frame[:, None, None] + row[:, None] + col, dtype=np.int32)

    def given_runs(self) -> Int32:
        """The given slots as sorted, disjoint, non-adjacent half-open runs, int32 [G, 2]."""
        given = np.ones(self.positions + 2, dtype=np.bool_)
        given[[0, -1]] = False
        given[self.cell_slots().ravel() + 1] = False
        edges = np.flatnonzero(given[1:] != given[:-1]).astype(np.int32)
        return edges.reshape(-1, 2)
