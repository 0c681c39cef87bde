"""The command line in this process, as tests call it."""

import json
from pathlib import Path
from typing import Any

from typer.testing import CliRunner

from diagplan.cli import app

__all__ = ["TINY", "damaged", "invoke", "run", "run_json"]

#: Options of ``compile`` for a plan of six steps.
TINY = ("--rows", "3", "--cols", "4", "--lead", "1", "--k", "1")


def run(*arguments: object) -> tuple[int, str, str]:
    """Exit code, stdout and stderr of a command; an exception that is none of typer's fails the test."""
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result.exit_code, result.stdout, result.stderr


def invoke(*arguments: object) -> tuple[int, str]:
    """Exit code of a command, and what it prints on stdout and stderr."""
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result.exit_code, result.output


def run_json(*arguments: object, code: int = 0) -> dict[str, Any]:
    """The one object that a command prints with ``--json``."""
    exit_code, out, err = run(*arguments, "--json")
    assert exit_code == code, out + err
    assert out.endswith("\n")
    assert out.count("\n") == 1
    value = json.loads(out)
    assert isinstance(value, dict)
    return value


def damaged(path: Path) -> Path:
    """A copy of a ``TINY`` plan, ``damaged.json`` beside it, in which one feed carries another token."""
    value = json.loads(path.read_text())
    value["steps"][2]["source"][0] = 11
    other = path.with_name("damaged.json")
    other.write_text(json.dumps(value))
    return other
