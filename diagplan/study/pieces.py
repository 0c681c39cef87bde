"""Pieces of videos as tokens, and tokens as pictures, whether a world's tokenizer takes frames or whole clips.

Shapes: N pieces, F given and T generated frames of tokens; a frame of tokens may stand for several of pixels.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from diagplan.backends.given import given_from_prompt
from diagplan.planner.layout import Layout
from diagplan.study.world_report import decoded
from diagplan.worlds import World
from diagplan.worlds.clip_world import ClipWorld

__all__ = ["by_token_frame", "given_ids", "made_frames", "piece_tokens", "pixel_frames"]

Ids = NDArray[np.int64]
Frames = NDArray[np.uint8]


def piece_tokens(world: World, frames: Frames, given: int) -> Ids:
    """Tokens [N, F + T, rows, cols] of whole pieces.

    Where a tokenizer takes clips, the given frames are encoded as ``generate`` encodes a prompt, without those after
    them.

    Args:
        world: whose tokenizer to use.
        frames: uint8 [N, n, height, width, 3].
        given: how many of the n are given.
    """
    if isinstance(world, ClipWorld):
        clips = []
        for piece in frames:
            tokens = world.tokenizer.encode(piece)
            prompt = world.encode(piece[:given])
            clips.append(np.concatenate([prompt, tokens[len(prompt) :]]))
        return np.stack(clips)
    tokens = world.tokenizer.encode(frames.reshape(-1, *frames.shape[2:]))
    whole: Ids = tokens.reshape(*frames.shape[:2], *tokens.shape[1:])
    return whole


def made_frames(world: World, prompt: Ids, tokens: Ids) -> Frames:
    """Pictures of generated tokens, uint8 [N, n, height, width, 3], without the given ones.

    Args:
        world: whose tokenizer to use.
        prompt: int [N, F, rows, cols], which a tokenizer of clips needs.
        tokens: int [N, T, rows, cols].
    """
    if not isinstance(world, ClipWorld):
        return decoded(world, tokens)
    first = world.pictures(prompt.shape[1])
    whole = np.concatenate([prompt, tokens], axis=1)
    return np.stack([world.tokenizer.decode(clip)[first:] for clip in whole])


def given_ids(world: World, layout: Layout, prompt: Ids, actions: Ids) -> Ids:
    """The given ids of a layout in slot order, int64 [N, G].

    Args:
        world: that knows what stands before the prompt.
        layout: of prompt and generated frames.
        prompt: int [N, F, rows, cols].
        actions: blocks int [N, F - 1 + T, n].
    """
    if isinstance(world, ClipWorld):
        return world.config.given(prompt)
    return given_from_prompt(layout, prompt, actions)


def pixel_frames(frames: int, token_frames: int, first: int) -> int:
    """How many frames of pixels the first ``first`` frames of tokens are.

    Args:
        frames: of pixels of a piece.
        token_frames: of the same piece.
        first: how many of these.

    >>> pixel_frames(33, 5, 2), pixel_frames(8, 8, 2)
    (9, 2)
    """
    step = (frames - 1) // (token_frames - 1)
    return 1 + (first - 1) * step


def by_token_frame(curve: NDArray[Any], token_frames: int) -> NDArray[np.float64]:
    """A figure of every frame of pixels, [N, n], as the mean over each frame of tokens, [N, T].

    >>> by_token_frame(np.array([[1.0, 3.0, 5.0, 5.0]]), 2)
    array([[2., 5.]])
    """
    means: NDArray[np.float64] = curve.reshape(len(curve), token_frames, -1).mean(2)
    return means
