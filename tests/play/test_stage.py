"""One world for all: plans laid out once, and frames to start with."""

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("av")
pytest.importorskip("diffusers")
pytest.importorskip("safetensors")

from diagplan.planner.errors import DiagplanError, DocumentError, SpecError
from diagplan.play.stage import Stage, start_frames
from diagplan.video.files import read_video
from diagplan.worlds.frame_world import FrameWorld
from diagplan.worlds.loading import SHIPPED, load_world
from tests.support.small_world import small_world
from tests.support.stage import small_stage


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Stage:
    return small_stage(tmp_path_factory.mktemp("stage"))


def test_plans_are_laid_out_once(stage: Stage) -> None:
    root = stage.root("k=2")
    assert stage.root("k=2") is root
    one, other = stage.begin("k=2"), stage.begin("k=2")
    assert one.plan is other.plan is root.plan
    went = stage.switch(one, "k=1")
    np.testing.assert_array_equal(went.frame, one.frame)
    with pytest.raises(SpecError, match="expected a plan of k=1, k=2, exact, next-token, got another one"):
        stage.root("../../etc/passwd")


def test_a_window_keeps_what_its_release_has_or_a_quarter(stage: Stage) -> None:
    world = stage.world
    assert isinstance(world, FrameWorld)
    assert stage.root("k=2").plan.layout.prompt_frames == world.keeps == world.context_frames - 1
    other = Stage(world=replace(world, keeps=None, context_frames=4), choices=stage.choices, first=stage.first)
    assert other.root("k=2").plan.layout.prompt_frames == 1
    other = Stage(world=replace(world, keeps=None), choices=stage.choices, first=stage.first, keep=2)
    assert other.root("k=2").plan.layout.prompt_frames == 2


def test_a_world_without_controls(stage: Stage) -> None:
    quiet = Stage(world=small_world(), choices={}, first=stage.first)
    with pytest.raises(SpecError, match="expected a world that is played with keys, got small"):
        _ = quiet.controls


def test_frames_to_start_with(tmp_path: Path) -> None:
    world = load_world("crafter-mini", lazy=True)
    clip = SHIPPED["crafter-mini"] / "clip.mp4"
    frames = read_video(clip, limit=4)
    np.testing.assert_array_equal(start_frames(world, "crafter-mini", None, None, 0)(), frames[0])
    np.testing.assert_array_equal(start_frames(world, "crafter-mini", None, 2, 0)(), frames[2])
    np.testing.assert_array_equal(start_frames(world, "mine", clip, 3, 0)(), frames[3])
    shutil.copy(clip, tmp_path / "a.mp4")
    drawn = start_frames(world, "mine", tmp_path, None, 1)
    assert 1 < len({drawn().tobytes() for _ in range(40)}) <= 8
    (tmp_path / "a.mp4").unlink()  # it was read
    drawn()
    shutil.copy(clip, tmp_path / "a.mp4")
    with pytest.raises(SpecError, match=r"expected a frame from 0 to \d+ of .*clip.mp4, got at=999"):
        start_frames(world, "crafter-mini", clip, 999, 0)
    with pytest.raises(SpecError, match="expected frames to start mine with, got none"):
        start_frames(world, "mine", None, None, 0)
    (tmp_path / "empty").mkdir()
    with pytest.raises(DocumentError, match="expected videos in"):
        start_frames(world, "mine", tmp_path / "empty", None, 0)
    with pytest.raises(DiagplanError, match="missing"):
        start_frames(world, "mine", tmp_path / "missing.mp4", None, 0)
