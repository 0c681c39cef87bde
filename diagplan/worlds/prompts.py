"""What a world makes of the frames that it is given: whether its image tokenizer knows such pictures at all."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from diagplan.evaluation.pictures import psnr
from diagplan.video.frames import fit
from diagplan.worlds.world import World

__all__ = ["PromptCheck", "check_prompt", "cut_frames"]

#: Frames uint8 [height, width, 3], all of one size.
Frames = NDArray[np.uint8] | Sequence[NDArray[np.uint8]]


class PromptCheck(NamedTuple):
    """The prompt frames of a video, beside what a world's image tokenizer leaves of them.

    Attributes:
        height, width: pixels of the video's frames.
        cut: whether they were scaled and cut to the world's size.
        psnr: of the frames encoded and decoded against the frames as they were cut, in dB; infinite if they are equal.
        least: dB below which the tokenizer does not know such pictures; ``None``: nobody has measured that.
    """

    height: int
    width: int
    cut: bool
    psnr: float
    least: float | None

    @property
    def unlike(self) -> bool:
        """Whether the pictures are unlike those that the tokenizer was trained on."""
        return self.least is not None and self.psnr < self.least

    @property
    def finite_psnr(self) -> float | None:
        """``psnr`` to a hundredth, for JSON, which has no infinity: ``None``."""
        return round(self.psnr, 2) if math.isfinite(self.psnr) else None


def cut_frames(world: World, frames: Frames) -> NDArray[np.uint8]:
    """Frames uint8 [height, width, 3] of any size, cut to the world's: uint8 [n, height, width, 3]."""
    return np.stack([fit(frame, world.height, world.width) for frame in frames])


def check_prompt(world: World, frames: Frames) -> PromptCheck:
    """Encode and decode prompt frames, and compare; the transformer takes no part.

    Args:
        world: from ``load_world``.
        frames: uint8 [height, width, 3] each, of any one size.

    Raises:
        SpecError: no picture, or for worlds of whole clips a number of frames that none begins with.

    >>> check_prompt(world, read_video("clip.mp4", limit=1)).unlike  # doctest: +SKIP
    False
    """
    cut = cut_frames(world, frames)
    height, width = frames[0].shape[:2]
    return PromptCheck(
        height=height,
        width=width,
        cut=(height, width) != (world.height, world.width),
        psnr=psnr(cut, world.reconstruct(cut)),
        least=world.least_psnr,
    )
