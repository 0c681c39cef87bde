"""Which known token stands in for a predecessor that is not known yet (policy ``proxy``)."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from diagplan.planner.errors import SpecError
from diagplan.planner.layout import Int32, Layout
from diagplan.planner.policy import ProxyPolicy

__all__ = ["NO_PROXY", "proxy_sources"]

#: Marks a target for which no image token is known.
NO_PROXY = -1

_UNKNOWN = np.iinfo(np.int32).min
_CHUNK = 1 << 22  # candidate cells looked at together


class _Grid:
    """The steps and slots of all frames, prompt first, and for n targets the cells they and their predecessors are.

    Frames are counted from the first prompt frame, whose cells are known at step -1.
    """

    def __init__(self, layout: Layout, steps: Int32, target: NDArray[np.intp]) -> None:
        self.layout = layout
        prompt = np.full((layout.prompt_frames, layout.rows, layout.cols), -1, dtype=np.int32)
        self.steps = np.concatenate([prompt, steps])  # [P + T, h, w]
        self.slots = layout.cell_slots(prompt=True)  # [P + T, h, w]
        cell = target + prompt.size
        self.now = self.steps.ravel()[cell]  # [n]
        self.frame, self.row, self.col = np.unravel_index(cell, self.steps.shape)
        # The predecessor slot is a cell too, the one before in raster order: a given predecessor is always known.
        self.before_frame, self.before_row, self.before_col = np.unravel_index(cell - 1, self.steps.shape)

    def subset(self, keep: NDArray[np.bool_]) -> "_Grid":
        part = object.__new__(_Grid)
        for name, value in vars(self).items():
            setattr(part, name, value if name in ("layout", "steps", "slots") else value[keep])
        return part

    def cell(self, frame: NDArray[np.intp], row: NDArray[np.intp], col: NDArray[np.intp]) -> Int32:
        """The slots of these cells where they exist and are known by now, else ``NO_PROXY``."""
        exists = (frame >= 0) & (row >= 0)
        at = np.where(exists, frame, 0), np.where(exists, row, 0), col
        return np.where(exists & (self.steps[at] < self.now), self.slots[at], NO_PROXY).astype(np.int32)

    def newest(self, groups: tuple[int, ...], index: NDArray[np.intp], last: NDArray[np.intp]) -> Int32:
        """The newest known cell among the first ``last + 1`` of group ``index``, the last of equally new ones."""
        steps, slots = self.steps.reshape(groups), self.slots.reshape(groups)
        size = groups[-1]
        slot = np.full(len(index), NO_PROXY, dtype=np.int32)
        for lo in range(0, len(index), max(1, _CHUNK // size)):
            part = slice(lo, lo + max(1, _CHUNK // size))
            age = steps[index[part]]  # [n, size]
            usable = (age < self.now[part, None]) & (np.arange(size) <= last[part, None])
            age = np.where(usable, age, _UNKNOWN)
            best = size - 1 - np.argmax(age[:, ::-1], axis=1)
            slot[part] = np.where(usable.any(axis=1), slots[index[part], best], NO_PROXY)
        return slot


def _first_found(grid: _Grid, *searches: Callable[[_Grid], Int32]) -> Int32:
    """For every target the first search that finds a token."""
    slot = np.full(len(grid.now), NO_PROXY, dtype=np.int32)
    for search in searches:
        missing = slot == NO_PROXY
        if not missing.any():
            break
        slot[missing] = search(grid.subset(missing))
    return slot


def _newest_of_row(grid: _Grid) -> Int32:
    rows = grid.before_frame * grid.layout.rows + grid.before_row
    return grid.newest((-1, grid.layout.cols), rows, grid.before_col)


def _newest_of_frame(grid: _Grid) -> Int32:
    in_frame = grid.before_row * grid.layout.cols + grid.before_col
    return grid.newest((-1, grid.layout.rows * grid.layout.cols), grid.before_frame, in_frame)


def _same_cell_earlier(grid: _Grid) -> Int32:
    slot = np.full(len(grid.now), NO_PROXY, dtype=np.int32)
    for lag in range(1, len(grid.steps)):
        searching = (slot == NO_PROXY) & (grid.before_frame >= lag)
        if not searching.any():
            break
        part = grid.subset(searching)
        slot[searching] = part.cell(part.before_frame - lag, part.before_row, part.before_col)
    return slot


def _latest(grid: _Grid) -> Int32:
    return _first_found(grid, _newest_of_row, _newest_of_frame, _same_cell_earlier)


def _above(grid: _Grid) -> Int32:
    first_row = grid.row == 0
    return grid.cell(grid.frame - first_row, grid.row - ~first_row, grid.col)


def _row_above_predecessor(grid: _Grid) -> Int32:
    slot = np.full(len(grid.now), NO_PROXY, dtype=np.int32)
    frame_start = grid.before_frame != grid.frame
    slot[frame_start] = _same_cell_earlier(grid.subset(frame_start))
    inner = ~frame_start & (grid.before_row > 0)
    part = grid.subset(inner)
    rows = part.before_frame * part.layout.rows + part.before_row - 1
    slot[inner] = part.newest((-1, part.layout.cols), rows, part.before_col)
    return slot


def _prompt(grid: _Grid) -> Int32:
    if grid.layout.prompt_frames == 0:
        raise SpecError(
            "expected a prompt frame for proxy='prompt', got prompt_frames=0. The policy feeds the first prompt "
            "frame's token. Give prompt_frames >= 1 or another proxy, say proxy='latest'."
        )
    return grid.slots[np.zeros_like(grid.before_row), grid.before_row, grid.before_col]


def proxy_sources(policy: ProxyPolicy, layout: Layout, steps: Int32, target: NDArray[np.intp]) -> Int32:
    """The slot whose token is fed for each target whose predecessor is not known when the target is due.

    Args:
        policy: a name of ``ProxyPolicy`` other than ``custom``.
        layout: the geometry.
        steps: the step of every generated cell, int32 [T, h, w].
        target: raster indices of the targets among the generated cells, [n].

    Returns:
        slots, int32 [n]; ``NO_PROXY`` where no image token is known.

    Raises:
        SpecError: the policy needs a prompt frame and there is none.
    """
    searches: dict[ProxyPolicy, tuple[Callable[[_Grid], Int32], ...]] = {
        "above": (_above, _latest),
        "latest": (_latest,),
        "prompt": (_prompt,),
        "previous-frame": (_same_cell_earlier, _latest),
        "above-predecessor": (_row_above_predecessor, _latest),
    }
    if len(target) == 0:
        return np.zeros(0, dtype=np.int32)
    return _first_found(_Grid(layout, steps, target), *searches[policy])
