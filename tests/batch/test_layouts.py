"""Plans of a worker: compiled and laid out once, replayed with seeds and samples in any batch."""

import re
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("diffusers")

from diagplan import CapacityError, Diagonal, Layout, MismatchError, Sample, SpecError, compile_plan, write_plan
from diagplan.backends import replay as executor
from diagplan.backends.rolling import roll
from diagplan.batch import layouts as module
from diagplan.batch.layouts import Layouts
from diagplan.batch.recipe import Recipe
from diagplan.planner.rollout import Rollout
from diagplan.planner.speculation import Speculation
from diagplan.video.files import read_video
from diagplan.worlds import SHIPPED, World
from diagplan.worlds.generation import compile_for

CLIP = SHIPPED["crafter-mini"] / "clip.mp4"
RECIPE = Recipe(schedule=Diagonal(k=1), frames=1, sampling={"temperature": 1.5}, batch=2)


def inputs(world: World, frames: int = 1) -> tuple[Any, Any]:
    """Prompts and actions of two clips."""
    prompts = world.encode(read_video(CLIP, limit=2))[:, None]
    blocks = world.read_actions(CLIP.with_suffix(".jsonl"))
    return prompts, np.stack([blocks[:frames], blocks[1 : 1 + frames]])


def test_a_plan_is_laid_out_once(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    verified: list[int] = []

    def prepared(*arguments: Any, **options: Any) -> Any:
        verified.append(1)
        return executor.prepare(*arguments, **options)

    monkeypatch.setattr(module, "executor", SimpleNamespace(**vars(executor) | {"prepare": prepared}))
    layouts = Layouts(world, world.model, RECIPE)
    prompts, blocks = inputs(world)
    planned = layouts.planned(blocks[0], None)
    assert planned is layouts.planned(blocks[1], None)
    both, passes = layouts.replay(planned, world.model, prompts, blocks, [3, 4])
    assert passes == planned.steps
    swapped, _ = layouts.replay(planned, world.model, prompts[::-1], blocks[::-1], [4, 3])
    np.testing.assert_array_equal(both, swapped[::-1])
    assert len(verified) == 1
    same, _ = layouts.replay(planned, world.model, prompts, blocks, [4, 4])
    assert (same[0] != both[0]).any()
    np.testing.assert_array_equal(same[1], both[1])


def test_speculation_gives_the_same(world: World) -> None:
    prompts, blocks = inputs(world)
    made = []
    for speculation in (None, Speculation(window=16)):
        layouts = Layouts(world, world.model, replace(RECIPE, speculation=speculation))
        planned = layouts.planned(blocks[0], None)
        replays = [layouts.replay(planned, world.model, prompts, blocks, seeds) for seeds in ([3, 4], [5, 3])]
        made += [(*one, planned.steps) for one in replays]
    for step_by_step, speculated in zip(made[:2], made[2:], strict=True):
        np.testing.assert_array_equal(step_by_step[0], speculated[0])
        assert speculated[1] < step_by_step[1] == step_by_step[2]


def test_clips_beyond_the_context_slide(world: World) -> None:
    layouts = Layouts(world, world.model, replace(RECIPE, keep=7, frames=8))
    prompts, _ = inputs(world)
    blocks = np.repeat(world.read_actions(CLIP.with_suffix(".jsonl"))[:1], 8, axis=0)
    planned = layouts.planned(blocks, None)
    assert isinstance(planned.plan, Rollout)
    assert planned.digest.startswith("sha256:")
    tokens, passes = layouts.replay(planned, world.model, prompts, np.stack([blocks, blocks]), [1, 2])
    want = roll(planned.plan, world.model, prompts[1], blocks, sampler=Sample(temperature=1.5), seed=2).tokens[0]
    np.testing.assert_array_equal(tokens[1], want)
    assert passes == planned.steps


def test_a_plan_file(world: World, tmp_path: Path) -> None:
    write_plan(compile_for(world, 2, Diagonal(k=2)), tmp_path / "plan.json")
    layouts = Layouts(world, world.model, Recipe(plan=tmp_path / "plan.json"))
    _, blocks = inputs(world, 2)
    assert layouts.planned(blocks[0], None).frames == 2
    with pytest.raises(MismatchError, match="expected 2 actions"):
        layouts.planned(blocks[0][:1], None)
    write_plan(compile_plan(Layout(frames=1, rows=2, cols=2, prompt_frames=1), Diagonal(k=1)), tmp_path / "plan.json")
    with pytest.raises(MismatchError, match="expected a plan for crafter-mini's layout"):
        Layouts(world, world.model, Recipe(plan=tmp_path / "plan.json"))


def test_what_no_clip_can_follow_is_said_at_once(world: World) -> None:
    with pytest.raises(SpecError, match="expected at most"):
        Layouts(world, world.model, Recipe(frames=1000))
    with pytest.raises(SpecError, match="expected temperature"):
        Layouts(world, world.model, Recipe(sampling={"temperature": -1.0}))


def test_a_batch_that_does_not_fit(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    layouts = Layouts(world, world.model, RECIPE)
    prompts, blocks = inputs(world)
    monkeypatch.setattr(module, "free_memory", lambda _: 1 << 20)
    with pytest.raises(CapacityError, match=re.escape("for batch=2, got 1 MiB free. Take a smaller batch")):
        layouts.replay(layouts.planned(blocks[0], None), world.model, prompts, blocks, [1, 2])
