"""One pass: what it puts down, and the faults of it that comparisons with replay notice."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("torch")

from diagplan import Diagonal, Layout, NextToken, Plan, Sample, SpecError, compile_plan, verify_trace
from diagplan.backends import speculative
from diagplan.backends.speculative_columns import Columns
from diagplan.backends.speculative_passes import Passes, resolved_drafts
from diagplan.backends.torch_graphs import GraphedForward
from diagplan.planner.speculation import Speculation, plan_entries
from tests.support.cuda import GRID, grid_ids, grid_model
from tests.support.hash_model import HashModel
from tests.support.speculated import MODELS, guessable, ids_for, speculated, speculations, step_by_step
from tests.support.strategies import Request, plans

VIDEO = Layout(frames=3, rows=3, cols=4, prompt_frames=1, between_frames=2)


# Faults of the executor, each of which some comparison above notices


def fault_accept_one_too_many(monkeypatch: pytest.MonkeyPatch) -> None:
    advanced = Passes._advanced
    monkeypatch.setattr(Passes, "_advanced", lambda self, run, count, hit: advanced(self, run, count + 1, hit))


def fault_keep_a_rejected_row(monkeypatch: pytest.MonkeyPatch) -> None:
    forward = Passes._forward

    def kept(self: Passes, run: Any, rows: Any) -> Any:
        row = self.prepared.columns.zeros + int(run.first[0])
        before = [tensor[:, row].clone() for tensor in self.state.cache]  # type: ignore[attr-defined]
        out = forward(self, run, rows)
        if run.first[0] < self.state.fed[0] and self.state.passes:  # it was fed before, with another id
            for tensor, old in zip(self.state.cache, before, strict=True):  # type: ignore[call-overload]
                tensor[:, row] = old
        return out

    monkeypatch.setattr(Passes, "_forward", kept)


def fault_noise_by_place_in_the_window(monkeypatch: pytest.MonkeyPatch) -> None:
    def chosen(self: Passes, logits: Any, target: Any) -> Any:
        prepared = self.prepared
        keys = prepared.keys[:, : target.shape[-1]]
        return prepared.runtime.choose(logits, prepared.sampler, keys, prepared.allowed)

    monkeypatch.setattr(Passes, "_chosen", chosen)


def fault_see_the_whole_window(monkeypatch: pytest.MonkeyPatch) -> None:
    def seen(self: Columns, take: Any, slot: Any, length: int, *, padded: bool) -> Any:
        del padded, take
        return (self.rows[:length] <= slot.max())[None].expand(len(slot), length)

    monkeypatch.setattr(Columns, "seen", seen)


def fault_forget_the_last_outputs(monkeypatch: pytest.MonkeyPatch) -> None:
    def advanced(self: Passes, run: Any, count: Any, hit: Any) -> None:
        real(self, run, count, hit)
        self.state.fed[:] = self.state.accepted  # what was guessed is drafted anew

    real = Passes._advanced
    monkeypatch.setattr(Passes, "_advanced", advanced)


def faulty_run() -> tuple[bool, int]:
    """Whether all tokens of three runs are right, and how many passes they took."""
    plan, model = compile_plan(VIDEO, NextToken()), guessable(HashModel, 3)
    right, passes = True, 0
    for seed in range(3):
        given = ids_for(plan, model, seed=seed)
        got = speculated(plan, model, given, Speculation(window=8), sampler=Sample(), seed=seed)
        right &= bool((got.tokens == step_by_step(plan, model, given, sampler=Sample(), seed=seed)).all())
        passes += got.passes
    return right, passes


@pytest.mark.parametrize(
    "fault",
    [
        fault_accept_one_too_many, fault_keep_a_rejected_row, fault_noise_by_place_in_the_window,
        fault_see_the_whole_window,
    ],
)  # fmt: skip
def test_faults_change_tokens(fault: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    assert faulty_run()[0]
    fault(monkeypatch)
    assert not faulty_run()[0]


def test_drafting_anew_costs_passes() -> None:
    """Last outputs are better guesses than drafts: on a model that says each slot's id whatever it reads."""
    plan = compile_plan(VIDEO, NextToken())

    class Settled(HashModel):
        def forward(self, ids: Any, position: Any, slot: Any, mask: Any, cache: Any, rows: Any = None) -> Any:
            return super().forward(0 * ids, position, slot, 0 * mask, cache, rows)

    given = ids_for(plan, Settled())
    assert speculated(plan, Settled(), given, Speculation(window=60, draft="none")).passes == 2
    with pytest.MonkeyPatch.context() as patch:
        fault_forget_the_last_outputs(patch)
        assert speculated(plan, Settled(), given, Speculation(window=60, draft="none")).passes > 20


# What every pass did


