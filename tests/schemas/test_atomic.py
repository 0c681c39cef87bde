"""A file is written whole or not at all; a folder is made or the reason said."""

import errno
import os
import re
import stat
from pathlib import Path

import pytest

from diagplan.planner.errors import DocumentError
from diagplan.schemas.atomic import make_folder, write_atomically


def test_a_new_file_has_the_data_and_the_usual_permissions(tmp_path: Path) -> None:
    path = tmp_path / "plan.json"
    write_atomically(path, b"new")
    (tmp_path / "usual").touch()
    assert path.read_bytes() == b"new"
    assert path.stat().st_mode == (tmp_path / "usual").stat().st_mode
    assert sorted(path.name for path in tmp_path.iterdir()) == ["plan.json", "usual"]


def test_an_existing_file_is_replaced_and_keeps_its_permissions(tmp_path: Path) -> None:
    path = tmp_path / "plan.json"
    path.write_bytes(b"a longer old text")
    path.chmod(0o640)
    write_atomically(str(path), b"new")
    assert path.read_bytes() == b"new"
    assert stat.S_IMODE(path.stat().st_mode) == 0o640


def test_a_link_stays_a_link(tmp_path: Path) -> None:
    real, link = tmp_path / "real.json", tmp_path / "link.json"
    real.write_bytes(b"old")
    link.symlink_to(real)
    write_atomically(link, b"new")
    assert link.is_symlink()
    assert real.read_bytes() == b"new"


def test_a_pipe_is_written_to_and_not_replaced(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    try:
        write_atomically(pipe, b"through")
        assert stat.S_ISFIFO(pipe.stat().st_mode)
        assert os.read(reader, 100) == b"through"
    finally:
        os.close(reader)


@pytest.mark.parametrize(
    ("error", "raised", "words"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), DocumentError, "disk is full"),
        (PermissionError(errno.EACCES, "Permission denied"), DocumentError, "Change the permissions"),
        (KeyboardInterrupt(), KeyboardInterrupt, None),
    ],
)
def test_a_failure_leaves_the_old_file_and_nothing_else(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    error: BaseException,
    raised: type[BaseException],
    words: str | None,
) -> None:
    path = tmp_path / "plan.json"
    path.write_bytes(b"old")

    def fail(*_: object) -> None:
        raise error

    for call in ("fsync", "replace"):
        with monkeypatch.context() as patch:
            patch.setattr(os, call, fail)
            with pytest.raises(raised, match=words):
                write_atomically(path, b"new")
        assert path.read_bytes() == b"old"
        assert [path.name for path in tmp_path.iterdir()] == ["plan.json"]


@pytest.mark.parametrize(
    ("place", "words"),
    [
        ("missing/plan.json", "Create it"),
        ("file/plan.json", "a file, not a folder"),
        (".", "Give the path of a file"),
        ("n" * 300, "shorter path"),
        ("nul\0byte", "Give another path"),
    ],
)
def test_the_message_says_what_to_do(tmp_path: Path, place: str, words: str) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(DocumentError, match=words):
        write_atomically(f"{tmp_path}/{place}", b"new")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_a_folder_is_made_with_those_above_it(tmp_path: Path) -> None:
    make_folder(tmp_path / "a" / "b")
    (tmp_path / "a" / "b" / "kept").touch()
    make_folder(str(tmp_path / "a" / "b"))
    assert [path.name for path in (tmp_path / "a" / "b").iterdir()] == ["kept"]


@pytest.mark.parametrize(
    ("place", "reason"),
    [
        ("file", "File exists"),
        ("file/inside", "Not a directory"),
        ("n" * 300, "File name too long"),
        ("nul\0byte", "embedded null byte"),
    ],
)
def test_a_folder_that_cannot_be_made(tmp_path: Path, place: str, reason: str) -> None:
    (tmp_path / "file").touch()
    message = f"cannot make the folder {tmp_path}/{place}: {reason}. Give another one."
    with pytest.raises(DocumentError, match=f"^{re.escape(message)}$"):
        make_folder(f"{tmp_path}/{place}")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
