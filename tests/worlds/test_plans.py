"""From what is asked of a world to its plan."""

from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("av")
pytest.importorskip("diffusers")

from diagplan import BUNDLES, Diagonal, NextToken, Rollout, ZipAR, bundle_schedule, compile_plan, write_plan  # noqa: E402
from diagplan.backends.errors import MismatchError  # noqa: E402
from diagplan.planner.errors import SpecError  # noqa: E402
from diagplan.planner.layout import Layout  # noqa: E402
from diagplan.planner.schedule import Schedule  # noqa: E402
from diagplan.worlds import World, load_world  # noqa: E402
from diagplan.worlds.generation import compile_for, roll_for  # noqa: E402
from diagplan.worlds.plans import plan_for, read_plan_for  # noqa: E402
from tests.support.cosmos_world import cosmos_world, write_cosmos_world  # noqa: E402

BLOCKS = np.tile([[256, 258, 257]], (11, 1))


@pytest.fixture(scope="module")
def lazy() -> World:
    return load_world("crafter-mini", lazy=True)


def test_as_many_frames_as_context_and_actions_allow(lazy: World) -> None:
    assert plan_for(lazy, BLOCKS) == compile_for(lazy, 7, NextToken())
    assert plan_for(lazy, BLOCKS[:3]) == compile_for(lazy, 3, NextToken())
    assert plan_for(lazy, BLOCKS, prompt_frames=6) == compile_for(lazy, 2, NextToken(), prompt_frames=6)
    assert plan_for(lazy, BLOCKS, frames=2) == compile_for(lazy, 2, NextToken())


def test_schedules_and_policies(lazy: World) -> None:
    policies = BUNDLES["mineworld-image"]
    made = plan_for(lazy, BLOCKS, frames=2, schedule=Diagonal(k=2, d=5), policies=policies)
    assert made == compile_for(lazy, 2, Diagonal(k=2, d=5), policies=policies)
    asked: list[Layout] = []

    def timing(layout: Layout) -> Schedule:
        asked.append(layout)
        return bundle_schedule("mineworld-video", layout, 2)

    made = plan_for(lazy, BLOCKS, frames=2, schedule=timing)
    assert asked == [lazy.layout(2, 1)]
    assert made == compile_for(lazy, 2, Diagonal(k=2, d=18))
    assert plan_for(lazy, BLOCKS, frames=1, schedule=ZipAR(window=3)) == compile_for(lazy, 1, ZipAR(window=3))


def test_a_window_slides_beyond_the_context(lazy: World) -> None:
    asked: list[Layout] = []

    def timing(layout: Layout) -> Schedule:
        asked.append(layout)
        return Diagonal(k=2)

    made = plan_for(lazy, BLOCKS, keep=5, schedule=timing)
    assert isinstance(made, Rollout)
    assert made == roll_for(lazy, 11, Diagonal(k=2), keep=5)
    assert asked == [lazy.window(5)]
    policies = BUNDLES["mineworld-image"]
    other = plan_for(lazy, BLOCKS, keep=5, schedule=timing, policies=policies, prompt_frames=2, frames=9)
    assert other == roll_for(lazy, 9, Diagonal(k=2), keep=5, prompt_frames=2, policies=policies) != made
    assert plan_for(lazy, BLOCKS, keep=5, frames=7) == compile_for(lazy, 7, NextToken())  # nothing slides yet


def test_a_world_without_actions_makes_its_clip(tmp_path: Path) -> None:
    world = cosmos_world(write_cosmos_world(tmp_path), lazy=True)
    assert plan_for(world) == compile_plan(world.config.layout(2), NextToken())
    assert plan_for(world, prompt_frames=1) == compile_plan(world.config.layout(1), NextToken())
    with pytest.raises(SpecError, match=r"a context of 33 frames. Give fewer prompt frames\."):
        plan_for(world, prompt_frames=33)


def test_what_does_not_fit(lazy: World) -> None:
    with pytest.raises(SpecError, match=r"at most 8 frames, prompt included, got 1 \+ 8"):
        plan_for(lazy, BLOCKS, frames=8)
    with pytest.raises(MismatchError, match="expected 4 actions for 1 given and 4 generated frames, got 3"):
        plan_for(lazy, BLOCKS[:3], frames=4)
    with pytest.raises(SpecError, match=r"after 8 prompt frames, got 11 actions.*or fewer prompt frames\."):
        plan_for(lazy, BLOCKS, prompt_frames=8)
    with pytest.raises(SpecError, match="expected to keep 1 to 7 of 8 frames, got keep=9"):
        plan_for(lazy, BLOCKS, keep=9)
    with pytest.raises(SpecError, match="got 0 actions"):
        plan_for(lazy, BLOCKS[:0])


def test_a_plan_of_a_file(lazy: World, tmp_path: Path) -> None:
    path = tmp_path / "plan.json"
    plan = compile_for(lazy, 3, Diagonal(k=2))
    write_plan(plan, path)
    assert read_plan_for(lazy, BLOCKS, path) == plan
    with pytest.raises(MismatchError, match="expected 3 actions"):
        read_plan_for(lazy, BLOCKS[:2], path)
    write_plan(compile_plan(Layout(frames=1, rows=4, cols=4, prompt_frames=1), NextToken()), path)
    with pytest.raises(MismatchError, match="expected a plan for crafter-mini's layout"):
        read_plan_for(lazy, BLOCKS, path)
