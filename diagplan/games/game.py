"""What a game must offer to be recorded."""

from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from diagplan.planner.errors import SpecError

__all__ = ["Game", "Step", "open_game"]


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


def open_game(name: str, *, rows: int, cols: int) -> Game:
    """Open a game by name, its frames ``16 rows`` by ``16 cols`` pixels.

    Raises:
        SpecError: no such game, or a size that it cannot show.
        MissingExtraError: its package is not installed.
    """
    if name == "crafter":
        from diagplan.games.crafter_game import CrafterGame

        return CrafterGame(rows=rows, cols=cols)
    if name == "vizdoom":
        from diagplan.games.vizdoom_game import VizdoomGame

        return VizdoomGame(rows=rows, cols=cols)
    raise SpecError(f"expected game to be crafter or vizdoom, got game={name!r}.")
