"""Frames and actions in, frames out: each frame as soon as it is known, in its turn."""

import re
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("av")
pytest.importorskip("diffusers")

from diagplan import Diagonal, NextToken, compile_plan, generate  # noqa: E402
from diagplan.backends.errors import MismatchError  # noqa: E402
from diagplan.evaluation.motion import MOVES, best_move, clear_moves  # noqa: E402
from diagplan.games.clips import read_clip  # noqa: E402
from diagplan.planner.errors import SpecError  # noqa: E402
from diagplan.planner.layout import Layout  # noqa: E402
from diagplan.planner.schedule import Imported  # noqa: E402
from diagplan.video.files import read_video  # noqa: E402
from diagplan.worlds import SHIPPED, World  # noqa: E402
from diagplan.worlds.generation import (  # noqa: E402
    compile_for,
    prompt_tokens,
    require_actions,
    require_frames,
    require_layout,
    roll_for,
)

CLIP = SHIPPED["crafter-mini"] / "clip.mp4"
ACTIONS = CLIP.with_suffix(".jsonl")


def test_the_world_moves_as_the_player_moved(world: World) -> None:
    clip = read_clip(CLIP)
    blocks = world.read_actions(ACTIONS)
    assert world.words is not None
    ids = world.words.ids
    swapped = blocks.copy()
    swapped[:, 1] = [ids[world.words.opposites[name]] for name in clip.actions]
    truth = prompt_tokens(world, clip.frames)[:, :7]
    moved = np.array(clip.moved)
    counts = clear_moves(truth[:-1], truth[1:], moved)
    assert counts.sum() >= 4
    for schedule in (NextToken(), Diagonal(k=2)):
        shares = []
        for played in (blocks, swapped):
            made = generate(compile_for(world, 7, schedule), world, clip.frames[:1], played)
            tokens = np.concatenate([prompt_tokens(world, clip.frames[:1]), made.tokens])[:, :7]
            best = np.array(list(MOVES.values()))[best_move(tokens[:-1], tokens[1:])]
            shares.append((best[counts] == moved[counts]).all(1).mean())
        assert shares[0] >= 0.8
        assert shares[1] <= 0.2  # with the opposite actions it moves the other way


def test_frames_come_out_as_they_are_finished(world: World) -> None:
    clip, seen = read_clip(CLIP), []
    plan = compile_for(world, 3, Diagonal(k=1, d=12))
    done = generate(
        plan, world, clip.frames[:1], world.read_actions(ACTIONS), on_frame=lambda i, frame: seen.append((i, frame))
    )
    assert [number for number, _ in seen] == [0, 1, 2]
    np.testing.assert_array_equal(np.stack([frame for _, frame in seen]), done.frames)
    again = world.tokenizer.decode(done.tokens)  # a convolution rounds otherwise where it has more frames at once
    np.testing.assert_allclose(again.astype(int), done.frames, atol=1)


def test_frames_of_an_imported_order_come_in_turn(world: World) -> None:
    """The second frame is complete first, and shown second."""
    layout = world.layout(2)
    turns = np.arange(layout.tokens).reshape(2, -1)[::-1].reshape(2, layout.rows, layout.cols)
    prompt = read_video(CLIP, limit=1)
    done = generate(compile_plan(layout, Imported(steps=turns)), world, prompt, world.read_actions(ACTIONS))
    np.testing.assert_array_equal(done.frames[0], world.tokenizer.decode(done.tokens[:1])[0])
    assert (done.frames[0] != done.frames[1]).any()


def test_the_former_order_is_taken_with_a_warning(world: World) -> None:
    plan = compile_for(world, 1, Diagonal(k=1))
    prompt, blocks = read_video(CLIP, limit=1), world.read_actions(ACTIONS)
    want = generate(plan, world, prompt, blocks, seed=3)
    former: Any = generate
    with pytest.warns(DeprecationWarning, match=re.escape("is now generate(plan, world, prompt, actions)")) as caught:
        got = former(world, prompt, blocks, plan, seed=3)
    assert caught[0].filename == __file__  # the line to change
    np.testing.assert_array_equal(got.tokens, want.tokens)
    np.testing.assert_array_equal(got.frames, want.frames)


def test_arguments_in_other_places(world: World) -> None:
    plan = compile_for(world, 1, Diagonal(k=1))
    prompt, blocks = read_video(CLIP, limit=1), world.read_actions(ACTIONS)
    anything: Any = generate
    for arguments, words in (
        ((world, plan, prompt, blocks), "expected plan to be a Plan or a Rollout, got plan=<FrameWorld>."),
        ((plan, prompt, world, blocks), "expected world to be a world model, got world=<ndarray>."),
        ((plan, world.model, prompt, blocks), "expected world to be a world model, got world=<McAr>."),
        (("plan.json", world, prompt, blocks), "expected plan to be a Plan or a Rollout, got plan='plan.json'."),
    ):
        with pytest.raises(SpecError, match=re.escape(words)):
            anything(*arguments)
    with pytest.raises(SpecError, match=re.escape("expected sampler to be Greedy() or Sample(...), got sampler='gre")):
        anything(plan, world, prompt, blocks, sampler="greedy")


def test_numbers_that_do_not_fit(world: World) -> None:
    plan = compile_for(world, 2, NextToken())
    prompt, blocks = read_video(CLIP, limit=2), world.read_actions(ACTIONS)
    with pytest.raises(MismatchError, match="expected 1 prompt frames, got 2"):
        generate(plan, world, prompt, blocks)
    with pytest.raises(MismatchError, match="expected 2 actions for 1 given and 2 generated frames, got 1"):
        generate(plan, world, prompt[:1], blocks[:1])
    with pytest.raises(MismatchError, match="expected a plan for crafter-mini's layout"):
        require_layout(world, compile_plan(Layout(frames=1, rows=4, cols=4, prompt_frames=1), NextToken()))
    with pytest.raises(SpecError, match=r"expected at least 3 frames, got 2 in clip.mp4"):
        require_frames(list(prompt), 3, "clip.mp4")
    assert require_actions(blocks, 1, 2).shape == (2, 3)


def test_a_rollout_keeps_what_it_is_told(world: World) -> None:
    rollout = roll_for(world, 9, Diagonal(k=2), keep=5)
    assert (rollout.frames, len(rollout.windows), rollout.plans[0].layout.prompt_frames) == (9, 2, 1)
    assert {plan.layout.frames + plan.layout.prompt_frames for plan in rollout.plans} <= set(range(2, 9))
