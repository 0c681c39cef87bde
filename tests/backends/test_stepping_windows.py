"""Speculation frame by frame: the tokens of a pass a step, in fewer passes, never a guess behind an unknown action."""

import contextlib
import re
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch")

from diagplan import Diagonal, Layout, NextToken, Policies, ZipAR
from diagplan.backends.sampling import Greedy, Sample
from diagplan.backends.stepping import Stepper, prepare_stepping
from diagplan.planner.errors import SpecError
from diagplan.planner.speculation import Speculation
from tests.backends.test_rolling import BLOCKS, PROMPT, SAMPLER, small_mc_ar
from tests.backends.test_stepping import WINDOW, stepped

WAYS = [
    Speculation(window=5),
    Speculation(window=40),
    Speculation(window=64, draft="nearest", adaptive=True),
    Speculation(window=9, draft="none"),
]


def made(schedule: Any, speculation: Any, *, sampler: Any = SAMPLER, prompt_frames: int = 2, **more: Any) -> Stepper:
    plans = prepare_stepping(
        WINDOW, small_mc_ar(frames=5), schedule, prompt_frames=prompt_frames, sampler=sampler, batch=2,
        speculation=speculation, **more,
    )  # fmt: skip
    return Stepper(plans, PROMPT[:, :prompt_frames], BLOCKS[:, : prompt_frames - 1], seed=7)


@pytest.mark.parametrize("speculation", WAYS, ids=repr)
@pytest.mark.parametrize("schedule", [NextToken(), Diagonal(k=1), ZipAR(window=2)], ids=repr)
@pytest.mark.parametrize("prompt_frames", [1, 2])
def test_tokens_are_those_of_a_pass_a_step(schedule: Any, speculation: Speculation, prompt_frames: int) -> None:
    want, got = (made(schedule, way, prompt_frames=prompt_frames) for way in (None, speculation))
    blocks = BLOCKS[:, prompt_frames - 1 : 9]
    np.testing.assert_array_equal(stepped(got, blocks), stepped(want, blocks))
    assert got.passes <= want.passes
    assert got.frames == want.frames


@pytest.mark.parametrize("policies", [Policies(row_end="keep"), Policies(proxy_kv="visible", visibility="causal")])
def test_other_policies(policies: Policies) -> None:
    want, got = (made(Diagonal(k=1), way, policies=policies) for way in (None, Speculation(window=24)))
    np.testing.assert_array_equal(stepped(got, BLOCKS[:, 1:9]), stepped(want, BLOCKS[:, 1:9]))


def test_a_frame_does_not_depend_on_the_next_action() -> None:
    """Samples end a frame together, and no pass feeds an action before it is known."""
    one, other = made(NextToken(), Speculation(window=64)), made(NextToken(), Speculation(window=64))
    same = BLOCKS[:, 1]
    np.testing.assert_array_equal(one.step(same), other.step(same))
    other_block = np.where(BLOCKS[:, 2] == 33, 34, 33)
    assert (one.step(BLOCKS[:, 2]) != other.step(other_block)).any()
    alone = made(NextToken(), None)
    alone.step(same)
    np.testing.assert_array_equal(other.tokens, alone.step(other_block))


def test_a_measured_window() -> None:
    want, got = (made(NextToken(), way, sampler=Greedy()) for way in (None, "auto"))
    np.testing.assert_array_equal(stepped(got, BLOCKS[:, 1:5]), stepped(want, BLOCKS[:, 1:5]))
    with pytest.raises(SpecError, match=re.escape("expected speculation to be a Speculation or 'auto'")):
        made(NextToken(), "fast")


def test_a_draft_s_plan_needs_actions_that_are_not_known() -> None:
    with pytest.raises(SpecError, match="expected first guesses from other cells where actions come frame by frame"):
        made(NextToken(), Speculation(window=20, draft="plan:k=1"))


def test_the_wave_tells_what_is_accepted() -> None:
    stepper, waves = made(NextToken(), Speculation(window=4, draft="none")), list[np.ndarray]()
    frame = stepper.step(BLOCKS[:, 1], on_step=waves.append)
    assert stepper.passes == len(waves) + 1 > 2
    counts = [int((wave >= 0).sum()) for wave in waves]
    assert counts == sorted(counts)
    assert counts[-1] < frame.size
    for wave in waves:
        assert (wave[wave >= 0] == frame[wave >= 0]).all()


def test_runs_do_not_touch_each_other() -> None:
    plans = prepare_stepping(
        WINDOW, small_mc_ar(frames=5), NextToken(), sampler=Sample(), speculation=Speculation(window=20)
    )
    alone = stepped(Stepper(plans, PROMPT[0, :2], BLOCKS[0, :1], seed=5), BLOCKS[0, 1:])
    one, other = (Stepper(plans, PROMPT[n, :2], BLOCKS[n, :1], seed=5 + n) for n in range(2))
    mixed = []
    for i in range(1, 9):
        mixed.append(one.step(BLOCKS[0, i]))
        other.step(BLOCKS[1, i])
    np.testing.assert_array_equal(np.stack(mixed, axis=1), alone)


@pytest.mark.parametrize("runtime", ["torch", "onnx"])
def test_both_runtimes_step_and_take_back(runtime: str) -> None:
    if runtime == "onnx":
        pytest.importorskip("onnxruntime")
        pytest.importorskip("onnxscript")
        from tests.support.exported import exported_model

        model: Any = exported_model()
    else:
        from tests.support.mc_ar import golden_model

        model = golden_model()
    grid = model.grid
    rows, cols, between = (3, 4, 2) if grid is None else grid
    whole = model.positions // (rows * cols + between)
    window = Layout(frames=whole - 1, rows=rows, cols=cols, prompt_frames=1, between_frames=between)
    rng = np.random.default_rng(3)
    prompt = rng.integers(0, 8, (1, 1, rows, cols))
    blocks = rng.integers(0, 8, (whole + 1, 1, between))
    want, got = (
        Stepper(prepare_stepping(window, model, NextToken(), speculation=way, chunk=32), prompt)
        for way in (None, Speculation(window=24))
    )

    def stop(_: np.ndarray) -> None:
        raise KeyboardInterrupt

    for number, block in enumerate(blocks):
        if number % 2:
            for stepper in (want, got):
                with contextlib.suppress(KeyboardInterrupt):
                    stepper.step(blocks[0], on_step=stop)
        if want.frames == got.frames == number:
            np.testing.assert_array_equal(got.step(block), want.step(block))
    assert want.frames == len(blocks)
