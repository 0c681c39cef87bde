"""Tiles: cut and joined, sorted by look, drawn evenly."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from diagplan.video.files import read_video

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


def flats(levels: list[int], side: int = 4) -> Any:
    """One row of tiles of one brightness each, [1, side, side n, 3]."""
    return np.array(levels, np.uint8).repeat(side)[None, None, :, None].repeat(side, 1).repeat(3, 3)


def test_rare_tiles_are_drawn_more_often_than_they_occur() -> None:
    frames = flats([0] * 90 + [200] * 10)
    drawn = {
        evenness: TileBank(frames, 4, evenness=evenness).tiles(np.random.default_rng(0), 4000).mean() / 200
        for evenness in (0.0, 0.75, 1.0)
    }
    assert drawn[0.0] == pytest.approx(0.1, abs=0.02)
    assert drawn[0.75] == pytest.approx(10**0.25 / (10**0.25 + 90**0.25), abs=0.03)
    assert drawn[1.0] == pytest.approx(0.5, abs=0.03)


def test_what_was_seen_once_is_a_coders_noise_unless_there_is_nothing_else() -> None:
    tiles = TileBank(flats([0] * 5 + [90, 200, 200]), 4).tiles(np.random.default_rng(0), 500)
    assert set(tiles.ravel().tolist()) == {0}
    every = TileBank(flats([0, 90, 200]), 4).tiles(np.random.default_rng(0), 500)
    assert set(every.ravel().tolist()) == {0, 90, 200}


def test_mosaics_and_crops_are_made_of_whole_tiles() -> None:
    frames = np.concatenate([flats([10 * i + j for j in range(6)]) for i in range(5)], axis=1)
    bank, random = TileBank(frames, 4), np.random.default_rng(0)
    mosaics, crops = bank.mosaics(random, 7, 2, 3), bank.crops(random, 9, 2, 3)
    assert (mosaics.shape, crops.shape) == ((7, 8, 12, 3), (9, 8, 12, 3))
    for tile in cut(mosaics, 4).reshape(-1, 48):
        assert len(set(tile.tolist())) == 1
    corners = cut(crops, 4)[:, :, :, 0, 0, 0].astype(int)
    np.testing.assert_array_equal(corners[:, 1] - corners[:, 0], 10)  # a frame's own neighbours
    np.testing.assert_array_equal(np.diff(corners, axis=2), 1)
    assert len(set((corners[:, 0, 0] // 10).tolist())) > 1
    assert len(set((corners[:, 0, 0] % 10).tolist())) > 1


def test_codes_are_no_more_than_the_limit_and_the_nearest() -> None:
    frames = flats([0, 0, 0, 40, 40, 40, 41, 41, 41, 250, 250, 250])
    codes = TileCodes(TileBank(frames, 4), 8)
    names = codes.assign(frames, 4)[0, 0].tolist()
    assert len(codes.centres) == 3  # 40 and 41 look alike
    assert names[0] != names[3] == names[8] != names[9] != names[0]
    assert len(TileCodes(TileBank(frames, 4), 2).centres) == 2


def test_frames_are_spread_over_a_clip(clips: Path) -> None:
    path = list_clips(clips / "train")[0]
    whole = read_video(path)
    np.testing.assert_array_equal(load_frames([path], 3), whole[[0, 2, 4]])
    assert len(load_frames([path], 99)) == len(whole)
