"""Passes of fixed shape, replayed as CUDA graphs: one graph per (width, cache length), captured when first met.

Every input of a pass lies in static buffers: integer columns, positions and the mask; a pass is three copies and one
graph launch, token choice included. Without CUDA the same code runs the pass directly on the same buffers, which is
how it is tested; capture itself needs a GPU.
"""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from diagplan.backends.prepared import Pass, Prepared, State
from diagplan.backends.sampling import torch_choose

__all__ = ["StaticPasses"]

_SOURCE, _SLOT, _TARGET, _LOW, _HIGH, _STEP, _KEYS = range(7)
_NO_STEP = 1 << 40


@dataclass(frozen=True, slots=True, kw_only=True)
class _Bucket:
    columns: Tensor  # int64 [_KEYS + B, n]
    position: Tensor  # int64, as forward takes it
    mask: Tensor  # bool [n, L] or [rows, n, L]
    launch: Callable[[], None]


class StaticPasses:
    """Advances one state by passes of fixed shapes.

    ``first_bad`` holds on the device the first step whose logits were not finite; reading it waits for the device.
    """

    def __init__(self, prepared: Prepared, state: State, *, capture: bool) -> None:
        self.prepared, self.state, self.capture = prepared, state, capture
        self.buckets: dict[tuple[int, int], _Bucket] = {}
        self.first_bad = torch.full((), _NO_STEP, dtype=torch.int64, device=prepared.model.device)
        self.columns = [self._columns(p) for p in prepared.passes]
        self.uses = Counter(tuple(p.mask.shape) for p in prepared.passes)

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

        launch = self._captured(run) if capture else run
        return _Bucket(columns=columns, position=position, mask=mask, launch=launch)

    def _captured(self, run: Callable[[], None]) -> Callable[[], None]:
        """Capture after a warm-up on a side stream.

        The warm-up repeats a pass, which changes nothing: it writes again what it wrote.
        """
        stream = torch.cuda.Stream()  # type: ignore[no-untyped-call]
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            for _ in range(2):
                run()
        torch.cuda.current_stream().wait_stream(stream)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            run()
        return graph.replay

    def _pass(self, columns: Tensor, position: Tensor, mask: Tensor) -> None:
        prepared, tokens = self.prepared, self.state.tokens
        ids = tokens.index_select(1, columns[_SOURCE])
        lead = () if self.state.lead is None else (None, self.state.lead)
        logits = prepared.model.forward(ids, position, columns[_SLOT], mask, self.state.cache, *lead)
        logits = prepared.mix.logits(logits, columns[_STEP], prepared.runtime)
        chosen_for = columns[_TARGET] < prepared.plan.positions
        bad = (~torch.isfinite(logits).all(dim=-1).all(dim=0) & chosen_for).any()
        self.first_bad.copy_(torch.where(bad, torch.minimum(self.first_bad, columns[_STEP, 0]), self.first_bad))
        chosen = torch_choose(logits, prepared.sampler, columns[_KEYS:], columns[_LOW : _HIGH + 1].T)
        chosen = chosen.repeat(prepared.rows // prepared.batch, 1)
        tokens.index_copy_(1, columns[_TARGET], chosen)
