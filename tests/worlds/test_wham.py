"""WHAM's worlds: a release of any size, its recordings, and files that do not belong together."""

import json
from dataclasses import asdict
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("av")

from diagplan import load_world  # noqa: E402
from diagplan.adapters.options import LoadOptions  # noqa: E402
from diagplan.planner.errors import DocumentError  # noqa: E402
from diagplan.worlds.wham import open_world  # noqa: E402
from diagplan.worlds.world import WorldFiles  # noqa: E402
from tests.support.cli import invoke  # noqa: E402
from tests.support.wham_files import write_lightning  # noqa: E402
from tests.support.wham_world import (  # noqa: E402
    SIZE,
    TINY,
    WhamFiles,
    vision_weights,
    wham_arguments,
    write_wham_world,
)


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> WhamFiles:
    return write_wham_world(tmp_path, monkeypatch)


def test_a_tokenizer_of_another_grid(files: WhamFiles, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As many tokens, in other rows: the file's own notes say so."""
    turned = {"image_size_per_x_axis": SIZE[0], "image_size_per_y_axis": SIZE[1]}
    other = write_lightning(tmp_path / "other.ckpt", monkeypatch, vision_weights(), **turned)
    code, said = invoke(*wham_arguments(files, tmp_path / "out.mp4", "--tokenizer", other))
    assert (code, "expected an image tokenizer of 3 x 4 tokens, got one of 4 x 3" in said) == (1, True), said


def test_a_world_of_files(files: WhamFiles) -> None:
    world = open_world(WorldFiles(model="wham", weights=files[0]), LoadOptions())
    assert (world.rows, world.cols, world.block, world.fps) == (3, 4, 16, 10)
    assert (world.context_frames, world.prompt_frames, world.keeps) == (4, 4, 3)
    assert (world.height, world.width) == SIZE
    frames = list(world.read_frames(files[1]))
    assert (len(frames), frames[0].shape) == (12, (*SIZE, 3))
    blocks = world.read_actions(files[1])
    assert blocks.shape == (12, 16)
    assert TINY.image_codes <= blocks.min() <= blocks.max() < TINY.vocab_size


def test_a_size_that_nobody_published(files: WhamFiles, tmp_path: Path) -> None:
    """A file says the heads, which no tensor shows."""
    config = tmp_path / "sizes.json"
    config.write_text(json.dumps(asdict(TINY) | {"n_head": 8}))
    world = load_world("wham", weights=files[0], config=config)
    assert world.source.sizes()["n_head"] == 8
    other = load_world("wham", weights=files[0])
    assert other.source.sizes()["n_head"] == 16
    assert world.model.fingerprint() != other.model.fingerprint()


def test_what_is_missing_is_named(files: WhamFiles) -> None:
    with pytest.raises(DocumentError, match=r"expected the weights of wham-1.6b, WHAM_1.6B_v1.ckpt, got none"):
        open_world(WorldFiles(model="wham-1.6b"), LoadOptions())
    with pytest.raises(DocumentError, match="expected wham-200m, 16 layers of width 1024, got 1 layers of width 32"):
        open_world(WorldFiles(model="wham-200m", weights=files[0]), LoadOptions())
    with pytest.raises(DocumentError, match="expected the image tokenizer beside an exported transformer"):
        open_world(WorldFiles(model="wham", weights=files[0]), LoadOptions(backend="onnx"))
