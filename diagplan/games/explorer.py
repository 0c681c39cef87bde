"""A player that explores: runs of moves in one direction, now and then a deed or a rest."""

from typing import Any

import numpy as np

from diagplan.games.contract import Game

__all__ = ["Explorer"]


class Explorer:
    """Chooses actions: moves are kept up for 2 to 8 steps, and given up soon where the way is blocked.

    Args:
        game: whose actions to choose from; it is not played here.
        seed: of the choices.
        rest: share of steps that do nothing or use what stands ahead, so that a model learns stillness too.
    """

    def __init__(self, game: Game, seed: int, *, rest: float = 0.15) -> None:
        self._moves = game.moves
        self._others = tuple(name for name in ("noop", "do", "attack", "use") if name in game.actions)
        self._random = np.random.default_rng(seed)
        self._rest = rest if self._others else 0.0
        self._run, self._left = self._moves[0], 0

    def choose(self, moved: Any = None) -> str:
        """The next action; ``moved`` is what the last one led to, (0, 0) meaning that the way was blocked."""
        if self._random.random() < self._rest:
            return str(self._random.choice(self._others))
        blocked = moved is not None and not any(moved)
        if self._left <= 0 or (blocked and self._random.random() < 0.5):
            self._run = str(self._random.choice([name for name in self._moves if name != self._run]))
            self._left = int(self._random.integers(2, 9))
        self._left -= 1
        return self._run
