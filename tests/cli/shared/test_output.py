"""What every command prints, and how it ends: errors, interrupts, closed pipes, full disks."""

import errno
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from diagplan import Diagonal, Layout, compile_plan, write_plan
from tests.support.cli import TINY, run


@pytest.mark.parametrize("command", [["verify"], ["show"], ["graph", "-o", "g.dot"]])
@pytest.mark.parametrize(
    "content", [None, b"", b"{}", b"\x00\xff", b"[1, 2", b'{"format": "diagplan-plan", "version": 7}']
)
def test_unreadable_plans_are_one_line_and_exit_code_1(
    tmp_path: Path, command: list[str], content: bytes | None
) -> None:
    path = tmp_path / "plan.json"
    if content is not None:
        path.write_bytes(content)
    code, out, err = run(command[0], str(path), *command[1:])
    assert (code, out) == (1, "")
    assert err.startswith("diagplan: ")
    assert err.count("\n") == 1


def test_a_full_disk_leaves_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    code, out, err = run("compile", *TINY, "-o", str(tmp_path / "plan.json"))
    assert (code, out) == (1, "")
    assert "No space left on device" in err
    assert list(tmp_path.iterdir()) == []


def test_interrupt_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("diagplan.planner.compiler.compile_plan", interrupt)
    code, out, err = run("compile", *TINY)
    assert (code, out) == (130, "")
    assert err == "diagplan: interrupted; no file was changed.\n"


def test_a_closed_pipe_is_no_traceback() -> None:
    command = f"{sys.executable} -m diagplan presets | head -1"
    done = subprocess.run(["bash", "-o", "pipefail", "-c", command], capture_output=True, text=True)
    assert "Traceback" not in done.stderr
    assert done.stdout.startswith("Models")


def test_a_full_stdout_is_one_line() -> None:
    with Path("/dev/full").open("w") as full:
        command = [sys.executable, "-m", "diagplan", "presets"]
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True)
    assert done.returncode == 1
    assert done.stderr == "diagplan: cannot write the output: No space left on device. Redirect it elsewhere.\n"


def test_escape_sequences_from_files_do_not_reach_the_terminal(tmp_path: Path) -> None:
    path = tmp_path / "plan.json"
    write_plan(compile_plan(Layout(frames=1, rows=1, cols=2, lead=1), Diagonal(k=1)), path)
    value = json.loads(path.read_text()) | {"\x1b[31mred\n": 1}
    path.write_text(json.dumps(value))
    code, _, err = run("verify", str(path))
    assert code == 1
    assert "\x1b" not in err
    assert err.count("\n") == 1
