"""A plan's passes on a device: every input of every pass lies there before step 0."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from diagplan.adapters.contract import Array, Runtime
from diagplan.backends.pads import padded_passes
from diagplan.backends.program import PassColumns
from diagplan.planner.masks import Held
from diagplan.planner.plan import Plan

__all__ = ["Layer", "Pass", "complete_after"]


class Pass(NamedTuple):
    """One forward pass's inputs, on the device; ``frames`` are complete after it.

    ``position`` and ``mask`` are those of all rows of the batch, but for padding: with pads ``position`` is int64
    [rows, n] already, and ``seen`` makes the mask of ``mask``, ``shown``, ``places`` and ``own``, see
    ``diagplan.backends.pads.PaddedPass`` and ``PassColumns``.
    """

    step: int
    last: bool
    source: Array
    position: Array
    slot: Array
    mask: Array
    rows: Array
    target: Array
    keys: Array
    allowed: tuple[int, int] | Array
    frames: tuple[int, ...]
    shown: Array | None = None
    places: Array | None = None
    own: Array | None = None

    @property
    def seen(self) -> Array:
        """What ``forward`` takes as its mask, bool [n, L]; with pads [rows, n, L]."""
        if self.shown is None:
            return self.mask
        assert self.own is not None
        return self.mask & self.shown[:, None] | (self.places == self.own[:, None])


def complete_after(plan: Plan, passes: list[PassColumns]) -> dict[int, list[int]]:
    """The generated frames that are complete after each pass."""
    chosen_in = np.zeros(plan.positions, dtype=np.int64)
    for i, columns in enumerate(passes):
        chosen_in[columns.target] = i
    frames: dict[int, list[int]] = {}
    for frame, last in enumerate(chosen_in[plan.layout.cell_slots()].max(axis=(1, 2)).tolist()):
        frames.setdefault(last, []).append(frame)
    return frames


@dataclass(frozen=True, slots=True)
class Layer:
    """Lays passes out on a device.

    Args:
        runtime: of the device.
        keys: int64 [B, positions].
        ranges: of the ids that each slot may take, int64 [positions, 2].
        places: coordinates of positions, int64 [positions, axes]; ``None``: positions are slots.
        pads: of each row, int64 [rows], or ``None``.
        held: what the cache holds before the first pass, of a plan of a chain.
    """

    runtime: Runtime
    keys: NDArray[np.int64]
    ranges: NDArray[np.int64]
    places: NDArray[np.int64] | None
    pads: NDArray[np.int64] | None
    held: Held | None = None

    def laid_out(self, passes: list[PassColumns], frames: dict[int, list[int]]) -> Iterator[Pass]:
        """Passes, and the frames that are complete after some of them."""
        if self.pads is None:
            yield from (self._pass(columns, tuple(frames.get(i, ()))) for i, columns in enumerate(passes))
            return
        put = _PutOnce(self.runtime)
        padded = padded_passes(passes, self.pads, max(columns.mask.shape[1] for columns in passes), self.held)
        for i, (columns, more) in enumerate(zip(passes, padded, strict=True)):
            p = self._pass(columns, tuple(frames.get(i, ())))
            position = p.position if self.places is not None else self.runtime.put(more.position)
            own = self.runtime.put(columns.own)
            yield p._replace(position=position, shown=put(more.shown), places=put(more.places), own=own)

    def _pass(self, columns: PassColumns, frames: tuple[int, ...]) -> Pass:
        put = self.runtime.put
        own = self.ranges[columns.target]
        one_range = len(own) and (own == own[0]).all()
        return Pass(
            columns.step,
            columns.last,
            put(columns.source),
            put(columns.position if self.places is None else self.places[columns.position]),
            put(columns.slot),
            put(columns.mask),
            put(columns.rows),
            put(columns.target),
            put(self.keys[:, columns.target]),
            (int(own[0, 0]), int(own[0, 1])) if one_range else put(own),
            frames,
        )


class _PutOnce:
    """Arrays that many passes share lie on the device once."""

    def __init__(self, runtime: Runtime) -> None:
        self.runtime = runtime
        self.held: dict[int, tuple[NDArray[Any], Array]] = {}

    def __call__(self, array: NDArray[Any]) -> Array:
        if id(array) not in self.held:
            self.held[id(array)] = array, self.runtime.put(array)  # held, so that its id stays its own
        return self.held[id(array)][1]
