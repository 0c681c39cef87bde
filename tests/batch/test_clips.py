"""What a worker does with jobs: the clips that `generate` makes, whatever they are batched with; and wrong ones."""

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("av")
pytest.importorskip("diffusers")

from diagplan import Diagonal, NumericError, Plan, Sample
from diagplan.batch import layouts as layouts_module
from diagplan.batch.clips import ClipWork
from diagplan.batch.jobs import Job, job_from
from diagplan.batch.messages import Outcome
from diagplan.batch.recipe import Recipe
from diagplan.batch.records import place_of, read_record
from diagplan.planner.errors import DocumentError
from diagplan.video.files import read_video
from diagplan.worlds import SHIPPED, World
from diagplan.worlds.generation import generate
from diagplan.worlds.plans import plan_for
from tests.support.batch import outputs

CLIP = SHIPPED["crafter-mini"] / "clip.mp4"
ACTIONS = CLIP.with_suffix(".jsonl")
RECIPE = Recipe(schedule=Diagonal(k=1), frames=1, sampling={"temperature": 1.5}, batch=3)


def jobs(*entries: dict[str, Any], folder: Path = CLIP.parent) -> list[Job]:
    made = []
    for number, entry in enumerate(entries, 1):
        job = job_from({"id": f"j{number}", "video": CLIP.name, "actions": ACTIONS.name} | entry, number, folder)
        assert isinstance(job, Job), job
        made.append(job)
    return made


def states(outcomes: list[Outcome]) -> dict[str, str]:
    return {one.id: one.state for one in outcomes}


def test_a_clip_has_the_tokens_that_generate_gives_it_in_any_batch(world: World, tmp_path: Path) -> None:
    work = ClipWork(world, RECIPE, tmp_path)
    todo = jobs({"seed": 3}, {"seed": 4, "frames": 2}, {}, {"seed": 5})
    outcomes = work.do(todo)
    assert states(outcomes) == dict.fromkeys(("j1", "j2", "j3", "j4"), "done")
    frames, blocks = read_video(CLIP, limit=1), world.read_actions(ACTIONS)
    for outcome in outcomes:
        record = read_record(tmp_path, outcome.id)
        assert record is not None
        plan = plan_for(world, blocks, frames=outcome.frames, schedule=Diagonal(k=1))
        assert isinstance(plan, Plan)
        want = generate(plan, world, frames, blocks, sampler=Sample(temperature=1.5), seed=record["seed"])
        np.testing.assert_array_equal(np.load(place_of(tmp_path, outcome.id, ".npy")), want.tokens)
        assert read_video(place_of(tmp_path, outcome.id, ".mp4")).shape == (1 + outcome.frames, 144, 192, 3)
        assert (outcome.tokens, record["steps"]) == (want.tokens.size, plan.steps)
    assert len(work.layouts._ready) == 2
    alone = ClipWork(world, replace(RECIPE, batch=1), tmp_path / "alone")
    for job in todo[::-1]:
        alone.do([job])
    assert outputs(tmp_path) | outputs(tmp_path / "alone") == outputs(tmp_path)


def test_finished_clips_are_left_alone_and_others_made_anew(world: World, tmp_path: Path) -> None:
    for name in ("a", "b"):
        shutil.copy(CLIP, tmp_path / f"{name}.mp4")
        shutil.copy(ACTIONS, tmp_path / f"{name}.jsonl")
    work = ClipWork(world, replace(RECIPE, pictures=False), tmp_path)
    todo = jobs({"video": "a.mp4", "actions": "a.jsonl"}, {"video": "b.mp4", "actions": "b.jsonl"}, folder=tmp_path)
    assert states(work.do(todo)) == {"j1": "done", "j2": "done"}
    before = outputs(tmp_path)
    assert {name.partition(".")[2] for name in before} == {"npy", "json"}
    assert states(work.do(todo)) == {"j1": "there", "j2": "there"}
    place_of(tmp_path, "j1", ".npy").write_bytes(b"damaged")
    assert states(work.do(todo)) == {"j1": "done", "j2": "there"}
    assert outputs(tmp_path) == before
    lines = [json.loads(line) for line in (tmp_path / "b.jsonl").read_text().splitlines()]
    (tmp_path / "b.jsonl").write_text("".join(json.dumps(line | {"action": "noop"}) + "\n" for line in lines))
    assert states(work.do(todo)) == {"j1": "there", "j2": "done"}
    assert outputs(tmp_path)["j2.json"] != before["j2.json"]


