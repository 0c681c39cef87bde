"""The commands that train: from clips to a world, and wrong usage in one line."""

import json
import shutil
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

torch = pytest.importorskip("torch")
for needed in ("av", "diffusers", "matplotlib"):
    pytest.importorskip(needed)

from diagplan.adapters.mc_ar_files import load_mc_ar, read_mc_ar_config  # noqa: E402
from diagplan.cli import app  # noqa: E402
from diagplan.games.recorder import Recording  # noqa: E402
from diagplan.schemas.world import read_world_document  # noqa: E402
from diagplan.training.runs import Run  # noqa: E402


def run_cli(*arguments: object) -> tuple[int, str, str]:
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result.exit_code, result.stdout, result.stderr


SMALL = ("--steps", 3, "--batch", 2)
SIZES = ("--hidden", 16, "--mlp", 16, "--layers", 1, "--heads", 2, "--context", 3)


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A recording and a tokenizer by the command line."""
    pytest.importorskip("crafter")
    folder = tmp_path_factory.mktemp("worlds")
    size = ("--rows", 6, "--cols", 6, "--frames", 4, "--train", 2, "--validation", 1, "--test", 0, "--workers", 1)
    assert run_cli("record", "-o", folder / "clips", *size, "--json")[0] == 0
    arguments = (
        "--clips",
        folder / "clips",
        "-o",
        folder / "tokenizer",
        *SMALL,
        "--whole-steps",
        1,
        "--codes",
        4,
        "--json",
    )
    code, out, err = run_cli("train", "tokenizer", *arguments)
    assert (code, err) == (0, "")
    said = json.loads(out)
    assert (said["step"], said["codes"], said["clips"]) == (4, 4, 2)
    assert {"loss", "validation_psnr", "seconds", "out"} < set(said)
    return folder


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
    ("more", "code", "words"),
    [
        (["--steps", 0], 2, "expected positive"),
        (["--batch", 0], 2, "batch"),
        (["--learning-rate", 0], 2, "learning_rate"),
        (["--learning-rate", "inf"], 2, "'learning_rate': inf"),
        (["--seed", -1], 2, "'seed': -1"),
        (["--device", "nonsense"], 2, "device='nonsense'"),
        (["--checkpoint-every", 0], 2, "--checkpoint-every to be at least 1"),
        (["--clips", "nowhere"], 1, "nowhere"),
    ],
)
@pytest.mark.parametrize("what", ["tokenizer", "model"])
def test_wrong_usage(recorded: Path, tmp_path: Path, what: str, more: list[object], code: int, words: str) -> None:
    tokenizer = ("--tokenizer", recorded / "tokenizer") if what == "model" else ()
    arguments = ("--clips", recorded / "clips", *tokenizer, "-o", tmp_path / "run")
    exit_code, out, err = run_cli("train", what, *arguments, *more)
    assert (exit_code, out) == (code, "")
    assert words in err
    assert err.count("\n") == 1
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("more", "words"),
    [(["--hidden", 30, "--heads", 4], "hidden_size=30"), (["--context", 9], "clips of at least 9 frames, got 4")],
)
def test_sizes_that_do_not_fit(recorded: Path, tmp_path: Path, more: list[object], words: str) -> None:
    arguments = ("--clips", recorded / "clips", "--tokenizer", recorded / "tokenizer", "-o", tmp_path / "run")
    exit_code, _, err = run_cli("train", "model", *arguments, *SMALL, *SIZES, *more)
    assert (exit_code, err.count("\n")) == (2, 1)
    assert words in err


@pytest.mark.parametrize("as_json", [False, True])
def test_ctrl_c_keeps_the_last_checkpoint(
    recorded: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, as_json: bool
) -> None:
    real = Run.save

    def save(run: Run, model: Any, optimizer: Any, step: int) -> None:
        if step == 2:
            raise KeyboardInterrupt
        real(run, model, optimizer, step)

    monkeypatch.setattr(Run, "save", save)
    arguments = ("--clips", recorded / "clips", "-o", tmp_path / "run", *SMALL, "--codes", 4, "--checkpoint-every", 1)
    code, out, err = run_cli("train", "tokenizer", *arguments, *(["--json"] if as_json else []))
    assert code == 130
    said = "interrupted; the last checkpoint stays. Run it again to go on from there."
    assert (json.loads(out) if as_json else err) == ({"ok": False, "error": said} if as_json else f"diagplan: {said}\n")
    assert torch.load(tmp_path / "run" / "checkpoint.pt", weights_only=True)["step"] == 1
    assert not (tmp_path / "run" / "config.json").exists()


def test_the_defaults_of_record_are_those_of_a_recording() -> None:
    import inspect

    from diagplan.cli.worlds import record_command

    shown = {name: parameter.default for name, parameter in inspect.signature(record_command).parameters.items()}
    assert asdict(Recording()) == {field.name: shown[field.name] for field in fields(Recording)}


def test_every_option_of_train_is_described() -> None:
    """As tests/test_docs.py for the commands that are no group."""
    import re

    import typer

    page = (Path(__file__).parents[2] / "docs" / "command-line.md").read_text()
    group: Any = typer.main.get_command(app)
    for name, command in group.commands["train"].commands.items():
        (text,) = re.findall(rf"^## `train {name}`\n(.*?)(?=^## |\Z)", page, re.MULTILINE | re.DOTALL)
        mentioned = set(re.findall(r"`(--[a-z][a-z0-9-]*)", text))
        assert {
            option for one in command.params for option in (*one.opts, *one.secondary_opts) if option.startswith("--")
        } == mentioned
