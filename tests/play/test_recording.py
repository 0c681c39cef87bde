"""What was played comes back as a clip that other commands take."""

import gc
import io
import tempfile
import tracemalloc
import zipfile
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("av")
pytest.importorskip("PIL")

from diagplan.games.clips import read_clip
from diagplan.play.messages import picture
from diagplan.play.recording import Recording, RecordingError, _Part, packed


def test_a_clip_comes_back(tmp_path: Path) -> None:
    levels = np.array([20, 90, 160, 230], dtype=np.uint8)
    frames = levels[:, None, None, None] * np.ones((1, 32, 48, 3), dtype=np.uint8)
    recording = Recording()
    recording.begin(picture(frames[3]))
    recording.begin(picture(frames[0]))
    for number, action in enumerate(["move_left", "noop", "do"], start=1):
        recording.add(picture(frames[number]), {"action": action})
    with zipfile.ZipFile(io.BytesIO(packed(recording.copy(), 12))) as archive:
        archive.extractall(tmp_path)
    clip = read_clip(tmp_path / "played.mp4")
    assert clip.actions == ("move_left", "noop", "do")
    assert np.abs(clip.frames.astype(int) - frames).max() <= 3


def test_it_forgets_what_is_old() -> None:
    recording = Recording(most=800)
    recording.begin(bytes(30))
    for number in range(50):
        recording.add(bytes([number]) * 60, {"action": str(number)})
    assert 600 < recording.size <= 800
    held = list(recording.copy())
    assert held == [(bytes([number]) * 60, {"action": str(number)}) for number in range(50 - len(held), 50)]
    recording.add(bytes(5000), None)
    assert list(recording.copy())[-1] == (bytes(5000), None)
    assert len(recording) <= 2
    recording.begin(bytes(3))
    assert list(recording.copy()) == [(bytes(3), None)]


def test_a_copy_holds_what_was_there_when_it_was_taken() -> None:
    recording = Recording(most=400)
    recording.begin(b"start")
    recording.add(b"one", {"action": "do"})
    held = recording.copy()
    for _ in range(50):
        recording.add(bytes(60), None)
    recording.begin(b"anew")
    assert (len(held), list(held)) == (2, [(b"start", None), (b"one", {"action": "do"})])


def test_its_memory_does_not_grow() -> None:
    recording = Recording()
    recording.begin(bytes(20_000))
    tracemalloc.start()
    try:
        for _ in range(1000):
            recording.add(bytes(20_000), {"action": "do"})
        grown, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert recording.size > 20_000_000
    assert grown < 100_000


def test_without_a_folder_nothing_is_kept_and_nothing_is_printed(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    recording = Recording()
    with monkeypatch.context() as patch:
        patch.setattr(tempfile, "tempdir", str(tmp_path / "gone"))
        recording.begin(b"start")  # pytest fails it where an object's end is heard of
        gc.collect()
    with pytest.raises(RecordingError, match="No such file"):
        recording.copy()


def test_a_full_disk_ends_the_recording_and_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    recording = Recording()
    recording.begin(b"start")

    def full(part: _Part, data: bytes) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(_Part, "add", full)
        recording.add(b"one", None)
    recording.add(b"two", None)  # a clip with a gap would be none
    with pytest.raises(RecordingError, match=r"No space left on device.*start anew"):
        recording.copy()
    recording.begin(b"anew")
    assert list(recording.copy()) == [(b"anew", None)]
