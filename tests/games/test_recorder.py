"""Recordings: splits of other worlds, whole clips whatever happens, and the command that makes them."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from itertools import pairwise
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("av")

from diagplan.evaluation.pictures import psnr
from diagplan.games.clips import list_clips, read_clip
from diagplan.games.recorder import SPLITS, Recording, _work, end_processes, play, read_recording, record
from diagplan.planner.errors import DocumentError, SpecError

TINY: dict[str, Any] = {"rows": 6, "cols": 6, "frames": 4}


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("crafter")
    folder = tmp_path_factory.mktemp("recorded")
    record(Recording(**TINY, train=2, validation=1, test=1), folder)
    return folder


def files_of(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.glob("*/*"))}


def test_the_splits_have_other_worlds(recorded: Path) -> None:
    worlds = {name: {path.stem for path in list_clips(recorded / name)} for name in SPLITS}
    assert worlds == {
        "train": {"0000000", "0000001"}, "validation": {"1000000"}, "test": {"2000000"},
    }  # fmt: skip
    assert len({path.read_bytes() for path in recorded.glob("*/*.mp4")}) == 4


def test_the_splits_cannot_meet() -> None:
    firsts = sorted(SPLITS.values())
    assert min(b - a for a, b in pairwise(firsts)) > 900_000
    Recording(train=900_000)
    Recording(train=1, validation=0, test=0, seed=899_999)
    for wrong in ({"train": 900_001}, {"seed": 900_000}, {"seed": -1}, {"test": -1}):
        with pytest.raises(SpecError, match="must not meet"):
            Recording(**wrong)  # type: ignore[arg-type]
    for wrong in ({"frames": 1}, {"rows": 0}, {"cols": 0}):
        with pytest.raises(SpecError, match="at least 2 frames and a grid"):
            Recording(**wrong)  # type: ignore[arg-type]


def test_what_is_on_disk_is_what_was_played(recorded: Path) -> None:
    played = play(Recording(**TINY), 1)
    read = read_clip(recorded / "train" / "0000001.mp4")
    assert read.actions == played.actions
    assert read.moved == played.moved
    assert psnr(played.frames, read.frames) > 40


def test_the_card(recorded: Path) -> None:
    said = read_recording(recorded)
    assert (said["game"], said["rows"], said["cols"], said["frames"]) == ("crafter", 6, 6, 4)
    assert said["daylight"] == "noon"
    assert said["first_seeds"] == dict(SPLITS)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"game": 3, "rows": 6, "cols": 6, "frames": 4}', None])
def test_a_card_that_is_none(tmp_path: Path, text: str | None) -> None:
    if text is not None:
        (tmp_path / "recording.json").write_text(text)
    with pytest.raises(DocumentError, match=r"recording\.json"):
        read_recording(tmp_path)


def test_several_processes_record_the_same(recorded: Path, tmp_path: Path) -> None:
    seen: list[int] = []
    record(Recording(**TINY, train=2, validation=1, test=1), tmp_path, workers=2, on_clip=seen.append)
    assert files_of(tmp_path) == files_of(recorded)
    assert seen == [0, 1, 2, 3, 4]


def test_a_second_call_adds_what_is_missing(recorded: Path, tmp_path: Path) -> None:
    record(Recording(**TINY, train=1, validation=0, test=0), tmp_path)
    before = (tmp_path / "train" / "0000000.mp4").stat().st_mtime_ns
    seen: list[int] = []
    record(Recording(**TINY, train=2, validation=0, test=0), tmp_path, on_clip=seen.append)
    assert seen == [1, 2]
    assert (tmp_path / "train" / "0000000.mp4").stat().st_mtime_ns == before
    with pytest.raises(DocumentError, match="with other seed"):
        record(Recording(**TINY, seed=1), tmp_path)


def test_folders_that_cannot_be_used(tmp_path: Path) -> None:
    pytest.importorskip("crafter")
    (tmp_path / "file").touch()
    with pytest.raises(DocumentError, match="cannot make the folder"):
        record(Recording(**TINY), tmp_path / "file" / "clips")
    with pytest.raises(DocumentError, match="Record some: diagplan record"):
        list_clips(tmp_path)
    with pytest.raises(SpecError, match="workers=0"):
        record(Recording(**TINY), tmp_path, workers=0)


def group_lives(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


@pytest.fixture
def hears_interrupts() -> Iterator[None]:
    """Processes that a test begins hear Ctrl-C, even where the tests run in the background of a shell script."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("hears_interrupts")
def test_ctrl_c_leaves_whole_clips_and_no_process(tmp_path: Path) -> None:
    pytest.importorskip("crafter")
    arguments = ["--rows", "6", "--cols", "6", "--frames", "4", "--train", "999", "--workers", "2"]
    command = [sys.executable, "-m", "diagplan", "record", "-o", str(tmp_path), *arguments]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    deadline = time.monotonic() + 60
    while not list(tmp_path.glob("train/*.jsonl")) and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.02)
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does: to every process of the group
    out, err = process.communicate(timeout=30)
    assert process.returncode == 130
    assert out == ""
    assert err.startswith("diagplan: interrupted; the clips that are there are whole")
    assert err.count("\n") == 1
    while group_lives(process.pid) and time.monotonic() < deadline:  # multiprocessing's own tracker ends a little later
        time.sleep(0.02)
    assert not group_lives(process.pid)
    left = {path.name for path in tmp_path.glob("*/*")} | {path.name for path in tmp_path.glob("*/.*")}
    assert left == {f"{path.stem}{end}" for path in list_clips(tmp_path / "train") for end in (".mp4", ".jsonl")}
    assert len(read_clip(list_clips(tmp_path / "train")[0]).frames) == 4


def leave_at_the_second_call(ready: Connection) -> None:
    calls = []

    def leave(*_: object) -> None:
        calls.append(1)
        if len(calls) > 1:
            sys.exit(1)

    signal.signal(signal.SIGTERM, leave)
    ready.send(None)
    time.sleep(60)


def test_a_process_that_swallows_its_first_end_is_ended() -> None:
    context = get_context("spawn")
    reader, writer = context.Pipe(duplex=False)
    process = context.Process(target=leave_at_the_second_call, args=(writer,), daemon=True)
    process.start()
    reader.recv()
    end_processes([process])
    assert process.exitcode == 1
    reader.close()
    writer.close()


def test_a_process_whose_parent_was_killed_ends_and_says_nothing(capfd: pytest.CaptureFixture[str]) -> None:
    context = get_context("spawn")
    reader, writer = context.Pipe(duplex=False)
    process = context.Process(target=_work, args=([(Recording(game="none"), 0, Path("none.mp4"))], writer), daemon=True)
    process.start()
    reader.close()
    writer.close()
    process.join(60)
    assert process.exitcode == 0
    assert capfd.readouterr().err == ""
