"""The command line as a whole: its version, its completion."""

import os
import subprocess
import sys

from tests.support.cli import run


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
