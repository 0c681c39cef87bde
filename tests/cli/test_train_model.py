"""`diagplan train model`: from clips to a world."""

import json
import shutil
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")
for needed in ("av", "diffusers", "matplotlib"):
    pytest.importorskip(needed)

from diagplan.adapters.mc_ar_files import load_mc_ar, read_mc_ar_config  # noqa: E402
from diagplan.schemas.world import read_world_document  # noqa: E402
from tests.support.cli import run as run_cli  # noqa: E402

SMALL = ("--steps", 3, "--batch", 2)
SIZES = ("--hidden", 16, "--mlp", 16, "--layers", 1, "--heads", 2, "--context", 3)


def test_from_clips_to_a_world(recorded: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = tmp_path / "tiny-world"
    arguments = ("--clips", recorded / "clips", "--tokenizer", recorded / "tokenizer", "-o", run, *SIZES)
    code, out, err = run_cli("train", "model", *arguments, *SMALL, "--rope", "1d", "--json")
    assert (code, err) == (0, "")
    said = json.loads(out)
    assert (said["step"], said["clips"], said["out"]) == (3, 2, str(run / "world"))
    world = read_world_document(run / "world" / "world.json")
    assert (world.name, world.game, world.rows, world.cols, world.context_frames) == ("tiny-world", "crafter", 6, 6, 3)
    assert world.actions.begin == 4
    assert world.actions.ids["noop"] == 6
    assert world.actions.opposites["move_up"] == "move_down"
    config = read_mc_ar_config(run / "world" / "config.json")
    assert (config.rows, config.cols, config.image_vocab, config.rope) == (6, 6, 4, "1d")
    assert config.vocab_size == 6 + len(world.actions.ids)
    assert said["parameters"] == load_mc_ar(run / "world").weight_bytes() // 4
    assert (run / "world" / "curves.png").is_file()

    def never(*_: object, **__: object) -> None:
        raise AssertionError("tokenized again")

    monkeypatch.setattr("diagplan.training.sequences.tokenize_clips", never)
    weights = (run / "world" / "model.safetensors").read_bytes()
    code, out, err = run_cli("train", "model", *arguments, *SMALL, "--rope", "1d")
    assert (code, err) == (0, "")
    assert out.endswith(f"wrote {run / 'world'}\n")
    assert (run / "world" / "model.safetensors").read_bytes() == weights
    code, _, err = run_cli("train", "model", *arguments, *SMALL, "--rope", "3d")
    assert code == 1
    assert "with other rope" in err
    shutil.copytree(recorded / "tokenizer", tmp_path / "other")
    with (tmp_path / "other" / "config.json").open("a") as file:
        file.write("\n")
    code, _, err = run_cli("train", "model", *arguments, *SMALL, "--rope", "1d", "--tokenizer", tmp_path / "other")
    assert code == 1
    assert "expected the clips and the tokenizer that the run" in err


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (["--hidden", 30, "--heads", 4], "got --hidden 30 and --heads 4. Give a multiple of 8"),
        (["--heads", 3], "got --hidden 16 and --heads 3."),
        (["--layers", 0], "got --layers 0."),
        (["--context", 9], "clips of at least 9 frames, got 4"),
    ],
)
def test_sizes_that_do_not_fit(recorded: Path, tmp_path: Path, more: list[object], words: str) -> None:
    arguments = ("--clips", recorded / "clips", "--tokenizer", recorded / "tokenizer", "-o", tmp_path / "run")
    exit_code, _, err = run_cli("train", "model", *arguments, *SMALL, *SIZES, *more)
    assert (exit_code, err.count("\n")) == (2, 1)
    assert words in err
