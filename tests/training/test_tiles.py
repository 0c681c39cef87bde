"""Tiles: cut and joined, sorted by look, drawn evenly."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("torch")
pytest.importorskip("av")
pytest.importorskip("diffusers")

from diagplan.games.clips import list_clips
from diagplan.training.tiles import TileBank, TileCodes, cut, join, load_frames
from tests.support.scrolling import CODES, COLS, ROWS, scrolls, write_scrolls


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_scrolls(tmp_path_factory.mktemp("clips"))


@given(*[st.integers(1, 3)] * 3, st.integers(1, 5))
def test_tiles_are_cut_and_joined_to_what_was(n: int, rows: int, cols: int, side: int) -> None:
    frames = np.random.default_rng(0).integers(0, 256, (n, rows * side, cols * side, 3), dtype=np.uint8)
    tiles = cut(frames, side)
    assert tiles.shape == (n, rows, cols, side, side, 3)
    for row, col in np.ndindex(rows, cols):
        tile = frames[:, row * side : (row + 1) * side, col * side : (col + 1) * side]
        np.testing.assert_array_equal(tiles[:, row, col], tile)
    np.testing.assert_array_equal(join(tiles), frames)


def test_tiles_of_one_look_have_one_code(clips: Path) -> None:
    frames = load_frames(list_clips(clips / "train"), 5)
    assert frames.shape == (15, ROWS * 4, COLS * 4, 3)
    looks = TileCodes(TileBank(frames, 4), 16)
    assert len(looks.centres) == CODES  # as many as there are colours, not as many as are allowed
    codes = looks.assign(frames, 4)
    assert codes.shape == (15, ROWS, COLS)
    truth = np.concatenate([scrolls(3, 5, seed=5).frames[n] for n in range(3)])
    assert len({*zip(codes.ravel().tolist(), truth.ravel().tolist(), strict=True)}) == CODES
