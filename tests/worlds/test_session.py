"""Worlds that are stepped: the frames of ``generate``, and what sessions share and do not share."""

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("av")
pytest.importorskip("diffusers")
pytest.importorskip("safetensors")

from diagplan import (  # noqa: E402
    Diagonal,
    Imported,
    MismatchError,
    NextToken,
    Sample,
    SpecError,
    Speculation,
    World,
    compile_plan,
    compile_rollout,
    load_world,
    roll_for,
)
from diagplan.video.files import read_video  # noqa: E402
from diagplan.worlds import SHIPPED  # noqa: E402
from diagplan.worlds.generation import generate  # noqa: E402
from diagplan.worlds.session import Session, start  # noqa: E402
from tests.support.small_world import small_world  # noqa: E402
from tests.support.wham_world import write_wham_world  # noqa: E402

CLIP = SHIPPED["crafter-mini"] / "clip.mp4"


@pytest.fixture(scope="module")
def wham(tmp_path_factory: pytest.TempPathFactory) -> tuple[World, np.ndarray, np.ndarray]:
    """A small WHAM, which keeps 3 of 4 frames; 12 frames and actions."""
    folder = tmp_path_factory.mktemp("wham")
    with pytest.MonkeyPatch.context() as patch:
        checkpoint, recording = write_wham_world(folder, patch)
    world = load_world("wham", weights=checkpoint)
    return world, np.stack(list(world.read_frames(recording))), world.read_actions(recording)


@pytest.fixture(scope="module")
def crafter() -> tuple[Session, np.ndarray]:
    """A session of crafter-mini that nobody steps, and frames."""
    frames = read_video(CLIP, limit=3)
    return load_world("crafter-mini").start(frames[0], schedule=Diagonal(k=1)), frames


@pytest.mark.parametrize("keep", [None, 2])
@pytest.mark.parametrize("given", [1, 4])
def test_frames_are_those_of_generate(wham: Any, keep: int | None, given: int) -> None:
    world, frames, actions = wham
    sampler, schedule = Sample(temperature=1.1), Diagonal(k=1)
    rollout = roll_for(world, 6, schedule, keep=keep or 3, prompt_frames=given)
    want = generate(rollout, world, frames[:given], actions[: given + 5], sampler=sampler, seed=3)
    session = start(world, frames[:given], actions[: given - 1], schedule=schedule, keep=keep, sampler=sampler, seed=3)
    for i in range(6):
        frame = session.step(actions[given - 1 + i])
        np.testing.assert_array_equal(session.tokens, want.tokens[i])
        np.testing.assert_array_equal(frame, want.frames[i])
    assert session.frames == 6
    assert session.passes == rollout.cost().passes


def test_words_lines_and_blocks_are_one_action(crafter: Any) -> None:
    session, _ = crafter
    one = session.again().step("move_left")
    np.testing.assert_array_equal(session.again().step({"action": "move_left"}), one)
    np.testing.assert_array_equal(session.again().step(np.array([256, 259, 257])), one)
    assert (session.again().step("move_right") != one).any()
    assert session.frames == 0


def test_before_the_first_step_there_is_the_prompt(crafter: Any) -> None:
    session, frames = crafter
    np.testing.assert_array_equal(session.frame, session.world.reconstruct(frames[:1])[0])
    other = session.again(frames[2])
    np.testing.assert_array_equal(other.frame, session.world.reconstruct(frames[2:3])[0])
    assert session.plan.layout.prompt_frames == 4
    wave = np.full((9, 12), -1)
    assert session.picture(wave).shape == session.frame.shape


def test_another_plan_goes_on_from_here(wham: Any) -> None:
    world, frames, actions = wham
    slow, fast = (start(world, frames[:1], schedule=s, sampler=Sample()) for s in (NextToken(), Diagonal(k=1)))
    played = slow.again(seed=4)
    for i in range(5):
        played.step(actions[i])
    went = fast.again(after=played, seed=4)
    np.testing.assert_array_equal(went.frame, played.frame)
    ahead = went.step(actions[5])
    assert went.plan.steps < played.plan.steps
    # The window is that which slides on: a plan of its own gives what a session of it would have.
    same = slow.again(after=played, seed=4)
    np.testing.assert_array_equal(same.step(actions[5]), played.step(actions[5]))
    assert ahead.shape == same.frame.shape


def test_the_wave(wham: Any) -> None:
    world, frames, actions = wham
    session = start(world, frames[:1], schedule=Diagonal(k=1))
    known: list[int] = []
    session.step(actions[0], on_step=lambda tokens: known.append(int((tokens >= 0).sum())))
    assert known == sorted(known)
    assert len(known) == session.passes - 1
    assert known[-1] < 12


