"""MC-AR's worlds: files that belong together, and a release's."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("av")
pytest.importorskip("diffusers")

from diagplan.adapters.options import LoadOptions  # noqa: E402
from diagplan.planner.errors import DocumentError, SpecError  # noqa: E402
from diagplan.worlds import SHIPPED, load_world  # noqa: E402
from diagplan.worlds.mc_ar import open_world  # noqa: E402
from diagplan.worlds.world import WorldFiles  # noqa: E402
from tests.support.mc_ar_release import write_release  # noqa: E402


@pytest.mark.parametrize(
    ("file", "change"),
    [
        ("world.json", {"rows": 8}),
        ("world.json", {"context_frames": 9}),
        ("config.json", {"image_vocab": 275}),
        ("config.json", {"action_tokens": 11}),
    ],
)
def test_files_that_do_not_belong_together(tmp_path: Path, file: str, change: dict[str, int]) -> None:
    shutil.copytree(SHIPPED["crafter-mini"], tmp_path / "world")
    path = tmp_path / "world" / file
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(DocumentError, match="do not belong together"):
        load_world(str(tmp_path / "world"))


def test_ids_and_keys_of_a_world(tmp_path: Path) -> None:
    shutil.copytree(SHIPPED["crafter-mini"], tmp_path / "world")
    path = tmp_path / "world" / "world.json"
    said = json.loads(path.read_text())
    path.write_text(json.dumps(said | {"actions": said["actions"] | {"begin": 0}}))
    with pytest.raises(DocumentError, match="ids of actions"):
        load_world(str(tmp_path / "world"))
    path.write_text(json.dumps(said | {"wings": 2}))
    with pytest.raises(DocumentError, match="wings: Extra inputs"):
        load_world(str(tmp_path / "world"))


def test_a_release_has_the_actions_of_vpt(tmp_path: Path) -> None:
    files = write_release(tmp_path)
    options = LoadOptions(config=files / "config.json")
    where = WorldFiles(model="mc-ar", weights=files / "tiny.ckpt", tokenizer=files / "vae")
    world = open_world(where, options)
    assert (world.rows, world.cols, world.block, world.context_frames) == (14, 24, 11, 3)
    assert (world.height, world.width, world.words) == (224, 384, None)
    blocks = world.read_actions(files / "scene.jsonl")
    assert blocks.shape == (2, 11)
    assert blocks.min() >= 8192  # actions come after the image ids


@pytest.mark.parametrize("lacking", ["weights", "tokenizer"])
def test_files_of_a_release_that_are_missing(lacking: str, tmp_path: Path) -> None:
    files = write_release(tmp_path)
    where = {"weights": files / "tiny.ckpt", "tokenizer": files / "vae", lacking: None}
    with pytest.raises(DocumentError, match=f"got {lacking}=none. Its publisher is microsoft/mineworld"):
        open_world(WorldFiles(model="mc-ar", **where), LoadOptions(config=files / "config.json"))


def test_a_release_is_exported_first() -> None:
    with pytest.raises(SpecError, match="expected the folder of an exported world model"):
        open_world(WorldFiles(model="mc-ar"), LoadOptions(backend="onnx"))


def test_actions_are_words_between_marks() -> None:
    world = load_world("crafter-mini", lazy=True)
    blocks = world.read_actions(SHIPPED["crafter-mini"] / "clip.jsonl")
    assert world.words is not None
    assert blocks.shape == (7, 3)
    np.testing.assert_array_equal(blocks[:, [0, 2]], [[world.words.begin, world.words.end]] * 7)
    assert set(blocks[:, 1].tolist()) <= set(world.words.ids.values())
