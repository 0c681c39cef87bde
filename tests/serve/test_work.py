"""What a worker of a service makes: the files of a batch, and every frame as it comes."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("av")
pytest.importorskip("diffusers")

from PIL import Image

from diagplan import Diagonal
from diagplan.batch.clips import ClipWork
from diagplan.batch.jobs import Job, job_from
from diagplan.batch.messages import TellingWork, Told
from diagplan.batch.recipe import Recipe
from diagplan.batch.records import place_of
from diagplan.serve.places import frame_place
from diagplan.serve.work import ServedClips
from diagplan.video.files import read_video
from diagplan.worlds import SHIPPED, World
from tests.support.batch import outputs

CLIP = SHIPPED["crafter-mini"] / "clip.mp4"
RECIPE = Recipe(schedule=Diagonal(k=1), frames=2, sampling={"temperature": 1.5}, batch=2)


def jobs(*seeds: int) -> list[Job]:
    entry = {"video": CLIP.name, "actions": CLIP.with_suffix(".jsonl").name}
    held = [job_from({**entry, "id": f"j{seed}", "seed": seed}, seed, CLIP.parent) for seed in seeds]
    return [job for job in held if isinstance(job, Job)]


@pytest.mark.parametrize("more", [{}, {"schedule": None, "speculation": "auto", "sampling": None}])
def test_the_files_of_a_batch_and_every_frame(world: World, tmp_path: Path, more: Any) -> None:
    recipe, told = replace(RECIPE, **more), list[Told]()
    work = ServedClips(world, recipe, tmp_path / "served")
    assert isinstance(work, TellingWork)
    work.tell_by(told.append)
    assert {one.state for one in work.do(jobs(1, 2, 3))} == {"done"}
    ClipWork(world, recipe, tmp_path / "batch").do(jobs(1, 2, 3))
    assert outputs(tmp_path / "served") == outputs(tmp_path / "batch")
    of_first = [one for one in told if one.id == "j1"]
    assert [one.frames for one in of_first] == sorted(one.frames for one in of_first)
    assert of_first[-1].frames == 2
    assert {one.of for one in told} == ({0} if recipe.speculation else {of_first[-1].of})
    assert of_first[-1].passes <= (of_first[-1].of or 1000)
    pictures = [np.asarray(Image.open(frame_place(work.out, "j1", number))) for number in (1, 2)]
    video = read_video(place_of(work.out, "j1", ".mp4"))
    assert len(video) == 3
    for picture, shown in zip(pictures, video[1:], strict=True):  # the video is compressed
        assert np.abs(picture.astype(int) - shown).mean() < 6


def test_tokens_alone_have_no_frames(world: World, tmp_path: Path) -> None:
    work, told = ServedClips(world, replace(RECIPE, frames=1, pictures=False), tmp_path), list[Told]()
    work.tell_by(told.append)
    work.do(jobs(1))
    assert {one.frames for one in told} == {0}
    assert not (tmp_path / "frames").exists()


def test_a_listener_that_is_gone_ends_the_work(world: World, tmp_path: Path) -> None:
    def gone(told: Told) -> None:
        raise BrokenPipeError

    work = ServedClips(world, RECIPE, tmp_path)
    work.tell_by(gone)
    with pytest.raises(BrokenPipeError):
        work.do(jobs(1))
