"""What every command prints, and how it ends: errors, interrupts, closed pipes, full disks."""

import contextlib
import errno
import io
import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import typer

from diagplan import Diagonal, Layout, compile_plan, write_plan
from diagplan.cli.shared.output import print_table
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


def test_an_interrupt_says_which_file_was_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever options name what a command writes."""
    from diagplan.drawing import pictures

    path, other = tmp_path / "tiny.json", tmp_path / "kept.svg"
    assert run("compile", *TINY, "-o", path)[0] == 0
    other.write_text("kept")
    real = pictures.save_picture

    def save(plan: Any, target: Path, **options: Any) -> None:
        if target == other:
            raise KeyboardInterrupt
        real(plan, target, **options)

    monkeypatch.setattr(pictures, "save_picture", save)
    picture = tmp_path / "a.png"
    code, out, err = run("show", path, "--png", picture, "--svg", other)
    assert (code, out) == (130, "")
    assert err == f"diagplan: interrupted; {picture} had been written and stays.\n"
    assert run("show", path, "--svg", other)[2] == "diagplan: interrupted; no file was changed.\n"


def test_files_in_a_folder_that_is_written_are_counted(tmp_path: Path) -> None:
    from diagplan.cli.shared.output import command

    @command
    def five(out: Path) -> int:
        for name in "abcde":
            (out / name).write_text(name)
        raise KeyboardInterrupt

    (tmp_path / "was-there").write_text("before")
    with pytest.raises(typer.Exit), contextlib.redirect_stderr(io.StringIO()) as err:
        five(out=tmp_path)
    assert "was-there" not in err.getvalue()
    assert err.getvalue().endswith("and 2 more files had been written and stay.\n")


@pytest.mark.skipif(not hasattr(signal, "SIGPIPE"), reason="no SIGPIPE on this system")
@pytest.mark.parametrize("command", ["audit", "presets", "schema", "show tiny.json", "show tiny.json --step 2", "-h"])
def test_a_closed_pipe_ends_every_command_alike(command: str, tmp_path: Path) -> None:
    assert run("compile", *TINY, "-o", tmp_path / "tiny.json")[0] == 0
    reader, writer = os.pipe()
    os.close(reader)
    whole = f"{sys.executable} -m diagplan {command}; exit $?"
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[3])}
    done = subprocess.run(
        ["bash", "-c", whole], stdout=writer, stderr=subprocess.PIPE, text=True, cwd=tmp_path, env=environment
    )
    os.close(writer)
    assert (done.returncode, done.stderr) == (141, "")


@pytest.mark.parametrize("command", [["presets"], ["audit"], ["prove", "--help"], ["compile", *TINY]])
def test_80_columns_break_no_word(command: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """On a terminal: no line is wider, and every word of the piped output is there whole."""
    piped = run(*command)[1]
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("NO_COLOR", "1")
    code, shown, _ = run(*command)
    assert code == 0
    plain = re.sub(r"\x1b\[[0-9;]*m", "", shown)
    assert max(map(len, plain.splitlines())) <= 80
    if "--help" not in command:
        assert set(piped.split()) <= set(plain.split())


def test_a_table_too_narrow_for_its_words_is_not_folded(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "40")
    print_table(["name", "what it says"], [("a" * 30, "long words " + "b" * 30), ("c", "d e")])
    out = capsys.readouterr().out
    assert f"{'a' * 30}  long words {'b' * 30}\n" in out
    print_table(["name", "what it says"], [("a" * 20, "long words wrap between words")])
    out = re.sub(r"\x1b\[[0-9;]*m", "", capsys.readouterr().out)
    assert max(map(len, out.splitlines())) <= 40
    assert {"a" * 20, "wrap", "between"} <= set(out.split())


def test_a_sentence_in_a_pipe_pushes_no_number_away(capsys: pytest.CaptureFixture[str]) -> None:
    print_table(["", ">"], [("passes", 7), ("says", "word " * 20)])
    assert capsys.readouterr().out.splitlines()[0] == "passes  7"
    print_table(["", ">"], [("passes", 7), ("says", "word")])
    assert capsys.readouterr().out.splitlines()[0] == "passes     7"


def test_a_place_that_cannot_be_used_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    from diagplan.cli.shared.output import command

    @command
    def failing() -> int:
        raise PermissionError(errno.EACCES, "Permission denied", "some/folder")

    with pytest.raises(typer.Exit) as ended:
        failing()
    assert ended.value.exit_code == 1
    said = capsys.readouterr().err
    assert said == "diagplan: cannot use some/folder: Permission denied. Name another place.\n"


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
