"""Clips as token sequences, and tokens on disk."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from diagplan.games.clips import Clip, read_clip, write_clip
from diagplan.planner.errors import DocumentError
from diagplan.training.sequences import clips_key, tokenize_clips
from tests.support.scrolling import scrolls

pytest.importorskip("torch")
pytest.importorskip("av")
pytest.importorskip("diffusers")

from diagplan.games.clips import list_clips
from diagplan.training.sequences import TokenClips, read_tokens, tokens_key, write_tokens
from tests.support.scrolling import TRAIN, WORDS, write_scrolls


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_scrolls(tmp_path_factory.mktemp("clips"))


def test_sequences_are_frames_with_actions_between() -> None:
    two = TokenClips(
        frames=np.arange(6).reshape(1, 3, 1, 2), actions=np.array([[9, 8]]), moved=np.zeros((1, 2, 2), np.int64)
    )
    assert two.sequences(6, 7).tolist() == [[0, 1, 6, 9, 7, 2, 3, 6, 8, 7, 4, 5]]
    window = two.windows(np.array([0, 0]), np.array([1, 0]), 2)
    assert window.sequences(6, 7).tolist() == [[2, 3, 6, 8, 7, 4, 5], [0, 1, 6, 9, 7, 2, 3]]


def test_tokens_are_kept_with_what_they_come_from(clips: Path, tmp_path: Path) -> None:
    paths = list_clips(clips / "train")
    key = tokens_key(paths, [paths[0]], WORDS.ids)
    assert key != tokens_key(paths[1:], [paths[0]], WORDS.ids)
    assert key != tokens_key(paths, [paths[1]], WORDS.ids)
    assert key != tokens_key(paths, [paths[0]], {"noop": 3})
    write_tokens(tmp_path / "t.npz", TRAIN, key)
    back = read_tokens(tmp_path / "t.npz", key)
    assert back is not None
    for name in ("frames", "actions", "moved"):
        np.testing.assert_array_equal(getattr(back, name), getattr(TRAIN, name))
    assert read_tokens(tmp_path / "t.npz", "another") is None
    assert read_tokens(tmp_path / "none.npz", key) is None
    for data in (b"", b"hello", (tmp_path / "t.npz").read_bytes()[:-30]):
        (tmp_path / "t.npz").write_bytes(data)
        assert read_tokens(tmp_path / "t.npz", key) is None


class Brightness:
    """A tokenizer of one cell in four by four pixels: its brightness."""

    def encode(self, frames: Any) -> Any:
        return frames[:, ::4, ::4].astype(np.int64).mean(-1).astype(np.int64) // 64


def test_clips_become_tokens_action_ids_and_moves(clips: Path) -> None:
    paths, seen = list_clips(clips / "train"), list[int]()
    tokenizer: Any = Brightness()
    tokens = tokenize_clips(paths, tokenizer, WORDS.ids, on_clip=seen.append)
    assert seen == [1, 2, 3]
    played = scrolls(3, 5, seed=len("train"))
    np.testing.assert_array_equal(tokens.actions, played.actions)
    np.testing.assert_array_equal(tokens.moved, played.moved)
    for number, path in enumerate(paths):
        np.testing.assert_array_equal(tokens.frames[number], tokenizer.encode(read_clip(path).frames))


def test_clips_that_do_not_fit_are_named(clips: Path, tmp_path: Path) -> None:
    paths, tokenizer = list_clips(clips / "train"), Brightness()
    with pytest.raises(DocumentError, match=r"expected actions of noop, move_left, got move_right in .*\.mp4"):
        tokenize_clips(paths, tokenizer, {"noop": 8, "move_left": 9})  # type: ignore[arg-type]
    short = read_clip(paths[0])
    write_clip(tmp_path / "z.mp4", Clip(frames=short.frames[:2], actions=short.actions[:1], moved=short.moved[:1]))
    with pytest.raises(DocumentError, match=r"one length and size, got .*z\.mp4 with another than"):
        tokenize_clips([paths[0], tmp_path / "z.mp4"], tokenizer, WORDS.ids)  # type: ignore[arg-type]


def test_a_key_names_the_clips(clips: Path, tmp_path: Path) -> None:
    paths = list_clips(clips / "train")
    assert clips_key(paths) == clips_key(list(paths))
    assert clips_key(paths) != clips_key(paths[::-1]) != clips_key(paths[:2])
    with pytest.raises(DocumentError, match=r"cannot read .*none\.mp4: No such file"):
        clips_key([tmp_path / "none.mp4"])


@pytest.mark.parametrize(
    "change",
    [
        {"frames": np.zeros((1, 2, 2, 3))},
        {"moved": np.zeros(3, int)},
        {"key": np.array(3)},
        {"key": np.array("\ud800")},
    ],
    ids=str,
)
def test_tokens_of_another_kind_are_none(change: dict[str, Any], tmp_path: Path) -> None:
    whole: dict[str, Any] = {
        "frames": np.zeros((1, 2, 2, 3), int),
        "actions": np.zeros((1, 1), int),
        "moved": np.zeros((1, 1, 2), int),
    }
    np.savez(tmp_path / "t.npz", key=np.array("k"), **whole)
    assert read_tokens(tmp_path / "t.npz", "k") is not None
    changed: dict[str, Any] = {"key": np.array("k"), **whole, **change}
    np.savez(tmp_path / "t.npz", **changed)
    assert read_tokens(tmp_path / "t.npz", "k") is None