def test_wrong_clips_harm_no_other(world: World, tmp_path: Path) -> None:
    (tmp_path / "no.mp4").write_bytes(b"no video")
    (tmp_path / "no.jsonl").write_text('{"action": "fly"}\n')
    np.save(tmp_path / "tokens.npy", np.full((1, 9, 12), 1 << 20))
    wrong = (
        {"video": str(tmp_path / "no.mp4")}, {"video": "none.mp4"}, {"actions": str(tmp_path / "no.jsonl")},
        {"actions": None}, {"frames": 40}, {"text": "a cat"}, {"video": None, "tokens": str(tmp_path / "tokens.npy")},
    )  # fmt: skip
    work = ClipWork(world, RECIPE, tmp_path / "out")
    outcomes = {one.id: one for one in work.do(jobs({}, *wrong, {"seed": 9}))}
    assert [outcomes[f"j{i}"].state for i in range(1, 10)] == ["done", *["wrong"] * 7, "done"]
    assert all(outcomes[f"j{i}"].message for i in range(2, 9))
    assert sorted(outputs(tmp_path / "out")) == [f"{j}.{e}" for j in ("j1", "j9") for e in ("json", "mp4", "npy")]


def test_a_second_clip_of_a_name_is_refused(world: World, tmp_path: Path) -> None:
    work = ClipWork(world, replace(RECIPE, pictures=False), tmp_path)
    first, other = jobs({"id": "same"}, {"id": "same", "seed": 8})
    assert states(work.do([first])) == {"same": "done"}
    (outcome,) = work.do([other])
    assert "whose clip is there from line 1 and of other inputs" in outcome.message
    assert states(work.do([replace(first, number=7)])) == {"same": "there"}  # the line has moved


def test_tokens_may_stand_for_the_video(world: World, tmp_path: Path) -> None:
    np.save(tmp_path / "prompt.npy", world.encode(read_video(CLIP, limit=1)))
    work = ClipWork(world, RECIPE, tmp_path)
    work.do(jobs({"seed": 1}, {"seed": 1, "video": None, "tokens": str(tmp_path / "prompt.npy")}))
    made = outputs(tmp_path)
    assert made["j1.npy"] == made["j2.npy"]
    assert len(read_video(place_of(tmp_path, "j2", ".mp4"))) == 2


def test_a_clip_whose_logits_are_not_finite_is_found(world: World, tmp_path: Path, monkeypatch: Any) -> None:
    work = ClipWork(world, replace(RECIPE, pictures=False), tmp_path)
    replay = layouts_module.Layouts.replay

    def failing(self: Any, planned: Any, model: Any, prompts: Any, blocks: Any, seeds: Any) -> Any:
        if 66 in seeds:
            raise NumericError("expected finite logits, got NaN.")
        return replay(self, planned, model, prompts, blocks, seeds)

    monkeypatch.setattr(layouts_module.Layouts, "replay", failing)
    assert states(work.do(jobs({}, {"seed": 66}, {}))) == {"j1": "done", "j2": "wrong", "j3": "done"}


def test_a_disk_that_is_full_is_no_fault_of_a_clip(world: World, tmp_path: Path) -> None:
    (tmp_path / "clips").touch()
    with pytest.raises(DocumentError, match="cannot make the folder"):
        ClipWork(world, RECIPE, tmp_path).do(jobs({}))