def test_traces_are_consistent() -> None:
    plan, model = compile_plan(VIDEO, NextToken()), guessable(HashModel, 3)
    entries = plan_entries(plan)
    got = speculated(plan, model, ids_for(plan, model, 2), Speculation(window=10), batch=2, trace=True)
    assert got.traces is not None
    for sample, passes in enumerate(got.traces):
        tokens: dict[int, int] = {}
        accepted = 0
        for one in passes:
            assert one.first == accepted < one.end <= one.first + 10 + 13 * (one.first == 0)
            targets = entries.target[one.first : one.end]
            assert list(one.chosen) == targets[targets >= 0].tolist()
            out, guesses = one.chosen, one.guesses
            accepted = one.first
            for entry in range(one.first, one.end):
                source = int(entries.source[entry])
                if source in guesses and guesses[source] != out[source]:
                    break
                accepted += 1
                if (target := int(entries.target[entry])) >= 0:
                    tokens[target] = out[target]
            assert one.accepted == accepted
        assert accepted == entries.entries
        cells = plan.layout.cell_slots()
        np.testing.assert_array_equal(np.vectorize(tokens.__getitem__)(cells), got.tokens[sample])


def test_drafts_of_a_window_are_of_slots_before_it() -> None:
    """A window over two frames drafts the second from the frame before the first, which has tokens."""
    plan = compile_plan(VIDEO, NextToken())
    prepared = speculative.prepare(plan, guessable(HashModel, 3), Speculation(window=24))
    cells = plan.layout.cell_slots(prompt=True)
    first, end = prepared.prompt, prepared.prompt + 27  # two tokens between frames are fed as well
    slots, sources = resolved_drafts(prepared, first, end)
    assert slots.tolist() == [*cells[1].ravel(), *cells[2].ravel()[: len(slots) - 12]]
    assert sources.tolist() == [*cells[0].ravel(), *cells[0].ravel()[: len(slots) - 12]]
    slots, sources = resolved_drafts(prepared, first + 14, end)  # the first frame has guesses by now
    assert set(sources.tolist()) <= set(cells[1].ravel().tolist())
    none = speculative.prepare(plan, guessable(HashModel, 3), Speculation(window=24, draft="none"))
    assert set(resolved_drafts(none, first, end)[1].tolist()) == {plan.positions + 1}


@settings(max_examples=80)
@given(
    compiled=plans(frames=3, side=5),
    speculation=speculations(),
    model=st.sampled_from(MODELS[:2]),
    batch=st.integers(1, 3),
    own=st.sampled_from([None, False]),
    chunk=st.sampled_from([2, 512]),
)
def test_traces_pass_the_checker(
    compiled: tuple[Request, Plan], speculation: Speculation, model: Any, batch: int, own: bool | None, chunk: int
) -> None:
    """Of any plan, window and batch: the checker recomputes every pass from plan and trace, and shares no code."""
    plan, numbers = compiled[1], range(5, 5 + batch)
    prepared = speculative.prepare(
        plan, model, speculation, batch=batch, own=own, chunk=chunk, sampler=Sample(), seed=7, samples=numbers
    )
    state = speculative.new_state(prepared, ids_for(plan, model, batch))
    done = speculative.replay(prepared, state, trace=True)
    trace = speculative.trace_of(prepared, state, done)
    report = verify_trace(plan, trace)
    assert report.ok, report.diagnostics
    assert [one.number for one in trace.samples] == list(numbers)
    assert trace.passes == done.passes
    assert trace.advance == ("slowest" if own is False and batch > 1 else "own")


def test_traces_that_cannot_be() -> None:
    plan, model = compile_plan(VIDEO, NextToken()), guessable(HashModel, 3)
    prepared = speculative.prepare(plan, model, Speculation(window=10))
    state = speculative.new_state(prepared, ids_for(plan, model))
    with pytest.raises(SpecError, match="expected an outcome with traces, got traces=None"):
        speculative.trace_of(prepared, state, speculative.replay(prepared, state))
    padded = speculative.prepare(plan, model, Speculation(window=10), pad=[2])
    state = speculative.new_state(padded, ids_for(plan, model))
    done = speculative.replay(padded, state, trace=True)
    with pytest.raises(SpecError, match="expected a replay of ids alone for a trace, got padding or embeddings"):
        speculative.trace_of(padded, state, done)
    later = speculative.shifted(prepared, 26)
    state = speculative.new_state(later, ids_for(plan, model))
    done = speculative.replay(later, state, trace=True)
    with pytest.raises(SpecError, match="got a window that begins 26 slots into its video"):
        speculative.trace_of(later, state, done)
    first = speculative.shifted(prepared, 0)
    state = speculative.new_state(first, ids_for(plan, model))
    assert verify_trace(plan, speculative.trace_of(first, state, speculative.replay(first, state, trace=True))).ok


def test_passes_on_buffers_that_stay_give_the_same_tokens() -> None:
    """As on a GPU, without capture; a state that is restarted goes on with cache and buffers."""
    model, plan = grid_model("cpu"), compile_plan(replace(GRID, frames=1), Diagonal(k=2))
    ready = speculative.prepare(plan, model, Speculation(window=16, adaptive=True), sampler=Sample(), seed=1)
    state = speculative.new_state(ready, grid_ids(1, layout=plan.layout))
    held = state.graphed = GraphedForward(model, capture=False)
    cache = state.cache
    for shift in (0, 1):
        ids = (grid_ids(1, layout=plan.layout) + shift) % 100
        if shift:
            state = speculative.restarted(ready, state, ids)
        want = speculative.replay(ready, speculative.new_state(ready, ids)).tokens
        np.testing.assert_array_equal(speculative.replay(ready, state).tokens, want)
        assert state.graphed is held
        assert state.cache is cache
    assert len(held._held) > 1
