"""A world without a network: tokens are brightness, four by four pixels each; it moves as the clips say."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import numpy as np

from diagplan.games.clips import Clip, read_actions, write_clip
from diagplan.planner.layout import Layout
from diagplan.schemas.world import ActionWords
from diagplan.worlds import World

__all__ = ["IDS", "MOVES", "ROWS", "SmallTokenizer", "small_world", "write_moving_clip"]

ROWS, COLS, SIDE = 7, 9, 4
#: Actions that move the player, and one that does not.
MOVES: Mapping[str, tuple[int, int]] = {"left": (-1, 0), "right": (1, 0), "noop": (0, 0)}
IDS = {name: 64 + number for number, name in enumerate(MOVES)}


class SmallTokenizer:
    """32 levels of brightness: far enough apart for a codec."""

    codes, factor = 32, SIDE

    def encode(self, frames: Any) -> Any:
        """Tokens int64 [N, rows, cols] of frames [N, height, width, 3]."""
        return frames[:, SIDE // 2 :: SIDE, SIDE // 2 :: SIDE, 0].astype(np.int64) // 8

    def decode(self, tokens: Any) -> Any:
        """Frames of tokens."""
        levels = (8 * tokens + 4).astype(np.uint8)
        return levels.repeat(SIDE, 1).repeat(SIDE, 2)[..., None].repeat(3, 3)


class _Small:
    name, rows, cols, block, context_frames, fps = "small", ROWS, COLS, 1, 4, 6
    keeps: int | None = None
    map_rows: int | None = None
    controls = None
    height, width = ROWS * SIDE, COLS * SIDE

    def __init__(self) -> None:
        self.tokenizer = SmallTokenizer()
        self.words: ActionWords | None = ActionWords(
            begin=70, end=71, ids=IDS, opposites={"left": "right", "right": "left"}
        )

    def read_actions(self, path: Path) -> Any:
        return np.array([[IDS[line["action"]]] for line in read_actions(path)], np.int64)

    def layout(self, frames: int, prompt_frames: int = 1) -> Layout:
        return Layout(frames=frames, rows=ROWS, cols=COLS, prompt_frames=prompt_frames, between_frames=1)

    def window(self, keep: int) -> Layout:
        return self.layout(self.context_frames - keep, keep)


def small_world(**changed: Any) -> World:
    """The world; ``changed`` replaces attributes."""
    world = _Small()
    for name, value in changed.items():
        setattr(world, name, value)
    return cast("World", world)


def write_moving_clip(path: Path, actions: list[str], *, seed: int = 0) -> Any:
    """A clip in which the picture follows the player over a random field; the tokens of its frames, [T, rows, cols]."""
    field = np.random.default_rng(seed).integers(0, 32, (ROWS, COLS + 2 * len(actions)))
    at = np.cumsum([len(actions), *(MOVES[name][0] for name in actions)])
    tokens = np.stack([field[:, left : left + COLS] for left in at])
    frames = SmallTokenizer().decode(tokens)
    write_clip(path, Clip(frames=frames, actions=tuple(actions), moved=tuple(MOVES[name] for name in actions)))
    return tokens
