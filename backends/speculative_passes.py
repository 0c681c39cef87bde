"""One pass of a speculative replay: guess, feed, choose, accept. A host read of one number a sample, no more.

Steps that are fed one by one take another way: ``diagplan.backends.speculative_ahead``.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from diagplan.adapters.contract import Array
from diagplan.backends.prepared import not_finite
from diagplan.backends.sampling import Greedy
from diagplan.backends.speculative_ahead import AT_ONCE, NOTHING, alone, look_ahead
from diagplan.backends.speculative_prepared import PreparedSpeculation, SpeculativeState
from diagplan.backends.window import feeds_of
from diagplan.planner.drafts import NO_DRAFT
from diagplan.planner.rounding import rounded_up
from diagplan.planner.trace import TracedPass

__all__ = ["Passes", "resolved_drafts"]

Ids = NDArray[np.int64]

_ONE: Ids = np.ones(1, dtype=np.int64)

# Shapes: B samples, G of them that advance on their own (B, or 1), n feeds of which m are of the window, L cache rows.


@dataclass(frozen=True, slots=True)
class _Run:
    """What a pass feeds: entries ``first`` to ``end``, of which the first ``prompt`` choose nothing.

    Args:
        first, end: int64 [G].
        prompt: the same for all.
        feeds: n, padding included.
        length: L.
    """

    first: Ids
    end: Ids
    prompt: int
    feeds: int
    length: int

    @property
    def window(self) -> Ids:
        """Where the window begins, int64 [G]."""
        return self.first + self.prompt if self.prompt else self.first


class Passes:
    """Advances one state, pass by pass.

    Attributes:
        feeds: of each pass.
        retaken: passes that were taken again.
        traces: of each sample, or ``None``.
        alone: up to which entry all are steps of one entry, intp [N].
        ahead: such steps, laid out while passes feed them one by one.
    """

    def __init__(self, prepared: PreparedSpeculation, state: SpeculativeState, *, trace: bool) -> None:
        self.prepared, self.state = prepared, state
        self.feeds: list[int] = []
        self.retaken = 0
        self.traces: list[list[TracedPass]] | None = [[] for _ in range(prepared.batch)] if trace else None
        self.sample = prepared.runtime.put(np.arange(prepared.batch)[:, None])
        self.row = prepared.runtime.put(np.arange(prepared.rows)[:, None])
        steps = prepared.entries.step
        self.step_end = np.append(np.searchsorted(steps, steps, side="right"), len(steps))
        #: Whether every entry behind the prompt chooses, and ids are not drawn: less is asked of a pass then.
        self.all_choose = bool((prepared.entries.target[prepared.prompt :] >= 0).all())
        self.greedy = isinstance(prepared.sampler, Greedy)
        self.pad = None if prepared.pad is None else prepared.runtime.put(prepared.pad[:, None])
        self.forward = _forward_of(prepared, state)
        self.alone, self.ahead = alone(prepared), NOTHING

    def advance(self) -> None:
        """One pass, which accepts an entry of every sample at least; the first takes the prompt too."""
        state, begun = self.state, self.state.accepted.copy()
        if len(begun) == 1 and state.window.one_step and self.alone[begun[0]] > begun[0]:
            self._step(int(begun[0]))
            return
        self.ahead = NOTHING
        feeds = self._prefill()
        while not self._accepts(run := self._next(), begun):
            self.retaken += 1
            feeds += run.feeds
        self.feeds.append(feeds + run.feeds)
        state.passes += 1

    def _step(self, at: int) -> None:
        """Feed one entry, a step of the plan, as replay does; all is known, and compared with what was guessed.

        NOTE: why not ``_accepts``? Its operators are for many entries. By slices, and a read that gives the token
        itself, what is not the model's forward takes a third of the time, in each of hundreds of passes.
        """
        prepared, state, columns = self.prepared, self.state, self.prepared.columns
        if not self.ahead.first <= at < self.ahead.end:
            self._draft(np.array([at + 1]), ahead=AT_ONCE)
            self.ahead = look_ahead(prepared, state, at, int(min(self.alone[at], state.fed[0])))
        ahead, i = self.ahead, at - self.ahead.first
        only, source = slice(i, i + 1), ahead.sources[i]
        target = slice(ahead.targets[i], ahead.targets[i] + 1)
        ids = state.tokens[:, source : source + 1]
        logits = self._passed(ids, columns.place[at : at + 1], ahead.slots[only], ahead.seen[only], None)
        with np.errstate(invalid="ignore", over="ignore"):  # infinities: an error below
            logits = prepared.mix.logits(logits, ahead.steps[i], prepared.runtime)
            chosen = self._chosen(logits, target)
        told = self._told(chosen[:, 0], logits, None)
        if (told < 0).any():
            raise not_finite(ahead.steps[i])
        self._know(target, chosen)
        run = _Run(state.accepted, state.accepted + 1, 0, 1, 0)
        self._advanced(run, _ONE, told == ahead.guesses[:, i])
        self.feeds.append(1)
        state.passes += 1
        if self.traces is not None:
            self._trace(run, run.first, ids[: prepared.batch], None, chosen)

    # What is fed: integers on the host

    def _next(self) -> _Run:
        prepared, state = self.prepared, self.state
        count, first, width = prepared.entries.entries, state.accepted, state.window.width
        prompt = max(0, prepared.prompt - int(first[0]))
        if len(first) == 1 and len(prepared.borders) == 1:  # the same as below in integers, which take less time
            start = int(first[0]) + prompt
            if state.window.one_step or start - prompt < state.careful:
                stop = min(start + width, int(self.step_end[start]))
                feeds, step = feeds_of(stop - start + prompt), prepared.runtime.length_step
            else:
                stop = min(start + width, count)
                feeds, step = feeds_of(prompt + width), prepared.length_step
            return self._run(first, np.array([stop]), prompt, feeds, step)
        if state.window.one_step or int(first.min()) < state.careful:
            end = np.minimum(first + prompt + width, self.step_end[first + prompt])
            step = prepared.length_step if prepared.runtime.on_gpu else prepared.runtime.length_step
            return self._run(first, end, prompt, feeds_of(int((end - first).max())), step)
        end = np.minimum(first + prompt + width, count)
        if len(prepared.borders) > 1:
            border = np.searchsorted(prepared.borders, np.minimum(first, count - 1), side="right")
            end = np.minimum(end, prepared.borders[border])
        return self._run(first, end, prompt, feeds_of(prompt + width), prepared.length_step)

    def _run(self, first: Ids, end: Ids, prompt: int, feeds: int, step: int) -> _Run:
        reach = self.prepared.columns.zeros + int(first.max()) + feeds
        return _Run(first, end, prompt, feeds, rounded_up(reach, step))

    def _prefill(self) -> int:
        """Feed a long prompt but its end, in chunks; how many feeds that were."""
        prepared, state, feeds = self.prepared, self.state, 0
        while (left := prepared.prompt - int(state.accepted[0])) > 0:
            if left + state.window.width <= prepared.chunk:
                break
            part = min(left, prepared.chunk)
            run = self._run(state.accepted, state.accepted + part, part, feeds_of(part), prepared.length_step)
            self._forward(run, prepared.runtime.put(np.zeros(0, dtype=np.int64)))
            state.accepted = state.accepted + part
            feeds += run.feeds
        return feeds

    # What is made of it: arrays on the device

    def _taken(self, run: _Run, first: Ids, feeds: int) -> slice | Array:
        """The entries of ``feeds`` feeds from ``first`` on: a slice, or int64 [n] or [B, n]; padding behind the end."""
        entries = self.prepared.entries.entries
        if len(first) == 1 and run.end[0] in (first[0] + feeds, entries):
            return slice(int(first[0]), int(first[0]) + feeds)
        index = first[:, None] + np.arange(feeds)
        index = np.where(index < run.end[:, None], index, entries)
        return self.prepared.runtime.put(index if len(first) > 1 else index[0])

    def _slots(self, run: _Run) -> Array:
        """The cache rows that are written, int64 [n] or [B, n]."""
        columns = self.prepared.columns
        if len(run.first) == 1:
            return columns.slots[columns.zeros + int(run.first[0]) :][: run.feeds]
        return self.prepared.runtime.put(columns.zeros + run.first[:, None] + np.arange(run.feeds))

    def _forward(self, run: _Run, rows: Array | None) -> tuple[Array, Array]:
        """The ids that went in, [rows, n], and the logits of all rows of the batch."""
        take, slot = self._taken(run, run.first, run.feeds), self._slots(run)
        padded = bool((run.end - run.first < run.feeds).any())
        seen = self.prepared.columns.seen(take, slot, run.length, padded=padded)
        return self._fed(take, slot, seen, rows)

    def _fed(self, take: slice | Array, slot: Array, seen: Array, rows: Array | None) -> tuple[Array, Array]:
        """``_forward`` of entries into cache rows, shared by all samples or of each."""
        prepared, state, columns = self.prepared, self.state, self.prepared.columns
        source, place = columns.source[take], columns.place[take]
        shared = source.ndim == 1
        if not shared and prepared.rows > prepared.batch:
            source, place, slot, seen = (x[prepared.branch] for x in (source, place, slot, seen))
        ids = state.tokens[:, source] if shared else state.tokens[self.row, source]
        return ids, self._passed(ids, place, slot, seen, rows)

    def _passed(self, ids: Array, place: Array, slot: Array, seen: Array, rows: Array | None) -> Array:
        """The logits of all rows of the batch."""
        state, columns = self.state, self.prepared.columns
        if self.pad is not None:  # rows differ: their positions count from their own first token
            length = seen.shape[-1]
            place = place if columns.by_coordinates else (place - self.pad).clip(0, None)
            slot = slot + 0 * self.pad
            shown = (columns.key_position[:length] >= self.pad)[:, None]
            seen = seen & shown | (columns.rows[:length] == slot[..., None])
        lead = () if state.lead is None else (state.lead,)
        logits: Array = self.forward(ids, place, slot, seen, state.cache, rows, *lead)
        return logits

    def _accepts(self, run: _Run, begun: Ids) -> bool:
        """Take a pass and put down what it chose; false where it has to be taken again."""
        prepared, state, columns = self.prepared, self.state, self.prepared.columns
        runtime, samples = prepared.runtime, slice(prepared.batch)
        self._draft(run.end, ahead=AT_ONCE if state.window.one_step else 0)
        rows = None if not run.prompt else runtime.put(np.arange(run.prompt, run.feeds))
        ids, logits = self._forward(run, rows)
        take = self._taken(run, run.window, run.feeds - run.prompt)
        target = columns.target[take]
        whole = self.all_choose and bool((run.end - run.window == run.feeds - run.prompt).all())  # no padding
        silent = None if whole else ~columns.chooses[take]
        with np.errstate(invalid="ignore", over="ignore"):  # infinities: the pass is taken again, or an error
            logits = prepared.mix.logits(logits, columns.step[take], runtime)
            chosen = self._chosen(logits, target)
        fed = ids[samples, run.prompt :]
        if state.window.one_step:  # all is known; might it have been guessed?
            guessed = self._of(target) == chosen
            known, count = None, 2 * target.shape[-1] + (guessed if silent is None else guessed | silent).all(1)
        else:
            known, right = self._right(run, take, fed, chosen)
            count = 2 * right.cumprod(1).sum(1)  # [B]
        told = self._told(count, logits, silent)
        if (told < 0).any():
            self._repair(run, told < 0)
            return False
        self._know(target, chosen)
        self._advanced(run, told // 2, told % 2 > 0)
        if self.traces is not None:
            self._trace(run, begun, fed, known, chosen)
        return True

    def _told(self, numbers: Array, logits: Array, silent: Array | None) -> Ids:
        """Numbers from 0 on, int64 [B], on the host by one read; -1 where logits, silent ones apart, are not finite."""
        runtime = self.prepared.runtime
        # Where a read costs nothing, all logits are looked at together first, in fewer operators.
        if runtime.on_gpu or silent is not None or not runtime.all_finite(logits):
            finite = (abs(logits) < float("inf")).all(-1)
            finite = (finite if silent is None else finite | silent).all(-1)  # [B]
            numbers = (numbers + 1) * finite - 1
        told: Ids = runtime.numpy(numbers)
        return told

    def _chosen(self, logits: Array, target: slice | Array) -> Array:
        """The chosen ids, int64 [B, m]."""
        prepared = self.prepared
        if self.greedy:
            keys = prepared.keys  # which nobody reads
        else:
            keys = prepared.keys[:, target] if _shared(target) else prepared.keys[self.sample, target]
        allowed = prepared.allowed if isinstance(prepared.allowed, tuple) else prepared.allowed[target]
        return prepared.runtime.choose(logits, prepared.sampler, keys, allowed)

    def _right(self, run: _Run, take: slice | Array, fed: Array, chosen: Array) -> tuple[Array, Array]:
        """Which entries' sources are known, bool [m] or [B, m], and which were fed the right id, bool [B, m]."""
        decider = self.prepared.columns.decider[take]
        window = run.window
        if len(window) == 1:
            by = decider - int(window[0])
            known = by < 0
            return known, known | (fed == chosen[:, by.clip(0, chosen.shape[1] - 1)])
        by = decider - self.prepared.runtime.put(window[:, None])
        known = by < 0
        return known, known | (fed == chosen[self.sample, by.clip(0, chosen.shape[1] - 1)])

    def _of(self, slot: Array) -> Array:
        """The present ids of slots, token or guess, int64 [B, m]."""
        tokens = self.state.tokens
        return tokens[: self.prepared.batch, slot] if _shared(slot) else tokens[self.sample, slot]

    def _know(self, slot: slice | Array, ids: Array) -> None:
        """Put ids down, int64 [B, m]; under guidance all branches go on with the same."""
        tokens, batch = self.state.tokens, self.prepared.batch
        for first in range(0, self.prepared.rows, batch):
            if _shared(slot):
                tokens[first : first + batch, slot] = ids
            else:
                tokens[first + self.sample, slot] = ids

    def _advanced(self, run: _Run, count: Ids, hit: NDArray[np.bool_]) -> None:
        """Accept, and tell the window."""
        state, window = self.state, run.window
        if len(window) == 1:
            accepted = min(int(count.min()), int(run.end[0] - window[0]))
            state.accepted = window + accepted
        else:
            by = np.minimum(count, run.end - window)
            accepted = round(by[run.end > window].mean())
            state.accepted = window + by
        state.window.tell(accepted, guessed_right=bool(2 * np.count_nonzero(hit) > len(hit)))

    # Guesses

    def _draft(self, end: Ids, ahead: int = 0) -> None:
        """Guesses for the targets of entries up to ``end``, int64 [G]; where one is due, of some entries more."""
        prepared, state = self.prepared, self.state
        if not (end > state.fed).any():
            return
        end = np.minimum(end + ahead, prepared.entries.entries)
        lists = [resolved_drafts(prepared, int(lo), int(hi)) for lo, hi in zip(state.fed, end, strict=True)]
        state.fed = np.maximum(state.fed, end)
        most = max(len(slots) for slots, _ in lists)
        positions = prepared.plan.positions
        slot, source = np.full((len(lists), most), positions), np.full((len(lists), most), positions + 1)
        for i, (slots, sources) in enumerate(lists):
            slot[i, : len(slots)], source[i, : len(slots)] = slots, sources
        put = prepared.runtime.put
        shared = len(lists) == 1
        slots, sources = put(slot[0] if shared else slot), put(source[0] if shared else source)
        ids = self._of(sources)
        if isinstance(prepared.allowed, tuple):
            ids = ids.clip(prepared.allowed[0], prepared.allowed[1] - 1)
        else:
            ranges = prepared.allowed[slots]
            ids = ids.clip(ranges[..., 0], ranges[..., 1] - 1)
        self._know(slots, ids)

    # What goes wrong, and what is told

    def _repair(self, run: _Run, bad: NDArray[np.bool_]) -> None:
        """After logits that are not finite: guesses may be to blame, so feed one step alone; then it is the step.

        Masks do not stop NaN, and rows behind the step would keep it: a known token that sees itself alone is written
        over them.
        """
        prepared, state = self.prepared, self.state
        if (run.end <= self.step_end[run.window]).all():
            first = run.window if len(run.window) > 1 else np.repeat(run.window, len(bad))
            raise not_finite(int(prepared.entries.step[first[bad].min()]))
        columns, put = prepared.columns, prepared.runtime.put
        entry = run.window.clip(max=prepared.entries.entries - 1)
        take = put(np.repeat(entry if len(entry) == 1 else entry[:, None], run.feeds, axis=-1))
        slot = self._slots(run)
        itself = columns.rows[: run.length] == slot[..., None]
        self._fed(take, slot, itself, put(np.zeros(0, dtype=np.int64)))
        state.careful = int(run.end.max())

    def _trace(self, run: _Run, begun: Ids, fed: Array, known: Array | None, chosen: Array) -> None:
        prepared, state = self.prepared, self.state
        entries, numpy = prepared.entries, prepared.runtime.numpy
        ids, out = numpy(fed), numpy(chosen)
        sure = np.ones(ids.shape[1], dtype=np.bool_) if known is None else numpy(known)
        assert self.traces is not None
        for sample, traced in enumerate(self.traces):
            group = sample if len(run.first) > 1 else 0
            window, end = int(run.window[group]), int(run.end[group])
            if end == window:  # finished before: padding alone
                continue
            guessed = np.flatnonzero(~(sure[group] if sure.ndim > 1 else sure)[: end - window])
            chose = np.flatnonzero(entries.target[window:end] >= 0)
            slots = entries.source[window + guessed].tolist()
            traced.append(
                TracedPass(
                    first=int(begun[group]),
                    end=end,
                    guesses=dict(zip(slots, ids[sample, guessed].tolist(), strict=True)),
                    chosen=dict(zip(entries.target[window + chose].tolist(), out[sample, chose].tolist(), strict=True)),
                    accepted=int(state.accepted[group]),
                )
            )


