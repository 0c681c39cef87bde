"""`diagplan evaluate world`, on both backends."""

import json
import shutil
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("av")
pytest.importorskip("diffusers")

from diagplan import Diagonal, NextToken, Speculation  # noqa: E402
from diagplan.games.clips import read_clip, write_clip  # noqa: E402
from diagplan.planner.schedule import Schedule  # noqa: E402
from diagplan.study.world_report import read_windows, report_world  # noqa: E402
from diagplan.worlds import SHIPPED, World  # noqa: E402
from tests.support.cli import run  # noqa: E402
from tests.support.shallow import shallow_folder  # noqa: E402

CLIP = SHIPPED["crafter-mini"] / "clip.mp4"
MINI = SHIPPED["crafter-mini"]


def test_the_judge_gives_the_truth_full_marks(tmp_path: Path, world: World) -> None:
    clip = read_clip(CLIP)
    write_clip(tmp_path / "a.mp4", clip)
    windows = read_windows(world, [tmp_path / "a.mp4"], 4)
    ways: dict[str, Schedule] = {"next-token": NextToken(), "k=1": Diagonal(k=1)}
    report = report_world(world, windows, ways, map_rows=7, speculation=Speculation(window=54))
    exact = report.exact
    assert exact is not None
    assert (exact.same_as_ntp, exact.window, exact.draft) == (1, 54, "previous-frame")
    assert report.rollouts["exact"] == report.rollouts["next-token"] != report.rollouts["k=1"]
    assert report.windows == 1
    assert report.following["truth"] == 1
    assert report.passes == {"next-token": 756, "k=1": 140, "exact": exact.passes[0]}
    assert exact.passes[0] < 140
    assert report.repeat.tokens[0] < report.rollouts["k=1"].tokens[0] <= 1
    assert report.action_gap > 0
    code, out, _ = run(
        "evaluate", "world", "--model", shallow_folder(), "--clips", tmp_path, "--windows", 1, "--map-rows", 7,
        "-o", tmp_path / "r.json", "--speculate", 54, "--draft", "above",
    )  # fmt: skip
    assert code == 0
    assert "moves followed" in out
    told = json.loads((tmp_path / "r.json").read_text())
    assert list(told["rollouts"]) == ["next-token", "k=4", "k=2", "k=1", "k=2 d=14", "exact"]
    assert told["rollouts"]["exact"] == told["rollouts"]["next-token"]
    assert told["following"]["exact"] == told["following"]["next-token"]
    how = told["exact"]
    (passes,) = how["passes"]
    assert (how["window"], how["draft"], how["same_as_ntp"], told["passes"]["exact"]) == (54, "above", 1, passes)
    assert passes < told["passes"]["next-token"] == 756
    assert how["tokens_a_pass"] == pytest.approx(756 / passes)
    assert f"exact: {756 / passes:.1f} tokens a pass, window 54, first guesses: above, 100.0% of tokens as" in out


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (("--exact", "--speculate", 8), "expected --exact or --speculate, got both."),
        (("--draft", "left"), "expected --speculate with --draft, got --draft left alone."),
        (("--exact", "--speculation", "s.json"), "expected --speculation alone, got it with --exact"),
        (("--speculate", 8, "--draft", "zork"), "expected draft to be one of previous-frame, above, left"),
    ],
)
def test_speculation_that_cannot_be(more: tuple[object, ...], message: str, tmp_path: Path) -> None:
    code, _, err = run("evaluate", "world", "--clips", tmp_path, *more)
    assert (code, message in err) == (2, True), err


@pytest.mark.slow
def test_a_world_is_judged_alike(exported: Path, tmp_path: Path) -> None:
    shutil.copyfile(MINI / "clip.mp4", tmp_path / "a.mp4")
    shutil.copyfile(MINI / "clip.jsonl", tmp_path / "a.jsonl")
    said = []
    for options in (["--model", shallow_folder()], ["--backend", "onnx", "--model", exported]):
        code, out, err = run("evaluate", "world", "--clips", tmp_path, "--windows", 1, "--exact", *options, "--json")
        assert code == 0, out + err
        said.append(json.loads(out))
    one, two = said
    assert [report["exact"]["same_as_ntp"] for report in said] == [1, 1]
    assert two["loss"] == pytest.approx(one["loss"], abs=1e-5)
    assert two["action_gap"] == pytest.approx(one["action_gap"], abs=1e-3)
    assert {name: rows["tokens"] for name, rows in two["rollouts"].items()} == {
        name: rows["tokens"] for name, rows in one["rollouts"].items()
    }
