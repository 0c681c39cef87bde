"""What was played comes back as a clip that other commands take."""

import io
import zipfile
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("av")
pytest.importorskip("PIL")

from diagplan.games.clips import read_clip
from diagplan.play.messages import picture
from diagplan.play.recording import Recording, packed


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
    recording = Recording(most=100)
    recording.begin(bytes(30))
    for number in range(50):
        recording.add(bytes([number]) * 30, {"action": str(number)})
    assert (len(recording), recording.size) == (3, 90)
    assert [line for _, line in recording.copy()] == [{"action": str(number)} for number in (47, 48, 49)]
    recording.add(bytes(500), None)
    assert len(recording) == 1
