"""Passes of fixed shape, replayed as CUDA graphs: one graph per (width, cache length), captured when first met.

Every input of a pass lies in static buffers: integer columns, positions and the mask; a pass is three copies and one
graph launch, token choice included. Without CUDA the same code runs the pass directly on the same buffers, which is
how it is tested; capture itself needs a GPU.

All graphs of a state share one memory pool. Nothing that a graph computes outlives its replay but what it writes to
buffers from outside (tokens, cache, ``first_bad``), and replays come one after the other on one stream, so a graph may
use the memory of another: many graphs take hardly more than the largest.
"""

import math
import time
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor

from diagplan.adapters.contract import Model
from diagplan.backends.prepared import Pass, Prepared, State
from diagplan.backends.sampling import torch_choose

__all__ = ["GraphedForward", "StaticPasses"]

_SOURCE, _SLOT, _TARGET, _LOW, _HIGH, _STEP, _KEYS = range(7)
_NO_STEP = 1 << 40


class _Graphs:
    """Captures graphs into one memory pool.

    Attributes:
        count, seconds: captured so far, and the time it took, warm-up included.
    """

    def __init__(self) -> None:
        self.count, self.seconds = 0, 0.0
        self._pool: Any = None

    def captured(self, run: Callable[[], None]) -> Callable[[], None]:
        """What replays a run, captured after a warm-up on a side stream.

        The warm-up repeats a pass, which changes nothing: it writes again what it wrote.
        """
        begin = time.perf_counter()
        stream = torch.cuda.Stream()  # type: ignore[no-untyped-call]
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            for _ in range(2):
                run()
        torch.cuda.current_stream().wait_stream(stream)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, pool=self._pool):
            run()
        self._pool = graph.pool()
        self.count += 1
        self.seconds += time.perf_counter() - begin
        return graph.replay


@dataclass(slots=True)
class _Held:
    inputs: tuple[Tensor, ...]
    logits: Tensor | None
    launch: Callable[[], None]


class GraphedForward:
    """A model's ``forward`` for one cache, as CUDA graphs of the shapes that come again.

    The next pass of the same shape overwrites the logits.

    Args:
        model: the model.
        capture: whether there are graphs; without them passes run on the same buffers, which is how it is tested.
    """

    def __init__(self, model: Model, *, capture: bool) -> None:
        self.model, self.capture = model, capture
        self._graphs = _Graphs()
        self._met: Counter[tuple[Any, ...]] = Counter()
        self._held: dict[tuple[Any, ...], _Held] = {}
        self._cache: Any = None

    @property
    def graphs(self) -> int:
        """Shapes that were captured."""
        return self._graphs.count

    def __call__(
        self, ids: Tensor, place: Tensor, slot: Tensor, mask: Tensor, cache: Any, rows: Tensor | None, *lead: Tensor
    ) -> Tensor:
        """As ``diagplan.adapters.contract.Model.forward``."""
        if cache is not self._cache:  # graphs write the cache that they were captured with
            self._cache = cache
            self._met.clear()
            self._held.clear()
        given = (ids, place, slot, mask, *(() if rows is None else (rows,)), *lead)
        shape = (rows is None, *(tuple(x.shape) for x in given))
        self._met[shape] += 1
        if self._met[shape] == 1:  # a graph used once costs more than it saves
            return cast("Tensor", self.model.forward(ids, place, slot, mask, cache, rows, *lead))
        held = self._held.get(shape)
        if held is None:
            held = self._held[shape] = self._new(given, rows is None)
        for own, new in zip(held.inputs, given, strict=True):
            own.copy_(new)
        held.launch()
        assert held.logits is not None
        return held.logits

    def _new(self, given: tuple[Tensor, ...], all_rows: bool) -> _Held:
        held = _Held(tuple(x.clone() for x in given), None, lambda: None)
        ids, place, slot, mask, *others = held.inputs
        rows, lead = (None, others) if all_rows else (others[0], others[1:])

        def run() -> None:
            held.logits = self.model.forward(ids, place, slot, mask, self._cache, rows, *lead)

        held.launch = self._graphs.captured(run) if self.capture else run
        return held


@dataclass(frozen=True, slots=True, kw_only=True)
class _Bucket:
    columns: Tensor  # int64 [_KEYS + B, n]
    position: Tensor  # int64, as forward takes it
    mask: Tensor  # bool [n, L] or [rows, n, L]
    launch: Callable[[], None]


