"""Files that a run makes once: whoever asks first makes them, and nobody waits who can make others."""

import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support import kept
from tests.support.kept import made_once

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv(kept.FOLDER, str(tmp_path))
    return tmp_path


def write(text: str) -> Callable[[Path], object]:
    return lambda place: (place / "text").write_text(text)


def test_it_is_made_once_and_whole(folder: Path) -> None:
    def broken(place: Path) -> None:
        (place / "text").write_text("half")
        raise LookupError

    with pytest.raises(LookupError):
        made_once("one", broken)
    assert not (folder / "one").exists()
    for text in ("first", "second"):
        assert (made_once("one", write(text), {"other": write("x")}) / "text").read_text() == "first"
    assert not (folder / "other").exists()  # nobody had to wait


def test_others_are_made_while_another_process_makes_it(folder: Path) -> None:
    code = """
import sys, time
from pathlib import Path
from tests.support.kept import made_once
def make(place):
    Path(sys.argv[1], "began").touch()
    for _ in range(2000):  # all of them, if it is waited for
        if Path(sys.argv[1], "two").exists():
            break
        time.sleep(0.01)
    (place / "text").write_text("theirs")
made_once("one", make)
"""
    with subprocess.Popen([sys.executable, "-c", code, str(folder)], cwd=ROOT) as process:
        try:
            until = time.monotonic() + 60
            while not (folder / "began").exists() and time.monotonic() < until:
                time.sleep(0.01)
            others = {"one": write("ours"), "two": write("two"), "three": write("three")}
            assert (made_once("one", write("ours"), others) / "text").read_text() == "theirs"
            assert (folder / "two" / "text").read_text() == "two"
            assert process.wait(60) == 0
        finally:
            process.kill()
