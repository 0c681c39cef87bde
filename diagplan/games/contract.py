"""What a game must offer to be recorded."""

from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

__all__ = ["Game", "Step"]


class Step(NamedTuple):
    """What one action led to.

    Attributes:
        frame: uint8 [height, width, 3], after the action.
        moved: whole cells that the player moved by, (columns right, rows down); ``None`` where a game has no cells.
        over: the world ended; ``reset`` begins another one.
    """

    frame: NDArray[np.uint8]
    moved: tuple[int, int] | None
    over: bool


class Game(Protocol):
    """A game, deterministic: one seed and one list of actions give one list of frames, in any process.

    Attributes:
        name: as on the command line.
        actions: every action that ``step`` takes.
        moves: of those, the ones that move the player.
        height, width: of a frame in pixels.
        map_rows: rows of squares of 16 pixels, from the top, that move with the player; ``None`` where nothing does.
    """

    name: str
    actions: tuple[str, ...]
    moves: tuple[str, ...]
    height: int
    width: int
    map_rows: int | None

    def reset(self, seed: int) -> NDArray[np.uint8]:
        """Begin the world of this seed and return its first frame, uint8 [height, width, 3]."""
        ...

    def step(self, action: str) -> Step:
        """Play one action."""
        ...

    def close(self) -> None:
        """Let go of what the game holds."""
        ...
