"""The loop: callbacks in order, cancelling and going on, NaN in the middle."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from diagplan import Layout, NextToken, NumericError, ZipAR, compile_plan  # noqa: E402
from diagplan.backends.replay import new_state, prepare, replay  # noqa: E402
from diagplan.examples.image_model import IMAGE_IDS, ImageModel  # noqa: E402

LAYOUT = Layout(frames=2, rows=3, cols=4, lead=2, between_rows=1, between_frames=1)
PLAN = compile_plan(LAYOUT, ZipAR(window=2))
GIVEN = np.array([[50, 51, *[IMAGE_IDS] * 5]])


@pytest.fixture
def model() -> ImageModel:
    return ImageModel.random(LAYOUT.positions)


def test_steps_and_frames_are_told_in_order(model: ImageModel) -> None:
    prepared, steps, frames = prepare(PLAN, model), [], []
    done = replay(
        prepared,
        new_state(prepared, GIVEN),
        on_step=lambda step, _: steps.append(step),
        on_frame=lambda frame, tokens: frames.append((frame, len(steps), tokens)),
    )
    assert steps == list(range(PLAN.steps))
    assert [frame for frame, _, _ in frames] == [0, 1]
    for frame, told, tokens in frames:
        np.testing.assert_array_equal(tokens, done.tokens[:, frame])
        assert told < PLAN.steps  # before the step itself is told
    assert (done.complete, done.steps, len(done.pass_seconds)) == (True, PLAN.steps, PLAN.steps)


def test_a_cancelled_replay_goes_on_from_its_state(model: ImageModel) -> None:
    prepared = prepare(PLAN, model)
    whole = replay(prepared, new_state(prepared, GIVEN)).tokens
    state, asked = new_state(prepared, GIVEN), iter([False, False, True])
    part = replay(prepared, state, cancelled=lambda: next(asked))
    assert (part.complete, part.steps) == (False, 3)
    assert (part.tokens == -1).any()
    np.testing.assert_array_equal(replay(prepared, state).tokens, whole)


@pytest.mark.parametrize("static", [False, True])
def test_logits_that_are_not_finite_name_the_step(model: ImageModel, static: bool) -> None:
    plan = compile_plan(LAYOUT, NextToken())
    step = 5
    # The position that step 5 feeds for the first time.
    feeds = slice(*plan.step_offsets[step : step + 2])
    model.weights["position"][int(plan.position[feeds][-1])] = torch.nan
    prepared = prepare(plan, model, static=static)
    with pytest.raises(NumericError, match=f"got NaN or infinity at step {step}."):
        replay(prepared, new_state(prepared, GIVEN))


def test_passes_of_few_shapes_give_the_same_tokens(model: ImageModel) -> None:
    runs = [prepare(PLAN, model, static=static) for static in (False, True)]
    first, second = (replay(prepared, new_state(prepared, GIVEN)).tokens for prepared in runs)
    np.testing.assert_array_equal(first, second)
