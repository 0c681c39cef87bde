"""Steps fed one by one: laid out for many at once, they are the same passes as one laid out at a time."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

pytest.importorskip("torch")

from torch.utils._python_dispatch import TorchDispatchMode

from diagplan import Layout, NextToken, NumericError, Plan, Sample, compile_plan
from diagplan.backends import replay as executor
from diagplan.backends import speculative, speculative_passes
from diagplan.backends.speculative_ahead import AT_ONCE, alone, look_ahead
from diagplan.planner.speculation import Speculation
from tests.support.hash_model import HashModel
from tests.support.speculated import MODELS, guessable, ids_for
from tests.support.strategies import Request, plans

ADAPTIVE = Speculation(window=8, adaptive=True)
FRAMES = Layout(frames=3, rows=5, cols=6, prompt_frames=1, between_frames=2)


@settings(max_examples=60)
@given(
    compiled=plans(frames=3, side=5),
    model=st.sampled_from(MODELS[:3]),
    window=st.integers(2, 30),
    batch=st.integers(1, 2),
)
def test_the_same_passes_as_without(compiled: tuple[Request, Plan], model: HashModel, window: int, batch: int) -> None:
    plan = compiled[1]
    ready = speculative.prepare(
        plan, model, Speculation(window=window, adaptive=True), batch=batch, own=False, sampler=Sample(), seed=3
    )
    the_same(ready, ids_for(plan, model, batch))


@pytest.mark.parametrize("batch", [1, 2])
@pytest.mark.parametrize("guided", [(0, None), (11, 40)])
@pytest.mark.parametrize("model", MODELS[2::3])
def test_the_same_passes_under_guidance(model: HashModel, guided: tuple[int, int | None], batch: int) -> None:
    plan = compile_plan(FRAMES, NextToken())
    ready = speculative.prepare(
        plan, model, Speculation(window=8, adaptive=True), batch=batch, own=False,
        guidance=-1.0, guided_steps=guided,
    )  # fmt: skip
    feeds = the_same(ready, ids_for(plan, model, ready.rows))
    assert feeds.count(1) > 50


def the_same(ready: speculative.PreparedSpeculation, ids: NDArray[np.int64]) -> list[int]:
    """That tokens are, and what every pass fed, guessed, chose and accepted, and how wide it was; the feeds."""

    def replayed() -> speculative.Speculated:
        return speculative.replay(ready, speculative.new_state(ready, ids), trace=True)

    done = replayed()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(speculative_passes, "alone", lambda prepared: np.arange(prepared.entries.entries))
        one_by_one = replayed()
    np.testing.assert_array_equal(done.tokens, one_by_one.tokens)
    np.testing.assert_array_equal(done.feeds, one_by_one.feeds)
    assert done.traces == one_by_one.traces
    feeds: list[int] = done.feeds.tolist()
    return feeds


@pytest.mark.parametrize("draft", ["previous-frame", "none"])
def test_guesses_that_fail_and_hold_by_turns(draft: Any) -> None:
    """Steps alone, a wide pass whose outputs are new guesses, steps alone again, and those guesses hold."""
    plan = compile_plan(replace(FRAMES, rows=7, cols=8), NextToken())

    class Turns(HashModel):
        def forward(self, ids, position, slot, mask, cache, rows=None):  # type: ignore[no-untyped-def]
            logits = super().forward(ids, position, slot, mask, cache, rows)
            at = (position if rows is None else position[rows]) - first
            for lo, hi, says in ((26, 35, 0), (40, 60, 7)):
                logits[:, (at >= lo) & (at < hi), says] = 99.0
            return logits

    ready = speculative.prepare(plan, Turns(), Speculation(window=16, draft=draft, adaptive=True))
    first = ready.prompt
    feeds = the_same(ready, np.zeros((1, len(ready.given_slots)), dtype=np.int64))
    narrow = [wide == 1 for wide in feeds]
    assert [narrow[i] for i in np.flatnonzero(np.diff([False, *narrow]))][:3] == [True, False, True]


@settings(max_examples=60)
@given(compiled=plans(frames=3, side=5))
def test_alone_are_steps_of_one_entry_that_choose(compiled: tuple[Request, Plan]) -> None:
    ready = speculative.prepare(compiled[1], MODELS[0], Speculation(window=4))
    steps, target = ready.entries.step.tolist(), ready.entries.target
    until = alone(ready).tolist()
    for first, end in enumerate(until):
        run = [steps.count(steps[entry]) == 1 and target[entry] >= 0 for entry in range(first, len(steps))]
        assert end == first + [*run, False].index(False)


def test_what_is_looked_ahead_at_has_one_length() -> None:
    plan, model = compile_plan(FRAMES, NextToken()), MODELS[0]
    ready = speculative.prepare(plan, model, Speculation(window=8, adaptive=True))
    state, step, end = speculative.new_state(ready, ids_for(plan, model)), ready.runtime.length_step, len(alone(ready))
    ahead = look_ahead(ready, state, step - 5, end)
    assert (ahead.first, ahead.end, ahead.seen.shape) == (step - 5, step, (5, step))
    assert ahead.seen.sum(-1).tolist() == list(range(step - 4, step + 1))
    longer = look_ahead(ready, state, step, end)
    assert (longer.end - longer.first, longer.seen.shape[-1]) == (min(AT_ONCE, end - step), 2 * step)


@pytest.mark.parametrize("worst", [float("nan"), float("inf")])
def test_logits_that_are_not_finite_name_their_step(worst: float) -> None:
    plan = compile_plan(FRAMES, NextToken())

    class Failing(HashModel):
        def forward(self, ids, position, slot, mask, cache, rows=None):  # type: ignore[no-untyped-def]
            logits = super().forward(ids, position, slot, mask, cache, rows)
            chosen = position if rows is None else position[rows]
            logits[:, chosen == 70] = worst
            return logits

    ready = speculative.prepare(plan, Failing(), Speculation(window=8, adaptive=True))
    step = int(ready.entries.step[(ready.entries.position == 70).argmax()])
    with pytest.raises(NumericError, match=f"NaN or infinity at step {step}"):
        speculative.replay(ready, speculative.new_state(ready, ids_for(plan, Failing())))


def test_a_step_alone_is_about_as_many_operators_as_in_replay() -> None:
    """Masks, positions, drafts and guesses of many steps come at once, so a pass has next to none of its own."""
    plan, model = compile_plan(replace(FRAMES, rows=12, cols=12), NextToken()), guessable(HashModel, 9973)
    ids = ids_for(plan, model)
    ready, prepared = speculative.prepare(plan, model, ADAPTIVE), executor.prepare(plan, model)
    with Operators() as own:
        executor.replay(prepared, executor.new_state(prepared, ids), on_step=own.begin_next)
    with Operators() as mine:
        done = speculative.replay(ready, speculative.new_state(ready, ids), on_pass=mine.begin_next)
    narrow = [count for count, feeds in zip(mine.counts, done.feeds, strict=True) if feeds == 1]
    assert len(narrow) > 200
    assert np.mean(narrow) < np.mean(own.counts[1:]) + 3


class Operators(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts operators of PyTorch that compute something: views cost next to nothing."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.counts, self.now = list[int](), 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.now += not func.is_view
        return func(*args, **(kwargs or {}))

    def begin_next(self, *_: Any) -> None:
        """Another pass begins."""
        self.counts.append(self.now)
        self.now = 0
