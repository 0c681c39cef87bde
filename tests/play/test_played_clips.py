"""What was played with the world that ships is a clip that `diagplan evaluate` and `diagplan finetune` take."""

import io
import json
import shutil
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("av")
pytest.importorskip("diffusers")
pytest.importorskip("safetensors")
pytest.importorskip("skimage")
pytest.importorskip("matplotlib")

from diagplan.games.clips import read_clip
from diagplan.planner.schedule import NextToken
from diagplan.planner.speculation import Speculation
from diagplan.play.choices import Choice
from diagplan.play.messages import parse
from diagplan.play.player import Player
from diagplan.play.recording import packed
from diagplan.play.stage import Stage, start_frames
from diagplan.worlds.loading import load_world
from tests.support.cli import run

pytestmark = pytest.mark.slow

KEYS = ("ArrowLeft", "ArrowUp", "ArrowRight", "ArrowDown", "Space")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with ``played.mp4`` and ``played.jsonl``, of a game of nine frames."""
    world = load_world("crafter-mini")
    first = start_frames(world, "crafter-mini", None, 3, 0)
    choice = Choice(schedule=NextToken(), speculation=Speculation(window=56))
    player = Player(Stage(world=world, choices={"exact": choice}, first=first), "exact")
    for number in range(10):
        player.hear(parse(json.dumps({"type": "held", "seq": number, "keys": [KEYS[number % len(KEYS)]]})))
        player.work(lambda _: None)
    made = tmp_path_factory.mktemp("played")
    with zipfile.ZipFile(io.BytesIO(packed(player.recording.copy(), 12))) as archive:
        archive.extractall(made)
    clip = read_clip(made / "played.mp4")
    assert (len(clip.frames), len(clip.actions)) == (10, 9)
    assert set(clip.actions) == {"move_left", "move_up", "move_right", "move_down", "do"}
    assert np.abs(clip.frames[0].astype(int) - world.reconstruct(first()[None])[-1]).mean() < 2
    return made


def said(*arguments: Any) -> dict[str, Any]:
    code, out, err = run(*arguments, "--json")
    assert code == 0, err
    figures: dict[str, Any] = json.loads(out)
    return figures


def test_evaluate_takes_it(folder: Path) -> None:
    assert said("evaluate", "world", "--clips", folder, "--windows", 1)


def test_finetune_takes_it(folder: Path, tmp_path: Path) -> None:
    for split in ("train", "validation"):
        shutil.copytree(folder, tmp_path / "clips" / split)
    tuned = ("finetune", "--clips", tmp_path / "clips", "--k", 1, "-o", tmp_path / "tuned", "--steps", 1, "--batch", 1)
    said(*tuned, "--no-bfloat16")
    assert (tmp_path / "tuned" / "world" / "world.json").is_file()