class StaticPasses:
    """Advances one state by passes of fixed shapes.

    ``first_bad`` holds on the device the first step whose logits were not finite; reading it waits for the device.

    Attributes:
        buckets: what runs the passes of a shape, (feeds, cache length).
    """

    def __init__(self, prepared: Prepared, state: State, *, capture: bool) -> None:
        self.prepared, self.state, self.capture = prepared, state, capture
        self.buckets: dict[tuple[int, int], _Bucket] = {}
        self.first_bad = torch.full((), _NO_STEP, dtype=torch.int64, device=prepared.model.device)
        self.allowed = _one_range(prepared.passes)
        self.columns = [self._columns(p) for p in prepared.passes]
        self.uses = Counter(tuple(p.mask.shape) for p in prepared.passes)
        self._graphs = _Graphs()

    @property
    def graphs(self) -> int:
        """Shapes that were captured."""
        return self._graphs.count

    @property
    def capture_seconds(self) -> float:
        """What capturing took, warm-up included."""
        return self._graphs.seconds

    def turned_to(self, prepared: Prepared) -> bool:
        """Go on with another preparation of the same plan, such as one whose noise has moved, in the same graphs.

        False where graphs hold something of the old one that differs; nothing is changed then.
        """
        old = self.prepared
        held = ("plan", "model", "sampler", "mix", "given_slots")
        if any(getattr(old, name) is not getattr(prepared, name) for name in held):
            return False
        if len(old.passes) != len(prepared.passes) or _one_range(prepared.passes) != self.allowed:
            return False
        self.prepared, self.columns = prepared, [self._columns(p) for p in prepared.passes]
        self.first_bad.fill_(_NO_STEP)
        return True

    def _columns(self, p: Pass) -> Tensor:
        """All integer inputs of a pass, int64 [_KEYS + B, n]; a feed without target writes the trash column."""
        n, trash = len(p.source), self.prepared.plan.positions
        columns = torch.zeros((_KEYS + self.prepared.batch, n), dtype=torch.int64, device=p.source.device)
        columns[_SOURCE], columns[_SLOT] = p.source, p.slot
        columns[_TARGET] = trash
        columns[_TARGET, p.rows] = p.target
        columns[_STEP] = p.step
        columns[_HIGH] = self.prepared.model.vocab_size
        if isinstance(p.allowed, tuple):
            columns[_LOW], columns[_HIGH] = p.allowed
        else:
            columns[_LOW, p.rows], columns[_HIGH, p.rows] = p.allowed.T
        columns[_KEYS:, p.rows] = p.keys
        return columns

    def advance(self, number: int) -> None:
        """Run pass ``number``."""
        p = self.prepared.passes[number]
        shape = p.mask.shape[0], p.mask.shape[1]
        bucket = self.buckets.get(shape)
        if bucket is None:
            bucket = self.buckets[shape] = self._bucket(self.columns[number], p)
        bucket.columns.copy_(self.columns[number])
        bucket.position.copy_(p.position)
        bucket.mask.copy_(p.seen)
        bucket.launch()

    def failed_step(self) -> int | None:
        """The first step with logits that are not finite, or ``None``. Waits for the device."""
        step = int(self.first_bad)
        return None if step == _NO_STEP else step

    def _bucket(self, columns: Tensor, p: Pass) -> _Bucket:
        capture = self.capture and self.uses[tuple(p.mask.shape)] > 1  # a graph used once costs more than it saves
        columns, position, mask = columns.clone(), p.position.clone(), p.seen.clone()

        def run() -> None:
            self._pass(columns, position, mask)

        launch = self._graphs.captured(run) if capture else run
        return _Bucket(columns=columns, position=position, mask=mask, launch=launch)

    def _pass(self, columns: Tensor, position: Tensor, mask: Tensor) -> None:
        """One pass; every operator is a kernel, of which the small ones count as well."""
        prepared, tokens = self.prepared, self.state.tokens
        target = columns[_TARGET]
        lead = () if self.state.lead is None else (None, self.state.lead)
        ids = tokens[:, columns[_SOURCE]]
        logits = prepared.model.forward(ids, position, columns[_SLOT], mask, self.state.cache, *lead)
        logits = prepared.mix.logits(logits, columns[_STEP], prepared.runtime)
        peak = logits.abs().amax(dim=(0, 2))  # NaN where one is
        fine = (peak < math.inf) | (target >= prepared.plan.positions)
        bad = columns[_STEP].masked_fill(fine, _NO_STEP).amin()
        torch.minimum(self.first_bad, bad, out=self.first_bad)
        allowed = columns[_LOW : _HIGH + 1].T if self.allowed is None else self.allowed
        chosen = torch_choose(logits, prepared.sampler, columns[_KEYS:], allowed)
        branches = prepared.rows // prepared.batch
        tokens.index_copy_(1, target, chosen if branches == 1 else chosen.repeat(branches, 1))


def _one_range(passes: Iterable[Pass]) -> tuple[int, int] | None:
    """The ids that every target of some passes may take; ``None``: they differ."""
    ranges = {p.allowed if isinstance(p.allowed, tuple) else None for p in passes if len(p.target)}
    return ranges.pop() if len(ranges) == 1 else None
