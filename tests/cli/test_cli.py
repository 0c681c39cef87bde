"""The command line as a whole: its version, its completion."""

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import typer

from diagplan import cli
from diagplan.cli import COMMANDS, app
from tests.support.cli import run

#: Written by typer.
OTHERS = {"help"}
#: Commands with options of all that load a model, whose sentences are short.
OF_OTHERS = {
    "image",
    "generate",
    "batch",
    "serve",
    "run",
    "export-onnx",
    "compare",
    "verify-trace",
    "measure",
    "tune",
    "study",
    "images",
    "world",
}
#: Options whose absence needs no word.
ALONE = {"k", "window", "order", "step", "png", "svg", "gif", "html", "against", "trace"}


def test_completion_script_is_offered() -> None:
    # Named, for the shell that a test runs in is make's or nobody's.
    environment = os.environ | {"_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION": "1"}
    done = subprocess.run(
        [sys.executable, "-m", "diagplan", "--show-completion", "bash"],
        capture_output=True, text=True, env=environment,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "complete" in done.stdout


def test_version() -> None:
    import diagplan

    assert run("--version")[1] == f"diagplan {diagplan.__version__}\n"


def test_files_are_named_after_their_commands() -> None:
    for name, (module, _) in COMMANDS.items():
        assert module == f"diagplan.cli.{name.replace('-', '_').replace(' ', '_')}"
    folder = Path(cli.__file__).parent
    assert {path.stem for path in folder.glob("*.py")} - {"__init__"} == {
        module.rpartition(".")[2] for module, _ in COMMANDS.values()
    }


def test_every_option_is_described_by_a_sentence() -> None:
    """It begins with a capital letter and ends with a full stop; the commands' own texts too."""
    found: Any = typer.main.get_command(app)
    commands = [
        one for command in found.commands.values() for one in getattr(command, "commands", {"": command}).values()
    ]
    for command in commands:
        assert command.help[0].isupper(), command.name
        for option in command.params:
            if option.name in OTHERS or command.name in OF_OTHERS:
                continue
            assert re.fullmatch(r"(?s)([A-Z]|LABEL).*\.", option.help or ""), (command.name, option.name, option.help)
            if option.default is None and not option.required and not isinstance(option.show_default, str):
                said = option.help
                assert "Left out" in said or option.name in ALONE, (command.name, option.name, said)


@pytest.mark.parametrize(("closed", "code"), [("stdout", 0), ("stderr", 2)])
def test_a_stream_that_is_closed_from_the_start(closed: str, code: int) -> None:
    arguments = "presets >&-" if closed == "stdout" else "steps --model nope --k 1 2>&-"
    done = subprocess.run(
        f"{sys.executable} -m diagplan {arguments}", shell=True, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (code, "", "")


@pytest.mark.parametrize("name", COMMANDS)
def test_a_name_that_no_file_can_have_is_one_error(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In the place of every file and folder that the command takes; ``run`` fails where there is a traceback."""
    monkeypatch.chdir(tmp_path)
    command: Any = typer.main.get_command(app)
    for part in name.split():
        command = command.commands[part]
    paths = [one for one in command.params if "Path" in str(one.type_descriptor.annotation)]
    asked = [
        word
        for one in command.params
        if one.required
        for word in (*(one.opts[:1] if one.opts[0].startswith("-") else ()), "n" * 300 if one in paths else "1")
    ]
    options = [one.opts[:1] for one in paths if not one.required and one.opts[0].startswith("-")]
    for more in ([], *options):
        if more or any(one in paths for one in command.params if one.required):
            code, out, err = run(*name.split(), *asked, *more, *["n" * 300] * len(more))
            assert (code in (1, 2), out) == (True, ""), (more, code, out)
            assert err.count("\n") < 12, more
    assert not any(tmp_path.iterdir())
