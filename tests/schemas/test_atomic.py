"""A file is written whole or not at all; a folder is made or the reason said."""

import errno
import os
import re
import signal
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from diagplan.planner.errors import DocumentError, SpecError
from diagplan.schemas.atomic import Replacement, made_folder, make_folder, move_into_place, write_atomically
from diagplan.schemas.temporaries import sweep
from tests.packaging.test_layering import MODULES


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


def traced(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What is asked of the system in order: contents or names of a folder to the disk, and renames."""
    seen: list[str] = []
    fsync, replace = os.fsync, os.replace

    def sync(handle: int) -> None:
        seen.append("names" if stat.S_ISDIR(os.fstat(handle).st_mode) else f"{os.fstat(handle).st_size} bytes")
        fsync(handle)

    def rename(source: str, target: str) -> None:
        seen.append("rename")
        replace(source, target)

    monkeypatch.setattr(os, "fsync", sync)
    monkeypatch.setattr(os, "replace", rename)
    return seen


def test_contents_are_on_the_disk_before_the_name_and_the_name_before_the_return(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = traced(monkeypatch)
    write_atomically(tmp_path / "plan.json", b"new")
    assert seen == ["3 bytes", "rename", "names"]
    seen.clear()
    with Replacement(tmp_path / "plan.json") as replacement:
        Path(replacement.temporary).write_bytes(b"by a library")
        assert (tmp_path / "plan.json").read_bytes() == b"new"
    assert seen == ["12 bytes", "rename", "names"]
    seen.clear()
    (tmp_path / "in").mkdir()
    move_into_place(tmp_path / "plan.json", tmp_path / "in" / "plan.json")
    assert seen == ["12 bytes", "rename", "names"]
    assert (tmp_path / "in" / "plan.json").read_bytes() == b"by a library"


#: File -> what it may write without ``Replacement``: scratch outside the user's folders, what lies in a temporary yet.
ELSEWHERE = {
    "schemas/atomic": {"os.replace(", 'open(target, "wb"'},
    "training/runs": {"torch.save("},  # to a replacement's temporary
    "video/files": {'open(self._replacement.temporary, "w"'},
    "adapters/weights": {"torch.save("},  # in a text
    "models/exporting": {"shutil.copyfile("},  # into a temporary folder
    "evaluation/vbench": {"tempfile.TemporaryDirectory(", ".write_text("},
    "study/setup": {"tempfile.TemporaryDirectory("},
    "play/recording": {"tempfile.TemporaryDirectory(", "tempfile.TemporaryFile(", "tempfile.gettempdir("},
    "games/vizdoom_game": {"tempfile.mkdtemp("},
    "cli/__init__": {'open("w"'},  # the null device
}
WRITES = re.compile(
    r"os\.(?:replace|rename)\(|\.rename\(|\.write_(?:text|bytes)\(|torch\.save\(|save_file\(|shutil\.(?:copy|move)\w*\("
    r"|tempfile\.\w+\(|\bopen\((?:[^()]*, ?)?\"[wax]b?\""
)


def test_every_file_is_written_by_this_module() -> None:
    found = {name: set(WRITES.findall(path.read_text(encoding="utf-8"))) for name, path in MODULES.items()}
    assert {name: calls for name, calls in found.items() if calls} == ELSEWHERE


@pytest.mark.parametrize("number", [errno.EACCES, errno.EINVAL, errno.EIO, errno.ENOSPC])
def test_a_folder_that_cannot_be_synced_is_no_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    fsync = os.fsync

    def refuse(handle: int) -> None:
        if stat.S_ISDIR(os.fstat(handle).st_mode):
            raise OSError(number, os.strerror(number))
        fsync(handle)

    monkeypatch.setattr(os, "fsync", refuse)
    write_atomically(tmp_path / "plan.json", b"new")
    assert (tmp_path / "plan.json").read_bytes() == b"new"
    assert [path.name for path in tmp_path.iterdir()] == ["plan.json"]


def test_a_file_system_without_syncs_is_no_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def lacks(_: int) -> None:
        raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))

    monkeypatch.setattr(os, "fsync", lacks)
    write_atomically(tmp_path / "plan.json", b"new")
    assert (tmp_path / "plan.json").read_bytes() == b"new"


def test_a_file_that_the_system_takes_in_pieces_is_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write = os.write
    monkeypatch.setattr(os, "write", lambda handle, data: write(handle, data[:3]))
    write_atomically(tmp_path / "plan.json", b"longer than three")
    assert (tmp_path / "plan.json").read_bytes() == b"longer than three"


def test_what_replaces_a_private_file_is_private_before_it_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "checkpoint.pt"
    path.touch(mode=0o600)
    replacement = Replacement(path)
    assert stat.S_IMODE(Path(replacement.temporary).stat().st_mode) == 0o600
    replacement.keep()
    path.chmod(0o444)
    with Replacement(path) if os.geteuid() == 0 else pytest.raises(PermissionError):
        Replacement(path).discard()
    assert stat.S_IMODE(path.stat().st_mode) == 0o444
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoint.pt"]


def test_a_replacement_that_is_discarded_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "checkpoint.pt"
    path.write_bytes(b"old")
    replacement = Replacement(path)
    with pytest.raises(TypeError), replacement:
        replacement.write("half")  # type: ignore[arg-type]
    replacement.discard()
    assert path.read_bytes() == b"old"
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoint.pt"]
    with pytest.raises(FileExistsError, match="a device or a pipe"):
        Replacement("/dev/null")


def test_a_process_that_is_killed_leaves_nothing_for_long(tmp_path: Path) -> None:
    code = f"""
import os, signal
from diagplan.schemas.atomic import Replacement
Replacement({str(tmp_path / "plan.json")!r}).write(b"half")
os.kill(os.getpid(), signal.SIGKILL)
"""
    assert subprocess.run([sys.executable, "-c", code]).returncode == -signal.SIGKILL
    (left,) = tmp_path.iterdir()
    if not sys.platform.startswith("linux"):
        os.utime(left, (0, 0))  # elsewhere age decides
    sweep.cache_clear()
    write_atomically(tmp_path / "other.json", b"new")
    assert [path.name for path in tmp_path.iterdir()] == ["other.json"]


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


@pytest.mark.parametrize("error", [SpecError("no"), KeyboardInterrupt()])
def test_a_folder_for_what_fails_goes_again_if_it_is_new_and_empty(tmp_path: Path, error: BaseException) -> None:
    def fails(at: Path, written: str | None = None) -> list[str]:
        def inside() -> None:
            with made_folder(at):
                assert at.is_dir()
                if written is not None:
                    (at / written).touch()
                raise error

        with pytest.raises(type(error)):
            inside()
        return sorted(path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*"))

    assert fails(tmp_path / "a" / "b") == []
    assert fails(tmp_path / "a" / "b", "kept") == ["a", "a/b", "a/b/kept"]
    (tmp_path / "old").mkdir()
    assert fails(tmp_path / "old") == ["a", "a/b", "a/b/kept", "old"]
    with made_folder(tmp_path / "new"):
        pass
    assert (tmp_path / "new").is_dir()


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
    with pytest.raises(DocumentError, match=f"^{re.escape(message)}$"), made_folder(f"{tmp_path}/{place}"):
        pass
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
