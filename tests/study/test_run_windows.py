"""`diagplan evaluate study` beyond the context: a window slides over pieces of 16 frames."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("av")
pytest.importorskip("diffusers")
pytest.importorskip("matplotlib")

from diagplan import Diagonal, NextToken
from diagplan.evaluation.clips import rule_for
from diagplan.planner.rollout import rollout_cost
from diagplan.schemas.convert import plan_digest
from diagplan.study.judge import generated_loss, rolled_loss
from diagplan.study.material import Material, read_material
from diagplan.video.files import VideoWriter, read_video
from diagplan.worlds import World, load_world
from tests.support.cli import run
from tests.support.clips import CLIP
from tests.support.shallow import shallow_folder


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bundled clip twice in a row, under two names."""
    folder = tmp_path_factory.mktemp("clips")
    frames = read_video(CLIP)
    lines = CLIP.with_suffix(".jsonl").read_text().splitlines()[: len(frames) - 1]
    for name in ("a", "b"):
        with VideoWriter(folder / f"{name}.mp4", fps=6) as writer:
            for frame in (*frames, *frames):
                writer.add(frame)
        (folder / f"{name}.jsonl").write_text("\n".join([*lines, lines[0], *lines]))
    return folder


@pytest.fixture(scope="module")
def longer(world: World, clips: Path) -> Material:
    return read_material(world, clips, rule_for("vpt", context=8, count=2, slides=True), seed=0, keep=4)


def test_a_window_that_need_not_slide_is_the_whole_piece(world: World, clips: Path) -> None:
    material = read_material(world, clips, rule_for("context", context=8, count=1), seed=0)
    rolled = replace(material, window=world.window(4))
    for schedule in (NextToken(), Diagonal(k=2)):
        one, other = (each.rollout(schedule) for each in (material, rolled))
        assert one.windows == other.windows
        assert [plan_digest(plan) for plan in one.plans] == [plan_digest(plan) for plan in other.plans]
    parts = (material.tokens[:, :1], material.actions, material.tokens[:, 1:])
    np.testing.assert_array_equal(
        rolled_loss(world.model, rolled.rollout(NextToken()), *parts),
        generated_loss(world.model, material.layout, *parts),
    )


def test_the_judge_sees_what_a_window_keeps(world: World, longer: Material) -> None:
    tokens, actions = longer.tokens, longer.actions
    rollout = longer.rollout(Diagonal(k=1))
    assert [(w.first, w.kept, w.frames) for w in rollout.windows] == [(0, 1, 7), (4, 4, 4), (8, 4, 4)]
    loss = rolled_loss(world.model, rollout, tokens[:, :1], actions, tokens[:, 1:])
    assert loss.shape == (2, 15)
    alone = generated_loss(world.model, world.layout(4, 4), tokens[:, 8:12], actions[:, 8:15], tokens[:, 12:])
    np.testing.assert_array_equal(loss[:, 11:], alone)


@pytest.mark.slow
def test_a_window_slides(tmp_path: Path, clips: Path) -> None:
    usual: list[object] = [
        "evaluate",
        "study",
        "--clips",
        clips,
        "-o",
        tmp_path,
        "--count",
        1,
        "--repeats",
        1,
        "--model",
        shallow_folder(),
    ]
    usual += ["--rule", "vpt", "--only", "base/k=1", "--samples", 0, "--json"]
    code, out, err = run(*usual, "--keep", 4)
    assert (code, err) == (0, ""), out
    cost = rollout_cost(load_world(str(shallow_folder())).window(4), Diagonal(k=1), frames=15, prompt_frames=1)
    assert {row["id"]: row["step"] for row in json.loads(out)["rows"]} == {
        "base/ntp": 15 * 108,
        "base/k=1": cost.passes,
    }
    said = json.loads((tmp_path / "results.json").read_text())
    assert said["rollouts"]["base/k=1"] == {"windows": 3, "prefill_tokens": cost.prefill_tokens}
    assert len(said["horizons"]["base/k=1"]["loss"]) == 15
    kept = json.loads((tmp_path / "conditions" / "base" / "k=1.json").read_text())
    assert kept["bound"]["keep"] == 4
    code, out, _ = run(*usual, "--keep", 5)
    assert (code, "with other keep" in json.loads(out)["error"]) == (1, True)


def test_clips_with_too_few_actions(tmp_path: Path, clips: Path) -> None:
    (tmp_path / "a.mp4").write_bytes((clips / "a.mp4").read_bytes())
    (tmp_path / "a.jsonl").write_text("\n".join((clips / "a.jsonl").read_text().splitlines()[:9]))
    out = tmp_path / "out"
    code, _, err = run("evaluate", "study", "--clips", tmp_path, "-o", out, "--rule", "vpt", "--keep", 4)
    assert (code, err.count("\n"), out.exists()) == (1, 1, False)
    assert "expected 15 actions or more" in err
