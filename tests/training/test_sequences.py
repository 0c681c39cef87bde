"""Clips as token sequences, and tokens on disk."""

from pathlib import Path

import numpy as np
import pytest

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
