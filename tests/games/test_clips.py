"""Clips come back as they were; hostile files are one clear error."""

import json
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("av")

from diagplan.evaluation.pictures import psnr
from diagplan.games.clips import FPS, Clip, read_actions, read_clip, write_clip
from diagplan.planner.errors import DocumentError


def clip_of(frames: int = 5, *, seed: int = 0) -> Clip:
    random = np.random.default_rng(seed)
    small = random.integers(0, 256, (frames, 2, 3, 3), dtype=np.uint8)
    return Clip(
        frames=small.repeat(16, axis=1).repeat(16, axis=2),
        actions=tuple(str(name) for name in random.choice(["noop", "do", "move_left"], frames - 1)),
        moved=tuple((int(x), 0) if x else None for x in random.integers(-1, 2, frames - 1)),
    )


def test_a_clip_comes_back(tmp_path: Path) -> None:
    clip = clip_of()
    write_clip(tmp_path / "a.mp4", clip)
    back = read_clip(tmp_path / "a.mp4")
    assert (back.actions, back.moved) == (clip.actions, clip.moved)
    assert psnr(clip.frames, back.frames) > 45
    lines = [json.loads(line) for line in (tmp_path / "a.jsonl").read_text().splitlines()]
    assert [line["action"] for line in lines] == list(clip.actions)
    assert FPS == 6


def test_an_interrupted_clip_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    for place in ("diagplan.video.files.VideoWriter.close", "diagplan.games.clips.write_atomically"):
        with monkeypatch.context() as patch:
            patch.setattr(place, interrupt)
            with pytest.raises(KeyboardInterrupt):
                write_clip(tmp_path / "a.mp4", clip_of())
        assert list(tmp_path.iterdir()) == []

    def late(path: Path, data: bytes) -> None:
        path.write_bytes(data)
        raise KeyboardInterrupt

    monkeypatch.setattr("diagplan.games.clips.write_atomically", late)
    with pytest.raises(KeyboardInterrupt):
        write_clip(tmp_path / "a.mp4", clip_of())
    assert list(tmp_path.iterdir()) == []  # actions without a video would be taken for a whole clip


HOSTILE = {
    "not JSON": ("{", "line 1"),
    "no object": ("[1]", "line 1"),
    "no action": ('{"moved": [0, 0]}', "line 1"),
    "action of another kind": ('{"action": 3}', "line 1"),
    "unknown key": ('{"action": "do"}\n{"action": "do", "reward": 1}', "line 2"),
    "moved of another kind": ('{"action": "do", "moved": [0.5, 0]}', r'"moved": \[COLUMNS, ROWS\]'),
    "moved is true": ('{"action": "do", "moved": [true, 0]}', r'"moved": \[COLUMNS, ROWS\]'),
    "moved too short": ('{"action": "do", "moved": [1]}', r'"moved": \[COLUMNS, ROWS\]'),
    "moved too far": ('{"action": "do", "moved": [1e400, 0]}', r'"moved": \[COLUMNS, ROWS\]'),
    "moved beyond int64": ('{"action": "do", "moved": [9999999999999999999, 0]}', "at most 4096 cells"),
    "a number of 5,000 digits": ('{"action": "do", "moved": [' + "1" * 5000 + ", 0]}", "line 1"),
    "nested deeply": ("[" * 100_000, "line 1"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_actions(tmp_path: Path, name: str) -> None:
    text, words = HOSTILE[name]
    (tmp_path / "a.jsonl").write_text(text)
    with pytest.raises(DocumentError, match=words) as caught:
        read_actions(tmp_path / "a.jsonl")
    assert len(str(caught.value)) < 600


def test_actions_that_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_bytes(b"\xff\xfe{}")
    with pytest.raises(DocumentError, match="not UTF-8"):
        read_actions(tmp_path / "a.jsonl")
    for name in ("none.jsonl", "."):
        with pytest.raises(DocumentError, match="cannot read the actions"):
            read_actions(tmp_path / name)
    with (tmp_path / "a.jsonl").open("wb") as file:
        file.truncate((64 << 20) + 1)
    with pytest.raises(DocumentError, match="at most 64 MiB"):
        read_actions(tmp_path / "a.jsonl")


def test_lines_end_at_newlines_alone(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"action": "a\u2028b"}\r\n\n{"action": "do"}')
    assert read_actions(tmp_path / "a.jsonl") == [{"action": "a\u2028b"}, {"action": "do"}]


def test_too_few_actions_and_a_truncated_video(tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    write_clip(path, clip_of(frames=5))
    lines = path.with_suffix(".jsonl").read_text().splitlines(keepends=True)
    path.with_suffix(".jsonl").write_text("".join([*lines, lines[0]]))
    assert len(read_clip(path).actions) == 4  # a line more is fine
    path.with_suffix(".jsonl").write_text("".join(lines[:3]))
    with pytest.raises(DocumentError, match=r"expected 4 actions for the 5 frames of .*a\.mp4, got 3"):
        read_clip(path)
    path.write_bytes(path.read_bytes()[:-50])
    with pytest.raises(DocumentError, match="cannot read the video"):
        read_clip(path)