def _shared(slot: slice | Array) -> bool:
    """Whether slots are those of all samples: a slice, or int64 [m]; of each they are int64 [B, m]."""
    return isinstance(slot, slice) or slot.ndim == 1


def _forward_of(prepared: PreparedSpeculation, state: SpeculativeState) -> Callable[..., Array]:
    """The model's passes; on a GPU those of a shape that comes again are CUDA graphs, which stay with the state."""
    if state.graphed is None and prepared.runtime.on_gpu and prepared.runtime.graphs:
        from diagplan.backends.torch_graphs import GraphedForward

        state.graphed = GraphedForward(prepared.model, capture=True)
    forward: Callable[..., Array] = prepared.model.forward if state.graphed is None else state.graphed
    return forward


def resolved_drafts(prepared: PreparedSpeculation, first: int, end: int) -> tuple[Ids, Ids]:
    """The targets of entries ``first`` to ``end`` and the slots of their first guesses, none of which is such a target.

    A slot without one has the column of zeros.
    """
    target = prepared.entries.target[first:end]
    target = target[target >= 0]
    source = prepared.drafts[target]
    while (open_ := (source != NO_DRAFT) & (prepared.order[source] >= first)).any():
        source = np.where(open_, prepared.drafts[source], source)
    return target.astype(np.int64), np.where(source == NO_DRAFT, prepared.plan.positions + 1, source).astype(np.int64)
