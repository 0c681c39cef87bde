"""Ctrl-C while the command line loads ends it as the signal does, and says nothing; in a command it is one line."""

import signal
import subprocess
import sys
from collections.abc import Sequence

import pytest

#: Runs ``python -m diagplan`` and sends itself SIGINT when a module is about to be imported.
STOPPED_AT = """
import os, runpy, signal, sys

class Stop:
    @staticmethod
    def find_spec(name, path=None, target=None):
        if name == wanted:
            sys.meta_path.remove(Stop)
            os.kill(os.getpid(), signal.SIGINT)

wanted = sys.argv.pop(1)
sys.meta_path.insert(0, Stop)
runpy.run_module("diagplan", run_name="__main__", alter_sys=True)
"""


def stopped_at(
    module: str, arguments: Sequence[str] = ("presets",), handler: str = "default_int_handler"
) -> tuple[int, str, str]:
    """Exit code, stdout and stderr; ``handler``: of SIGINT, whatever these tests were begun with."""
    before = f"import signal; signal.signal(signal.SIGINT, signal.{handler})"
    done = subprocess.run(
        [sys.executable, "-c", before + STOPPED_AT, module, *arguments], capture_output=True, text=True, timeout=60
    )
    return done.returncode, done.stdout, done.stderr


@pytest.mark.skipif(sys.platform == "win32", reason="no signal ends a process there")
@pytest.mark.parametrize(
    "module",
    [
        "diagplan.cli",
        "typer",
        "rich",
        "diagplan.cli.generate",
        "numpy",
        "diagplan.planner.compiler",
        "diagplan.cli.verify",
    ],
)
def test_ctrl_c_before_the_command_begins(module: str) -> None:
    assert stopped_at(module) == (-signal.SIGINT, "", "")


@pytest.mark.skipif(sys.platform == "win32", reason="no signal ends a process there")
def test_ctrl_c_in_a_command_is_one_line() -> None:
    code, out, err = stopped_at("diagplan.schemas.world", ("presets",))
    assert (code, out, err) == (130, "", "diagplan: interrupted; no file was changed.\n")


def test_who_is_deaf_to_ctrl_c_stays_so() -> None:
    """As a shell's background jobs and nohup begin."""
    for module in ("typer", "diagplan.schemas.world"):
        code, out, err = stopped_at(module, ("presets",), "SIG_IGN")
        assert (code, err) == (0, "")
        assert "mineworld" in out
