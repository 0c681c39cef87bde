"""`diagplan evaluate study` on small Cosmos and WHAM models, whose files are named one by one."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("av")
pytest.importorskip("diffusers")
pytest.importorskip("matplotlib")
pytest.importorskip("skimage")

from diagplan.video.files import VideoWriter, read_video
from tests.support.cli import run, run_json
from tests.support.cosmos_world import write_cosmos_world
from tests.support.wham_world import SIZE, write_wham_world


def write_videos(folder: Path, frames: int, size: tuple[int, int], fps: int) -> Path:
    """Two videos of plain squares."""
    folder.mkdir()
    random = np.random.default_rng(0)
    for name in ("a", "b"):
        with VideoWriter(folder / f"{name}.mp4", fps=fps) as writer:
            for _ in range(frames):
                squares = random.integers(0, 256, (size[0] // 2, size[1] // 2, 3)).astype(np.uint8)
                writer.add(squares.repeat(2, 0).repeat(2, 1))
    return folder


def study(out: Path, clips: Path, *options: object) -> tuple[dict[str, Any], dict[str, Any]]:
    """Next-token prediction and k = 2: what the command says, and the rows by id."""
    usual = ("evaluate", "study", "--clips", clips, "-o", out, "--count", 2, "--repeats", 1, "--only", "base/k=2")
    said = run_json(*usual, *options)
    return said, {row["id"]: row for row in said["rows"]}


@pytest.fixture(scope="module")
def cosmos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = write_cosmos_world(tmp_path_factory.mktemp("cosmos"))
    write_videos(place / "clips", 34, (48, 64), 25)
    return place


@pytest.mark.parametrize(("model", "rule", "given"), [("base", "context", 1), ("text", "realestate10k", 2)])
def test_cosmos(model: str, rule: str, given: int, cosmos: Path, tmp_path: Path) -> None:
    files: list[object] = ["--weights", cosmos / f"{model}.safetensors", "--config", cosmos / f"{model}.json"]
    files += ["--model", "cosmos", "--tokenizer", cosmos / "tokenizer", "--rule", rule]
    files += ["--context", cosmos / "text.npy"] if model == "text" else []
    out = tmp_path / "out"
    said, rows = study(out, cosmos / "clips", *files, "--samples", 1)
    assert (said["clips"], said["run_now"]) == (2, 2)
    assert rows["base/ntp"]["step"] == (5 - given) * 12
    assert rows["base/k=2"]["step"] < rows["base/ntp"]["step"]
    assert rows["base/ntp"]["figures"]["equal_ntp"]["mean"] == 1
    assert rows["base/ntp"]["figures"]["loss"]["mean"] > 0
    assert rows["base/ntp"]["figures"]["followed"]["mean"] is None
    kept = json.loads((out / "conditions" / "base" / "k=2.json").read_text())
    # Figures by frame of tokens; the frames that are counted are those of pixels.
    assert np.shape(kept["curves"]["loss"]) == np.shape(kept["curves"]["error"]) == (2, 5 - given)
    assert kept["plan"]["frames"] == 8 * (5 - given)
    assert kept["single"] == {}
    assert len(read_video(out / "samples" / "clip-000.mp4")) == 8 * (5 - given) + 1
    again, _ = study(out, cosmos / "clips", *files, "--samples", 0)
    assert (again["done_before"], again["run_now"]) == (2, 0)


def test_wham(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    checkpoint, _ = write_wham_world(tmp_path, monkeypatch)
    clips = write_videos(tmp_path / "clips", 9, SIZE, 10)
    random = np.random.default_rng(1)
    for name in ("a", "b"):
        lines = [
            {"buttons": random.integers(0, 2, 12).tolist(), "sticks": random.uniform(-1, 1, 4).tolist()}
            for _ in range(8)
        ]
        (clips / f"{name}.jsonl").write_text("\n".join(json.dumps(line) for line in lines))
    out = tmp_path / "out"
    said, rows = study(out, clips, "--model", "wham", "--weights", checkpoint, "--samples", 1)
    assert (said["clips"], rows["base/ntp"]["step"]) == (2, 3 * 12)
    assert rows["base/k=2"]["step"] < 36
    assert rows["base/ntp"]["figures"]["equal_ntp"]["mean"] == 1
    assert len(read_video(out / "samples" / "clip-000.mp4")) == 4
    usual = ("evaluate", "study", "--clips", clips, "-o", out, "--model", "wham", "--weights", checkpoint, "--count", 2)
    code, _, err = run(*usual, "--dtype", "bfloat16")
    assert (code, err.count("\n")) == (1, 1)
    assert "with other clips, dtype" in err or "with other dtype" in err
    code, _, err = run(
        *usual, "--tuned", "a=b"
    )  # fmt: skip
    assert (code, err.count("\n")) == (2, 1)
    assert "expected --tuned with a world model's folder, got it with the release wham" in err


def test_what_is_missing_is_one_line(cosmos: Path, tmp_path: Path) -> None:
    def error(*options: object) -> str:
        code, text, err = run("evaluate", "study", "--clips", cosmos / "clips", "-o", tmp_path / "out", *options)
        assert code in (1, 2)
        assert (text, err.count("\n")) == ("", 1)
        return err

    files: list[object] = ["--model", "cosmos", "--config", cosmos / "text.json", "--tokenizer", cosmos / "tokenizer"]
    assert "expected the weights of cosmos" in error(*files)
    assert "expected a text for cosmos" in error(*files, "--weights", cosmos / "text.safetensors")
    assert "expected weights, tokenizer and config with a release only" in error("--weights", cosmos / "base.json")
    assert not (tmp_path / "out").exists()
