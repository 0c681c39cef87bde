"""Frame by frame: the tokens of ``roll``, with actions that are known late, in plans that are laid out once."""

import contextlib
import gc
import re
import tracemalloc
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from diagplan import Diagonal, NextToken, Policies, SpecError, ZipAR  # noqa: E402
from diagplan.backends import replay as executor  # noqa: E402
from diagplan.backends.errors import MismatchError  # noqa: E402
from diagplan.backends.rolling import roll  # noqa: E402
from diagplan.backends.sampling import Greedy, Sample  # noqa: E402
from diagplan.backends.stepping import Stepper, prepare_stepping  # noqa: E402
from diagplan.planner.rollout import compile_rollout  # noqa: E402
from diagplan.planner.speculation import Speculation  # noqa: E402
from tests.backends.test_rolling import BLOCKS, MC_AR, PROMPT, SAMPLER, small_mc_ar  # noqa: E402

WINDOW = replace(MC_AR, frames=3)


def stepped(stepper: Stepper, blocks: np.ndarray) -> np.ndarray:
    """The frames of as many steps as there are blocks, [B, T, h, w]."""
    return np.stack([stepper.step(block) for block in np.moveaxis(blocks, -2, 0)], axis=1)


@pytest.mark.parametrize("schedule", [NextToken(), Diagonal(k=1), Diagonal(k=2), ZipAR(window=2)], ids=repr)
@pytest.mark.parametrize("sampler", [Greedy(), SAMPLER], ids=repr)
@pytest.mark.parametrize("prompt_frames", [1, 2, 3])
def test_tokens_are_those_of_roll(schedule: Any, sampler: Any, prompt_frames: int) -> None:
    model = small_mc_ar(frames=5)
    frames = 10 - prompt_frames
    rollout = compile_rollout(WINDOW, schedule, frames=frames, prompt_frames=prompt_frames)
    want = roll(rollout, model, PROMPT[:, :prompt_frames], BLOCKS[:, :9], sampler=sampler, seed=7).tokens
    plans = prepare_stepping(WINDOW, model, schedule, prompt_frames=prompt_frames, sampler=sampler, batch=2)
    stepper = Stepper(plans, PROMPT[:, :prompt_frames], BLOCKS[:, : prompt_frames - 1], seed=7)
    np.testing.assert_array_equal(stepped(stepper, BLOCKS[:, prompt_frames - 1 : 9]), want)
    assert stepper.frames == frames
    np.testing.assert_array_equal(stepper.tokens, want[:, -1])
    video, blocks = stepper.newest(2)
    np.testing.assert_array_equal(video, want[:, -2:])
    np.testing.assert_array_equal(blocks, BLOCKS[:, 8:9])


@pytest.mark.parametrize(
    "policies", [Policies(row_end="keep"), Policies(proxy_kv="visible", visibility="causal")], ids=repr
)
@pytest.mark.parametrize("static", [False, True])
def test_other_policies_and_static_passes(policies: Policies, static: bool) -> None:
    model, schedule = small_mc_ar(frames=5), Diagonal(k=1)
    rollout = compile_rollout(WINDOW, schedule, policies, frames=7)
    want = roll(rollout, model, PROMPT[0, :2], BLOCKS[0, :8], sampler=SAMPLER).tokens
    plans = prepare_stepping(WINDOW, model, schedule, policies, sampler=SAMPLER, static=static)
    np.testing.assert_array_equal(stepped(Stepper(plans, PROMPT[0, :2], BLOCKS[0, :1]), BLOCKS[0, 1:8]), want[0][None])


def test_a_full_prompt_slides_at_once() -> None:
    model = small_mc_ar(frames=3)
    rollout = compile_rollout(MC_AR, NextToken(), frames=3, prompt_frames=3)
    want = roll(rollout, model, PROMPT, BLOCKS[:, :5]).tokens
    plans = prepare_stepping(MC_AR, model, NextToken(), prompt_frames=3, batch=2)
    np.testing.assert_array_equal(stepped(Stepper(plans, PROMPT, BLOCKS[:, :2]), BLOCKS[:, 2:5]), want)


