"""A draft's plan: its tokens are the guesses, its passes count, and the tokens are the base plan's all the same."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given as given_examples
from hypothesis import settings
from hypothesis import strategies as st

pytest.importorskip("torch")

from diagplan import Diagonal, Layout, NextToken, NumericError, Plan, Sample, SpecError, compile_plan, verify_trace
from diagplan.backends import replay as executor
from diagplan.backends import speculative
from diagplan.backends.speculative_checkpoint import load_speculation, save_speculation
from diagplan.planner.speculation import Speculation, most_passes, plan_entries
from tests.backends.test_speculative import small_model
from tests.support.hash_model import HashModel, NumpyHashModel
from tests.support.speculated import MODELS, SAMPLERS, guessable, ids_for, speculated, step_by_step
from tests.support.strategies import Request, plans

VIDEO = Layout(frames=3, rows=3, cols=4, prompt_frames=1, between_frames=2)
BASE = compile_plan(VIDEO, NextToken())
DRAFTS = ("plan:k=1", "plan:k=2,d=3", "plan:zipar=1")


@settings(max_examples=80)
@given_examples(
    compiled=plans(frames=3, side=4),
    draft=st.sampled_from(DRAFTS),
    window=st.integers(1, 40),
    adaptive=st.booleans(),
    across=st.booleans(),
    model=st.sampled_from(MODELS),
    sampler=st.sampled_from(SAMPLERS),
    batch=st.integers(1, 3),
    guidance=st.sampled_from([None, 2.0]),
    own=st.sampled_from([None, False]),
    chunk=st.sampled_from([2, 512]),
)
def test_tokens_are_those_of_replay(
    compiled: tuple[Request, Plan], draft: str, window: int, adaptive: bool, across: bool, model: Any, sampler: Any,
    batch: int, guidance: float | None, own: bool | None, chunk: int,
) -> None:  # fmt: skip
    _, plan = compiled
    first = compile_plan(plan.layout, Diagonal(k=1))
    options: dict[str, Any] = {"sampler": sampler, "seed": 2, "batch": batch, "guidance": guidance}
    given = ids_for(plan, model, batch if guidance is None else 2 * batch)
    speculation = Speculation(
        window=window, draft=first if draft == "plan:k=1" else draft, adaptive=adaptive, across_frames=across
    )
    got = speculated(plan, model, given, speculation, own=own, chunk=chunk, **options)
    np.testing.assert_array_equal(got.tokens, step_by_step(plan, model, given, **options))
    assert got.complete
    assert got.drafted > 0
    assert got.passes - got.drafted <= most_passes(plan_entries(plan), window)
    assert len(got.feeds) == len(got.accepted) == len(got.pass_seconds) == got.passes
    assert not got.accepted[: got.drafted].any()


@pytest.mark.parametrize("kind", [HashModel, NumpyHashModel])
def test_a_draft_of_the_plan_itself_is_right_throughout(kind: type[HashModel]) -> None:
    """With the noise of the plan: as few passes as windows, after those of the draft, all counted."""
    model = guessable(kind, 251)
    given = ids_for(BASE, model, 2)
    options: dict[str, Any] = {"sampler": Sample(), "seed": 3, "batch": 2}
    seen: list[speculative.Progress] = []
    ready = speculative.prepare(BASE, model, Speculation(window=9, draft=BASE), **options)
    got = speculative.replay(ready, speculative.new_state(ready, given), on_pass=seen.append, trace=True)
    windows = -(-(plan_entries(BASE).entries - ready.prompt) // 9)
    assert (got.drafted, got.passes) == (BASE.steps, BASE.steps + windows)
    assert [one.passes for one in seen] == list(range(1, got.passes + 1))
    assert seen[BASE.steps - 1].tokens == 0
    assert seen[-1].tokens == VIDEO.tokens
    none = speculated(BASE, model, given, Speculation(window=9, draft="none"), **options)
    assert none.passes > windows  # which is what right guesses save


def test_the_trace_counts_the_draft_s_passes_and_verifies() -> None:
    model = guessable(HashModel, 5)
    given = ids_for(BASE, model)
    for draft, name in (("plan:k=1", "plan:k=1"), (compile_plan(VIDEO, Diagonal(k=1)), "plan sha256:")):
        ready = speculative.prepare(BASE, model, Speculation(window=9, draft=draft))
        state = speculative.new_state(ready, given)
        got = speculative.replay(ready, state, trace=True)
        trace = speculative.trace_of(ready, state, got)
        assert trace.draft.startswith(name)
        assert (trace.draft_passes, trace.passes) == (got.drafted, got.passes - got.drafted)
        assert trace.draft_passes == compile_plan(VIDEO, Diagonal(k=1)).steps
        assert verify_trace(BASE, trace).ok


def test_one_s_own_guesses_come_first_and_a_resumed_replay_drafts_no_more(tmp_path: Any) -> None:
    model = small_model()
    given = ids_for(BASE, model)
    want = step_by_step(BASE, model, given)
    ready = speculative.prepare(BASE, model, Speculation(window=9, draft="plan:k=1"))
    own = speculative.replay(ready, speculative.new_state(ready, given, guesses=want))
    assert own.drafted == 0
    state = speculative.new_state(ready, given)
    stopped = speculative.replay(ready, state, cancelled=lambda: bool(state.accepted.any()))
    assert not stopped.complete
    save_speculation(ready, state, tmp_path / "state.safetensors")
    rest = speculative.replay(ready, load_speculation(ready, tmp_path / "state.safetensors", given))
    assert (rest.drafted, rest.complete) == (0, True)
    np.testing.assert_array_equal(rest.tokens, want)


def test_cancelled_in_the_draft_nothing_is_known_and_it_begins_anew() -> None:
    model = guessable(HashModel, 5)
    given = ids_for(BASE, model)
    ready = speculative.prepare(BASE, model, Speculation(window=9, draft="plan:k=1"))
    state = speculative.new_state(ready, given)
    stopped = speculative.replay(ready, state, cancelled=lambda: True)
    assert (stopped.complete, stopped.passes, stopped.drafted, state.passes) == (False, 1, 1, 0)
    assert (stopped.tokens == -1).all()
    again = speculative.replay(ready, state)
    np.testing.assert_array_equal(again.tokens, step_by_step(BASE, model, given))


def test_windows_of_a_video_draft_with_their_own_noise() -> None:
    model = guessable(HashModel, 251)
    given = ids_for(BASE, model)
    ready = speculative.shifted(
        speculative.prepare(BASE, model, Speculation(window=9, draft=BASE), sampler=Sample()), 40
    )
    got = speculative.replay(ready, speculative.new_state(ready, given))
    windows = -(-(plan_entries(BASE).entries - ready.prompt) // 9)
    assert got.passes - got.drafted == windows  # every guess was right: the draft had the same noise


def test_a_plan_of_another_layout_and_logits_that_are_no_numbers() -> None:
    model = guessable(HashModel, 5)
    other = compile_plan(Layout(frames=1, rows=2, cols=2, lead=1), NextToken())
    with pytest.raises(SpecError, match="expected a draft's plan of the same layout"):
        speculative.prepare(BASE, model, Speculation(window=4, draft=other))
    broken = guessable(HashModel, 5)
    broken.forward = lambda *parts: HashModel.forward(broken, *parts) * float("nan")  # type: ignore[method-assign]
    ready = speculative.prepare(BASE, broken, Speculation(window=4, draft="plan:k=1"))
    with pytest.raises(NumericError):
        speculative.replay(ready, speculative.new_state(ready, ids_for(BASE, broken)))
    assert executor.prepare(BASE, model).plan is BASE
