"""Temporaries of dead processes are removed; those of living ones, and what others have made, are not."""

import os
import subprocess
import sys
import time
from functools import cache
from pathlib import Path

import pytest

from diagplan.schemas import temporaries
from diagplan.schemas.temporaries import sweep, temporary_folder, temporary_name

linux = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only Linux says which boot this is")

DEAD = "import os; from diagplan.schemas.temporaries import temporary_name; print(temporary_name(), end='')"


@cache
def dead_name() -> str:
    """The name that a process gave which has ended."""
    return subprocess.run([sys.executable, "-c", DEAD], capture_output=True, text=True, check=True).stdout


def swept(folder: Path) -> list[str]:
    sweep.cache_clear()
    sweep(str(folder))
    return sorted(path.name for path in folder.iterdir())


def with_part(name: str, place: int, value: str) -> str:
    """A name with another system (2), process (3), start (4)."""
    parts = name.split("-")
    return "-".join([*parts[: place - 1], value, *parts[place:]])


@linux
def test_a_dead_process_leaves_nothing(tmp_path: Path) -> None:
    name = dead_name()
    (tmp_path / name).write_bytes(b"half")
    folder = tmp_path / with_part(name, 5, "0123456789ab.tmp")
    (folder / "deep").mkdir(parents=True)
    (folder / "deep" / "model.onnx").write_bytes(b"half")
    (tmp_path / "kept.json").touch()
    assert swept(tmp_path) == ["kept.json"]


@linux
def test_a_living_process_keeps_its_own(tmp_path: Path) -> None:
    name = temporary_name()
    (tmp_path / name).write_bytes(b"half")
    os.utime(tmp_path / name, (0, 0))
    assert swept(tmp_path) == [name]
    later = with_part(name, 4, "1")  # of a process that had the same number before
    (tmp_path / name).rename(tmp_path / later)
    assert swept(tmp_path) == []


@linux
def test_a_zombie_is_dead(tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", DEAD], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        name = process.stdout.read()
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        (tmp_path / name).touch()
        assert swept(tmp_path) == []


@linux
def test_another_users_process_that_hides_its_state_lives(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    name = dead_name()
    (tmp_path / name).touch()

    def not_yours(*_: int) -> None:
        raise PermissionError

    monkeypatch.setattr(os, "kill", not_yours)
    assert swept(tmp_path) == [name]


def test_what_another_machine_writes_stays_for_a_week(tmp_path: Path) -> None:
    name = with_part(dead_name(), 2, "0123456789ab")
    (tmp_path / name).touch()
    assert swept(tmp_path) == [name]
    now = time.time()
    os.utime(tmp_path / name, (now, now - 6.9 * 24 * 3600))
    assert swept(tmp_path) == [name]
    os.utime(tmp_path / name, (now, now - 7.1 * 24 * 3600))
    assert swept(tmp_path) == []


def test_where_the_system_does_not_say_age_decides(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(temporaries, "_system", lambda: "")
    monkeypatch.setattr(temporaries, "_state_and_start", lambda _: None)
    name = temporary_name()
    (tmp_path / name).touch()
    assert swept(tmp_path) == [name]
    os.utime(tmp_path / name, (0, 0))
    assert swept(tmp_path) == []


@pytest.mark.parametrize(
    "name",
    [
        ".diagplan-0123456789ab.tmp",
        ".diagplan-0123456789ab-0-1-0123456789ab.tmp",
        ".diagplan-0123456789ab-9999999999-1-0123456789ab.tmp",
        ".diagplan-0123456789ab-1-1-0123456789ab.tmp.mine",
        "x.diagplan-0123456789ab-1-1-0123456789ab.tmp",
        ".diagplan-0123456789AB-1-1-0123456789ab.tmp",
    ],
)
def test_names_of_others_stay(tmp_path: Path, name: str) -> None:
    (tmp_path / name).touch()
    os.utime(tmp_path / name, (0, 0))
    assert swept(tmp_path) == [name]


def test_a_link_is_removed_and_not_followed(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "real" / "kept").touch()
    name = with_part(dead_name(), 2, "0123456789ab")
    (tmp_path / name).symlink_to(tmp_path / "real")
    os.utime(tmp_path / name, (0, 0), follow_symlinks=False)
    assert swept(tmp_path) == ["real"]
    assert (tmp_path / "real" / "kept").exists()


def test_what_cannot_be_swept_is_no_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert not (tmp_path / "none").exists()
    sweep(str(tmp_path / "none"))
    sweep("a\0b")
    name = with_part(dead_name(), 2, "0123456789ab")
    (tmp_path / name).touch()
    os.utime(tmp_path / name, (0, 0))

    def refuse(*_: object) -> None:
        raise PermissionError

    with monkeypatch.context() as patch:
        patch.setattr(os, "unlink", refuse)
        assert swept(tmp_path) == [name]


def test_a_folder_is_looked_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert swept(tmp_path) == []
    monkeypatch.setattr(os, "scandir", lambda _: pytest.fail("a second look"))
    sweep(str(tmp_path))


def test_a_temporary_folder_is_removed_at_the_end(tmp_path: Path) -> None:
    name = dead_name()
    (tmp_path / name).mkdir()
    if sys.platform.startswith("linux"):
        sweep.cache_clear()
    with temporary_folder(tmp_path) as place:
        (place / "deep").mkdir()
        assert name not in os.listdir(tmp_path) or not sys.platform.startswith("linux")  # noqa: PTH208
    assert not place.exists()
    with pytest.raises(KeyboardInterrupt), temporary_folder(tmp_path) as place:
        raise KeyboardInterrupt
    assert not place.exists()
    with pytest.raises(FileNotFoundError), temporary_folder(tmp_path / "none"):
        pass