def test_plans_are_laid_out_once(monkeypatch: pytest.MonkeyPatch) -> None:
    made = []
    prepare = executor.prepare

    def counted(*args: Any, **options: Any) -> Any:
        made.append(args)
        return prepare(*args, **options)

    monkeypatch.setattr("diagplan.backends.replay.prepare", counted)
    plans = prepare_stepping(WINDOW, small_mc_ar(frames=5), Diagonal(k=1), prompt_frames=1)
    assert len(made) == 2
    for start in range(2):
        stepper = Stepper(plans, PROMPT[start, :1])
        stepped(stepper, BLOCKS[0])
        assert stepper._video.shape[1] == 5
    assert len(made) == 2


def test_steppers_do_not_touch_each_other() -> None:
    plans = prepare_stepping(WINDOW, small_mc_ar(frames=5), Diagonal(k=1), sampler=Sample())
    alone = stepped(Stepper(plans, PROMPT[0, :2], BLOCKS[0, :1], seed=5), BLOCKS[0, 1:])
    one, other = (Stepper(plans, PROMPT[n, :2], BLOCKS[n, :1], seed=5 + n) for n in range(2))
    mixed = []
    for i in range(1, 9):
        mixed.append(one.step(BLOCKS[0, i]))
        other.step(BLOCKS[1, i])
    np.testing.assert_array_equal(np.stack(mixed, axis=1), alone)


def test_the_wave_is_told_step_by_step() -> None:
    plans = prepare_stepping(WINDOW, small_mc_ar(frames=5), Diagonal(k=1))
    stepper = Stepper(plans, PROMPT[0, :2], BLOCKS[0, :1])
    waves: list[np.ndarray] = []
    frame = stepper.step(BLOCKS[0, 1], on_step=waves.append)
    known = [int((wave >= 0).sum()) for wave in waves]
    assert known == [1, 3, 6, 9, 11]
    for wave in waves:
        assert (wave[wave >= 0] == frame[wave >= 0]).all()
    assert stepper.passes == len(waves) + 1 == 6


@pytest.mark.parametrize("speculation", [None, Speculation(window=6), Speculation(window=20, draft="none")], ids=repr)
@pytest.mark.parametrize("schedule", [NextToken(), Diagonal(k=1)], ids=repr)
def test_a_frame_that_was_stopped_is_taken_back(schedule: Any, speculation: Speculation | None) -> None:
    """Stopped within any frame, after any pass, and begun anew with another action."""
    plans = prepare_stepping(WINDOW, small_mc_ar(frames=5), schedule, sampler=SAMPLER, speculation=speculation)
    assert plans.rewinds
    stepper, plain = (Stepper(plans, PROMPT[0, :2], BLOCKS[0, :1]) for _ in range(2))
    for number in range(1, 9):
        waves: list[np.ndarray] = []

        def stop(wave: np.ndarray, waves: list[np.ndarray] = waves, after: int = number % 4) -> None:
            waves.append(wave)
            if len(waves) > after:
                raise KeyboardInterrupt

        with contextlib.suppress(KeyboardInterrupt):
            stepper.step(BLOCKS[1, number], on_step=stop)
            plain.step(BLOCKS[1, number])  # it was complete before
            continue
        told: list[np.ndarray] = []
        got, want = stepper.step(BLOCKS[0, number], on_step=told.append), plain.step(BLOCKS[0, number])
        np.testing.assert_array_equal(got, want)
        counts = [int((wave >= 0).sum()) for wave in told]
        assert counts == sorted(counts)
        for wave in told:
            assert (wave[wave >= 0] == got[wave >= 0]).all()
        assert stepper.frames == plain.frames


