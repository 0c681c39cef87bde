"""What every image tokenizer that works frame by frame checks, whatever runs its network."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from diagplan.planner.errors import SpecError

__all__ = ["FrameTokenizer"]

#: Frames that go through the network at a time.
_CHUNK = 16


class FrameTokenizer:
    """Frames to tokens and back; a token stands for a square of ``factor`` pixels.

    Args:
        codes: entries of the codebook.
        factor: pixels of a token's side.
    """

    def __init__(self, codes: int, factor: int) -> None:
        self.codes, self.factor = codes, factor

    def encode(self, frames: NDArray[np.uint8]) -> NDArray[np.int64]:
        """Tokens int64 [T, height / factor, width / factor] of frames uint8 [T, height, width, 3].

        Raises:
            SpecError: frames of another shape or dtype, or sides that ``factor`` does not divide.
        """
        if frames.ndim != 4 or frames.shape[-1] != 3 or frames.dtype != np.uint8:
            raise SpecError(f"expected frames uint8 [T, height, width, 3], got {frames.dtype} {frames.shape}.")
        if not frames.size:
            raise SpecError(f"expected at least one frame, got {frames.shape}.")
        if frames.shape[1] % self.factor or frames.shape[2] % self.factor:
            raise SpecError(
                f"expected sides that are multiples of {self.factor} pixels, got {frames.shape[1]} x {frames.shape[2]}."
            )
        whole = np.ascontiguousarray(frames)
        return np.concatenate([self.codes_of(whole[at : at + _CHUNK]) for at in range(0, len(whole), _CHUNK)])

    def decode(self, tokens: NDArray[np.integer[Any]]) -> NDArray[np.uint8]:
        """Frames uint8 [T, height, width, 3] of tokens [T, rows, cols].

        Raises:
            SpecError: tokens of another shape, or outside the codebook.
        """
        if tokens.ndim != 3 or not np.issubdtype(tokens.dtype, np.integer):
            raise SpecError(f"expected tokens [T, rows, cols] of integers, got {tokens.dtype} {tokens.shape}.")
        if not len(tokens):
            raise SpecError(f"expected at least one frame of tokens, got {tokens.shape}.")
        if tokens.size and (tokens.min() < 0 or tokens.max() >= self.codes):
            raise SpecError(f"expected tokens from 0 to {self.codes - 1}, got {tokens.min()} to {tokens.max()}.")
        whole = np.ascontiguousarray(tokens, dtype=np.int64)
        return np.concatenate([self.pictures_of(whole[at : at + _CHUNK]) for at in range(0, len(whole), _CHUNK)])

    def codes_of(self, frames: NDArray[np.uint8]) -> NDArray[np.int64]:
        """``encode`` for a few frames that were checked."""
        raise NotImplementedError

    def pictures_of(self, tokens: NDArray[np.int64]) -> NDArray[np.uint8]:
        """``decode`` for a few frames of tokens that were checked."""
        raise NotImplementedError
