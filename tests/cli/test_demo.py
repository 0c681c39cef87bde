"""`diagplan demo`."""

import json
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("av")
pytest.importorskip("diffusers")

from diagplan.video.files import read_video  # noqa: E402
from diagplan.worlds import SHIPPED  # noqa: E402
from tests.support.cli import run  # noqa: E402

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
    assert said["threads"] == torch.get_num_threads()
    names = {"side-by-side.mp4", "side-by-side.gif", "sheet.png", "table.json", "plan.json", "plan.png"}
    assert {path.name for path in (tmp_path / "demo").iterdir()} == names
    assert len(read_video(tmp_path / "demo" / "side-by-side.mp4")) == 10