def test_a_frame_that_cannot_be_taken_back_ends_it() -> None:
    policies = Policies(proxy_kv="visible", visibility="causal")
    plans = prepare_stepping(WINDOW, small_mc_ar(frames=5), Diagonal(k=1), policies)
    assert not plans.rewinds
    stepper = Stepper(plans, PROMPT[0, :2], BLOCKS[0, :1])

    def stop(_: np.ndarray) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        stepper.step(BLOCKS[0, 1], on_step=stop)
    with pytest.raises(SpecError, match="expected a stepper whose last frame was finished"):
        stepper.step(BLOCKS[0, 1])


def test_overlapping_frames_are_refused() -> None:
    model = small_mc_ar(frames=5)
    with pytest.raises(SpecError, match=r"expected frames one after the other, got generated frame 1 begun at step 2"):
        prepare_stepping(WINDOW, model, Diagonal(k=1, d=2))
    prepare_stepping(WINDOW, model, Diagonal(k=1, d=6))  # as many as a frame takes


def test_what_does_not_fit_is_refused_and_changes_nothing() -> None:
    plans = prepare_stepping(WINDOW, small_mc_ar(frames=5), Diagonal(k=1), prompt_frames=1)
    stepper = Stepper(plans, PROMPT[0, :1])
    for wrong, message in (
        (None, "expected an action of shape [2], got none."),
        (BLOCKS[0, 0, :1], "expected an action of shape [2]"),
        (BLOCKS[:, 0], "expected an action for all samples or for 1, got 2."),
        (BLOCKS[0, 0] + 99, "expected action ids from 0 to 39"),
        (BLOCKS[0, 0] - 99, "expected action ids from 0 to 39"),
    ):
        with pytest.raises(MismatchError, match=re.escape(message)):
            stepper.step(wrong)
    after = stepper.step(BLOCKS[0, 0])
    np.testing.assert_array_equal(after, Stepper(plans, PROMPT[0, :1]).step(BLOCKS[0, 0]))
    for prompt, blocks, message in (
        (PROMPT[0, 0], None, "expected a prompt of 1 or 2 or 5 frames"),
        (PROMPT[:, :1], None, "expected prompt of 1 sample(s), got 2."),
        (PROMPT[0, :2], None, "expected actions of shape [1, 2]"),
        (PROMPT[0, :1] + 99, None, "expected given ids from 0 to 39"),
    ):
        with pytest.raises(MismatchError, match=re.escape(message)):
            Stepper(plans, prompt, blocks)
    with pytest.raises(SpecError, match=re.escape("expected 1 to 2 frames, got frames=3.")):
        stepper.newest(3)
    with pytest.raises(SpecError, match="expected seed to be an integer"):
        Stepper(plans, PROMPT[0, :1], seed=0.5)  # type: ignore[arg-type]
    with pytest.raises(MismatchError, match="expected a plan of 3 x 4 tokens a frame"):
        prepare_stepping(replace(WINDOW, rows=4, cols=3), small_mc_ar(frames=5, rope="3d"), NextToken())


@pytest.mark.slow
def test_memory_does_not_grow_with_what_was_played() -> None:
    plans = prepare_stepping(MC_AR, small_mc_ar(), Diagonal(k=1), prompt_frames=2)
    stepper = Stepper(plans, PROMPT[0, :2], BLOCKS[0, :1])

    def tensors() -> int:
        gc.collect()
        return sum(type(held) is torch.Tensor for held in gc.get_objects())

    def played(frames: int) -> tuple[int, int]:
        for frame in range(frames):
            stepper.step(BLOCKS[0, frame % 9])
        return tracemalloc.get_traced_memory()[0], tensors()

    tracemalloc.start()
    try:
        before, held = played(60)
        after, still = played(240)
    finally:
        tracemalloc.stop()
    assert still == held
    assert after - before < 120_000  # half a kilobyte a frame: what else runs in the process counts too
