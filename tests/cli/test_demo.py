"""`diagplan demo`."""

import json
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("av")
pytest.importorskip("diffusers")

from diagplan import Speculation, write_speculation  # noqa: E402
from diagplan.video.files import read_video  # noqa: E402
from diagplan.worlds import SHIPPED  # noqa: E402
from tests.support.cli import run  # noqa: E402
from tests.support.shallow import shallow_folder  # noqa: E402

CLIP = SHIPPED["crafter-mini"] / "clip.mp4"
ACTIONS = CLIP.with_suffix(".jsonl")


def test_the_demonstration(tmp_path: Path) -> None:
    code, out, err = run("demo", "-o", tmp_path / "demo", "--repeats", 1, "--json")
    assert (code, err) == (0, "")
    said = json.loads(out)
    assert [row["plan"] for row in said["plans"]] == ["next-token", "exact", "k=4", "k=2", "k=1", "k=2 d=14"]
    passes = [row["passes"] for row in said["plans"]]
    assert [passes[0], *passes[2:]] == [756, 308, 196, 140, 112]
    assert passes[1] < 112
    assert [row["same_as_ntp"] for row in said["plans"][:2]] == [1, 1]
    assert (said["exact"]["draft"], said["exact"]["window"] % 8) == ("previous-frame", 0)
    assert said["plans"][1]["tokens_a_pass"] == pytest.approx(756 / passes[1])
    assert said["threads"] == torch.get_num_threads()
    names = {"side-by-side.mp4", "side-by-side.gif", "sheet.png", "table.json", "plan.json", "plan.png"}
    assert {path.name for path in (tmp_path / "demo").iterdir()} == names
    assert len(read_video(tmp_path / "demo" / "side-by-side.mp4")) == 10


@pytest.mark.slow
def test_window_and_first_guesses_are_those_asked_for(tmp_path: Path) -> None:
    common = ("demo", "-o", tmp_path / "demo", "--model", shallow_folder(), "--repeats", 1)
    code, out, err = run(*common, "--speculate", 756, "--draft", "left", "--json")
    assert (code, err) == (0, "")
    said = json.loads(out)
    assert said["exact"] == {"window": 756, "draft": "left"}
    row = said["plans"][1]
    assert (row["plan"], row["same_as_ntp"]) == ("exact", 1)
    write_speculation(Speculation(window=756, draft="left"), tmp_path / "s.json")
    code, out, _ = run(*common, "--speculation", tmp_path / "s.json")
    assert code == 0
    assert f"exact: {row['tokens_a_pass']:.1f} tokens a pass, window 756, first guesses: left" in out


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (("--draft", "left"), "expected --speculate with --draft, got --draft left alone."),
        (("--speculate", 8, "--draft", "zork"), "expected draft to be one of previous-frame, above, left"),
        (("--speculate", 8, "--speculation", "s.json"), "expected --speculation alone"),
    ],
)
def test_speculation_that_cannot_be(more: tuple[object, ...], message: str, tmp_path: Path) -> None:
    code, _, err = run("demo", "-o", tmp_path / "demo", *more)
    assert (code, message in err) == (2, True), err
    assert not any(tmp_path.iterdir())