def test_what_cannot_be_started(wham: Any, crafter: Any) -> None:
    world, frames, actions = wham
    session, _ = crafter
    for prompt, more, message in (
        (frames[:1].astype(float), None, "expected prompt frames uint8 [n, height, width, 3], got float64"),
        (frames[:5], None, "expected at most 4 prompt frames, got 5."),
        (frames[:2], None, "expected 1 actions between the prompt frames, got none."),
        (frames[:2], actions[:2], "expected actions of shape [1, 16]"),
    ):
        with pytest.raises(MismatchError, match=re.escape(message)):
            start(world, prompt, more)
    with pytest.raises(SpecError, match="expected frames one after the other"):
        start(world, frames[:1], schedule=Diagonal(k=1, d=2))
    with pytest.raises(SpecError, match="expected to keep 1 to 3 of 4 frames"):
        start(world, frames[:1], keep=4)
    with pytest.raises(SpecError, match="expected world to be a world model"):
        start("crafter-mini", frames[:1])  # type: ignore[arg-type]
    with pytest.raises(SpecError, match="expected an action of noop, move_left"):
        session.again().step("fly")
    with pytest.raises(MismatchError, match=r"got none\. Give one for each frame"):
        session.again().step()
    assert small_world().controls is None


def test_too_few_frames_to_go_on_from(wham: Any) -> None:
    world, frames, actions = wham
    many = start(world, frames[:3], actions[:2])
    one = start(world, frames[:1])
    with pytest.raises(MismatchError, match="expected a session with at least 3 frames to go on from, got one with 1"):
        many.again(after=one)


def test_a_world_of_whole_clips(tmp_path: Path) -> None:
    from diagplan.worlds.clip_world import ClipWorld

    world: Any = ClipWorld.__new__(ClipWorld)
    object.__setattr__(world, "name", "cosmos")
    object.__setattr__(world, "tokenizer", type("T", (), {"clip": (33, 640, 1024)}))
    with pytest.raises(SpecError, match=r"got cosmos\. It makes 33 frames at once"):
        world.start(np.zeros((1, 8, 8, 3), np.uint8))


def test_speculation_gives_the_same_frames(wham: Any) -> None:
    world, frames, actions = wham
    one, other = (
        start(world, frames[0], speculation=way, sampler=Sample(), seed=4) for way in (None, Speculation(window=16))
    )
    for i in range(6):
        np.testing.assert_array_equal(one.step(actions[i]), other.step(actions[i]))
    assert other.passes < one.passes


@pytest.mark.parametrize("kept", [1, 2])
def test_a_plan_of_a_file_is_every_window(wham: Any, kept: int) -> None:
    world, frames, actions = wham
    plan = compile_plan(replace(world.window(kept), frames=2), Diagonal(k=1), max_width=3)
    session = start(world, frames[0], plan=plan)
    rollout = compile_rollout(plan.layout, Diagonal(k=1), frames=6, prompt_frames=1)
    want = generate(rollout, world, frames[:1], actions[:6])
    for i in range(6):
        np.testing.assert_array_equal(session.step(actions[i]), want.frames[i])
    assert session.plan is plan
    with pytest.raises(SpecError, match="expected a plan, or schedule, policies and keep, got both"):
        start(world, frames[0], plan=plan, keep=2)
    with pytest.raises(MismatchError, match="expected a plan for"):
        start(world, frames[0], plan=compile_plan(replace(plan.layout, rows=2), Diagonal(k=1)))
    with pytest.raises(SpecError, match="expected plan to be"):
        start(world, frames[0], plan="plan.json")  # type: ignore[arg-type]


def test_a_plan_of_an_order_begins_with_as_many_frames_as_it_has(wham: Any) -> None:
    world, frames, actions = wham
    order = np.arange(2 * world.rows * world.cols).reshape(2, world.rows, world.cols)
    plans = [compile_plan(replace(world.window(kept), frames=2), Imported(steps=order)) for kept in (1, 2)]
    session, plain = start(world, frames[0], plan=plans[0]), start(world, frames[0], schedule=NextToken(), keep=1)
    for i in range(2):
        np.testing.assert_array_equal(session.step(actions[i]), plain.step(actions[i]))
    with pytest.raises(SpecError, match="expected a schedule by name, which gives the steps of any number of frames"):
        start(world, frames[0], plan=plans[1])
    start(world, frames[:2], actions[:1], plan=plans[1]).step(actions[1])
