"""`diagplan record`; tests/games/test_recorder.py has what it records."""

import inspect
from dataclasses import asdict, fields
from pathlib import Path

import pytest

pytest.importorskip("av")

from diagplan.cli.record import record_command
from diagplan.games.recorder import Recording
from tests.support.cli import run, run_json


def test_the_defaults_of_record_are_those_of_a_recording() -> None:
    shown = {name: parameter.default for name, parameter in inspect.signature(record_command).parameters.items()}
    assert asdict(Recording()) == {field.name: shown[field.name] for field in fields(Recording)}


def test_the_command_line(tmp_path: Path) -> None:
    pytest.importorskip("crafter")
    arguments = ["record", "-o", str(tmp_path / "clips"), "--rows", "6", "--cols", "6", "--frames", "3"]
    arguments += ["--train", "1", "--validation", "1", "--test", "0", "--workers", "1"]
    said = run_json(*arguments)
    assert (said["clips"], said["recorded_now"], said["frames"], said["height"]) == (2, 2, 6, 96)
    code, out, err = run(*arguments)
    assert (code, err) == (0, "")
    assert "recorded now        0" in out


@pytest.mark.parametrize(
    ("more", "code", "words"),
    [
        (["--workers", "0"], 2, "workers=0"),
        (["--frames", "1"], 2, "frames=1"),
        (["--rows", "2"], 2, "rows=2"),
        (["--seed", "-1"], 2, "seed=-1"),
        (["--train", "-1"], 2, "'train': -1"),
    ],
)
def test_wrong_usage(tmp_path: Path, more: list[str], code: int, words: str) -> None:
    pytest.importorskip("crafter")
    exit_code, out, err = run("record", "-o", tmp_path / "clips", *more)
    assert (exit_code, out) == (code, "")
    assert words in err
    assert err.count("\n") == 1
    assert not (tmp_path / "clips").exists()
