"""What every frame tokenizer checks, and the chunks in which frames reach its network, without any network."""

import re
from typing import Any

import numpy as np
import pytest

from diagplan.adapters.frame_tokenizer import FrameTokenizer
from diagplan.planner.errors import SpecError


class Means(FrameTokenizer):
    """A token is the first byte of its square, and its picture is that byte."""

    def __init__(self) -> None:
        super().__init__(codes=256, factor=4)
        self.chunks: list[int] = []

    def codes_of(self, frames: Any) -> Any:
        assert frames.flags.c_contiguous
        self.chunks.append(len(frames))
        return frames[:, ::4, ::4, 0].astype(np.int64)

    def pictures_of(self, tokens: Any) -> Any:
        assert tokens.flags.c_contiguous
        assert tokens.dtype == np.int64
        self.chunks.append(len(tokens))
        return np.repeat(tokens.astype(np.uint8).repeat(4, 1).repeat(4, 2)[..., None], 3, axis=-1)


@pytest.mark.parametrize(("frames", "chunks"), [(1, [1]), (16, [16]), (35, [16, 16, 3])])
def test_frames_go_in_chunks_and_stay_in_order(frames: int, chunks: list[int]) -> None:
    tokenizer = Means()
    tokens = np.arange(frames * 6, dtype=np.int16).reshape(frames, 2, 3) % 256
    pictures = tokenizer.decode(tokens)
    assert pictures.shape == (frames, 8, 12, 3)
    assert pictures.dtype == np.uint8
    np.testing.assert_array_equal(tokenizer.encode(pictures), tokens)
    assert tokenizer.chunks == chunks * 2


def test_views_are_copied() -> None:
    frames = np.random.default_rng(0).integers(0, 256, (3, 8, 12, 3), dtype=np.uint8)
    np.testing.assert_array_equal(Means().encode(frames[:, :, ::-1]), Means().encode(frames[:, :, ::-1].copy()))
    tokens = Means().encode(frames)
    np.testing.assert_array_equal(Means().decode(tokens[::-1]), Means().decode(tokens[::-1].copy()))


@pytest.mark.parametrize(
    ("frames", "words"),
    [
        (np.zeros((2, 8, 12), np.uint8), "expected frames uint8 [T, height, width, 3], got uint8 (2, 8, 12)."),
        (np.zeros((2, 8, 12, 4), np.uint8), "expected frames uint8 [T, height, width, 3]"),
        (np.zeros((2, 8, 12, 3)), "expected frames uint8 [T, height, width, 3], got float64"),
        (np.zeros((0, 8, 12, 3), np.uint8), "expected at least one frame, got (0, 8, 12, 3)"),
        (np.zeros((1, 10, 12, 3), np.uint8), "expected sides that are multiples of 4 pixels, got 10 x 12"),
        (np.zeros((1, 8, 13, 3), np.uint8), "expected sides that are multiples of 4 pixels, got 8 x 13"),
    ],
)
def test_frames_that_are_refused(frames: Any, words: str) -> None:
    tokenizer = Means()
    with pytest.raises(SpecError, match=re.escape(words)):
        tokenizer.encode(frames)
    assert tokenizer.chunks == []


@pytest.mark.parametrize(
    ("tokens", "words"),
    [
        (np.zeros((2, 3), int), "expected tokens [T, rows, cols] of integers, got int64 (2, 3)"),
        (np.zeros((1, 2, 3)), "expected tokens [T, rows, cols] of integers, got float64"),
        (np.zeros((0, 2, 3), int), "expected at least one frame of tokens, got (0, 2, 3)"),
        (np.full((1, 2, 3), -1), "expected tokens from 0 to 255, got -1 to -1"),
        (np.arange(250, 258).reshape(1, 2, 4), "expected tokens from 0 to 255, got 250 to 257"),
    ],
)
def test_tokens_that_are_refused(tokens: Any, words: str) -> None:
    tokenizer = Means()
    with pytest.raises(SpecError, match=re.escape(words)):
        tokenizer.decode(tokens)
    assert tokenizer.chunks == []
