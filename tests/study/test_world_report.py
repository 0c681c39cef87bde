"""What a world model is worth: windows with motion, quality by horizon, moves that are followed."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("av")
pytest.importorskip("PIL")
pytest.importorskip("skimage")

from diagplan.evaluation.pictures import psnr, ssim
from diagplan.games.clips import list_clips
from diagplan.planner.errors import DocumentError, SpecError
from diagplan.study.world_report import (
    Horizons,
    Windows,
    WorldReport,
    counted_moves,
    decoded,
    followed_moves,
    judge_frames,
    read_windows,
    report_world,
    teacher_forced,
)
from tests.support.small_world import COLS, IDS, MOVES, ROWS, SmallTokenizer, small_world, write_moving_clip


def windows_of(tokens: Any, actions: list[str]) -> Windows:
    moved = np.array([[MOVES[name] for name in actions]])
    blocks = np.array([[[IDS[name]] for name in actions]])
    return Windows(frames=SmallTokenizer().decode(tokens)[None], tokens=tokens[None], actions=blocks, moved=moved)


def test_windows_are_taken_evenly_from_clips_with_motion(tmp_path: Path) -> None:
    way = ["right", "left", "right", "noop"]
    first = write_moving_clip(tmp_path / "a.mp4", way * 2 + ["right"] * 3)
    second = write_moving_clip(tmp_path / "b.mp4", ["noop"] * 4 + ["left"] * 3, seed=1)
    world, paths = small_world(), list_clips(tmp_path)
    windows = read_windows(world, paths, 9)
    starts = [(first, 0), (first, 4), (second, 4), (first, 8)]  # the first of each clip, then the second, ...
    assert len(windows.tokens) == 4
    for number, (tokens, start) in enumerate(starts):
        np.testing.assert_array_equal(windows.tokens[number], tokens[start : start + 4])
    assert windows.moved[2].tolist() == [[-1, 0]] * 3
    assert windows.actions[0].ravel().tolist() == [IDS[name] for name in way[:3]]
    few = read_windows(world, paths, 2)
    np.testing.assert_array_equal(few.tokens, windows.tokens[:2])
    with pytest.raises(DocumentError, match="expected clips of 4 frames with motion, got none"):
        read_windows(world, paths, 9, least_moves=4)


def test_quality_is_that_of_each_horizon() -> None:
    random = np.random.default_rng(0)
    tokens = random.integers(0, 30, (4, ROWS, COLS))
    windows = windows_of(tokens, ["right"] * 3)
    made = tokens[None, 1:].copy()
    made[0, 1, 0] += 1  # one row of seven, in the second generated frame
    made[0, 2] = 0
    frames = decoded(small_world(), made)
    horizons = judge_frames(windows, made, frames)
    assert horizons.tokens == pytest.approx((1, 6 / 7, float(np.mean(tokens[3] == 0))))
    assert horizons.psnr[0] == float("inf")
    assert horizons.psnr[1:] == tuple(psnr(windows.frames[:, i], frames[:, i - 1]) for i in (2, 3))
    assert horizons.ssim[2] == pytest.approx(ssim(windows.frames[:, 3], frames[:, 2]))


def test_frames_are_decoded_clip_by_clip() -> None:
    tokens = np.random.default_rng(0).integers(0, 30, (2, 3, ROWS, COLS))
    frames = decoded(small_world(), tokens)
    for clip in range(2):
        np.testing.assert_array_equal(frames[clip], SmallTokenizer().decode(tokens[clip]))


def test_a_rollout_follows_the_moves_that_its_tokens_make(tmp_path: Path) -> None:
    actions = ["right", "left", "left", "noop"]
    tokens = write_moving_clip(tmp_path / "a.mp4", actions)[None]
    moved = np.array([[MOVES[name] for name in actions]])
    assert counted_moves(tokens, moved).tolist() == [[True, True, True, False]]  # standing still is no move
    assert followed_moves(tokens, moved).all()
    assert followed_moves(tokens, -moved).tolist() == [[False, False, False, True]]
    still = tokens[:, :1].repeat(5, axis=1)
    assert followed_moves(still, moved).tolist() == [[False, False, False, True]]


def test_rows_below_the_map_do_not_count(tmp_path: Path) -> None:
    actions = ["right", "left", "right"]
    tokens = write_moving_clip(tmp_path / "a.mp4", actions)[None].copy()
    tokens[:, :, 5:] = np.arange(4)[:, None, None]  # the inventory changes with every frame
    moved = np.array([[MOVES[name] for name in actions]])
    assert counted_moves(tokens, moved, 5).all()
    assert not counted_moves(tokens, moved).any()
    assert followed_moves(tokens, moved, 5).all()


def test_a_world_without_words_or_opposites_is_not_teacher_forced() -> None:
    pytest.importorskip("torch")
    pytest.importorskip("diffusers")
    windows = windows_of(np.zeros((4, ROWS, COLS), np.int64), ["right"] * 3)
    with pytest.raises(SpecError, match="expected actions with opposites, got none in small"):
        teacher_forced(small_world(words=None), windows)


def test_a_map_needs_three_cells_a_side() -> None:
    windows = windows_of(np.zeros((4, ROWS, COLS), np.int64), ["right"] * 3)
    with pytest.raises(SpecError, match="a map of at least 3 x 3 tokens, got 2 x 9"):
        report_world(small_world(), windows, {}, map_rows=2)


def test_a_report_is_written_as_json() -> None:
    horizons = Horizons(tokens=(1.0,), psnr=(20.0,), ssim=(0.5,))
    report = WorldReport(
        windows=1, tokenizer_psnr=30.0, loss=0.1, accuracy=0.9, moved_loss=0.2, action_gap=0.3, repeat=horizons,
        rollouts={"k=1": horizons}, following={"truth": 1.0}, clear_moves=4, passes={"k=1": 14},
    )  # fmt: skip
    back = json.loads(json.dumps(report.as_dict()))
    assert back["rollouts"] == {"k=1": {"tokens": [1.0], "psnr": [20.0], "ssim": [0.5]}}
    assert (back["passes"], back["action_gap"]) == ({"k=1": 14}, 0.3)


def test_a_clip_that_lacks_motion_is_refused(tmp_path: Path) -> None:
    write_moving_clip(tmp_path / "still.mp4", ["noop"] * 7)
    with pytest.raises(DocumentError, match="with motion, got none"):
        read_windows(small_world(), [tmp_path / "still.mp4"], 4)
