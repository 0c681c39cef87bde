"""The tokenizer's training: it learns, and a run goes on to the identical weights."""

import csv
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
for needed in ("av", "diffusers", "matplotlib"):
    pytest.importorskip(needed)

from diagplan.adapters.image_tokenizer import load_image_tokenizer  # noqa: E402
from diagplan.games.clips import Clip, list_clips, write_clip  # noqa: E402
from diagplan.planner.errors import DocumentError, SpecError  # noqa: E402
from diagplan.training.runs import last_row  # noqa: E402
from diagplan.training.tiles import load_frames  # noqa: E402
from diagplan.training.tokenizer import train_tokenizer  # noqa: E402
from tests.support.scrolling import COLS, ROWS, TOKENIZER, StopError, stop_at, write_scrolls  # noqa: E402


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_scrolls(tmp_path_factory.mktemp("clips"))


def test_clips_of_different_sizes(clips: Path, tmp_path: Path) -> None:
    paths = list_clips(clips / "train")
    odd = Clip(frames=np.zeros((2, 8, 8, 3), np.uint8), actions=("noop",), moved=(None,))
    write_clip(tmp_path / "odd.mp4", odd)
    with pytest.raises(DocumentError, match=r"clips of one size, got .*odd\.mp4"):
        load_frames([*paths, tmp_path / "odd.mp4"], 2)
    with pytest.raises(SpecError, match="at least 4 x 5 tiles, got 2 x 2"):
        train_tokenizer(TOKENIZER, [tmp_path / "odd.mp4"], paths, tmp_path / "run")


@pytest.mark.parametrize(
    "keys",
    [
        {"steps": 0}, {"whole_steps": -1}, {"batch": 1}, {"codes": 1}, {"guided": 0.0}, {"guided": 1.1}, {"seed": -1},
        {"learning_rate": 0.0}, {"learning_rate": float("inf")}, {"learning_rate": float("nan")},
    ],
)  # fmt: skip
def test_recipes_that_are_none(keys: dict[str, Any]) -> None:
    ((name, value),) = keys.items()
    with pytest.raises(SpecError, match=rf"^expected .*, got {name}={value}\.$"):
        replace(TOKENIZER, **keys)


@pytest.fixture(scope="module")
def tokenizer_run(clips: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tokenizer")
    train_tokenizer(
        TOKENIZER, list_clips(clips / "train"), list_clips(clips / "validation"), folder, checkpoint_every=10
    )
    return folder


def test_a_tokenizer_learns(tokenizer_run: Path, clips: Path) -> None:
    with (tokenizer_run / "log.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [int(row["step"]) for row in rows] == [10, 20, 30]
    assert float(rows[-1]["loss"]) < 0.9 * float(rows[0]["loss"])
    assert float(rows[-1]["validation_psnr"]) > float(rows[0]["validation_psnr"])
    assert last_row(tokenizer_run)["step"] == 30
    assert (tokenizer_run / "curves.png").read_bytes().startswith(b"\x89PNG")
    loaded = load_image_tokenizer(tokenizer_run)
    assert loaded.encode(load_frames(list_clips(clips / "validation"), 2)).shape == (2, ROWS, COLS)


def test_a_tokenizer_goes_on_to_the_identical_weights(tokenizer_run: Path, clips: Path, tmp_path: Path) -> None:
    arguments = (TOKENIZER, list_clips(clips / "train"), list_clips(clips / "validation"), tmp_path)
    with pytest.raises(StopError):
        train_tokenizer(*arguments, checkpoint_every=10, on_step=stop_at(15))
    assert not (tmp_path / "config.json").exists()
    steps: list[int] = []
    train_tokenizer(*arguments, checkpoint_every=10, on_step=lambda step, _: steps.append(step))
    assert steps == list(range(11, 31))
    name = "diffusion_pytorch_model.safetensors"
    assert (tmp_path / name).read_bytes() == (tokenizer_run / name).read_bytes()
    with pytest.raises(DocumentError, match="with other seed"):
        train_tokenizer(replace(TOKENIZER, seed=1), *arguments[1:])
