"""Crafter: an open 2D survival world, seen from above, one tile of 16 pixels a cell.

Three things differ from the package's own environment: daylight is held at noon (night adds noise to every pixel),
creatures are visited in the order of their places (the package walks a set, whose order differs from run to run), and
nothing is computed that is not shown.
"""

from importlib import import_module
from typing import Any

import numpy as np
from numpy.typing import NDArray

from diagplan.games.contract import Step
from diagplan.planner.errors import SpecError
from diagplan.planner.extras import missing_packages

__all__ = ["TILE", "CrafterGame"]

#: Pixels a side of one tile, and one token of a 16x tokenizer.
TILE = 16


class CrafterGame:
    """Crafter behind the protocol of ``diagplan.games.contract``; its grid is counted in tiles, inventory included.

    Raises:
        SpecError: a view too small to show map and inventory.
        MissingExtraError: the package ``crafter`` is not installed.
    """

    name = "crafter"
    moves: tuple[str, ...] = ("move_left", "move_right", "move_up", "move_down")

    def __init__(self, *, rows: int = 9, cols: int = 12) -> None:
        try:
            crafter: Any = import_module("crafter")
        except ImportError:
            raise missing_packages("the game", ["crafter"]) from None
        self.actions: tuple[str, ...] = tuple(crafter.constants.actions)
        self.inventory_rows = -(-len(crafter.constants.items) // cols) if cols > 0 else rows
        if cols < 5 or rows - self.inventory_rows < 3:
            raise SpecError(
                f"expected at least 5 columns and 3 rows of map, got rows={rows}, cols={cols}. "
                f"The inventory takes {self.inventory_rows} of the rows."
            )
        self.height, self.width = rows * TILE, cols * TILE
        self.map_rows: int | None = rows - self.inventory_rows
        self._env: Any = _environment(crafter)(view=(cols, rows), size=(self.width, self.height), length=None, seed=0)

    def reset(self, seed: int) -> NDArray[np.uint8]:
        """Begin the world of this seed."""
        self._env.begin(seed)
        frame: NDArray[np.uint8] = self._env.render()
        return frame

    def step(self, action: str) -> Step:
        """Play one action."""
        if action not in self.actions:
            raise SpecError(f"expected one of {', '.join(self.actions)}, got action={action!r}.")
        before = self._env.place()
        over = self._env.play(self.actions.index(action))
        x, y = self._env.place() - before
        return Step(self._env.render(), (int(x), int(y)), over)

    def close(self) -> None:
        """Nothing is held."""


def _environment(crafter: Any) -> type:
    class Noon(crafter.Env):  # type: ignore[misc, name-defined, unused-ignore]
        """The package's environment at constant noon, every choice in a fixed order."""

        def begin(self, seed: int) -> None:
            self._seed, self._episode = seed, 0
            self.reset()

        def place(self) -> Any:
            return self._player.pos.copy()

        def play(self, action: int) -> bool:
            _, _, done, _ = self.step(action)
            return bool(done)

        def _update_time(self) -> None:
            self._world.daylight = 1.0

        def _obs(self) -> None:
            """Drawn by ``render`` when it is wanted."""

        def _balance_chunk(self, chunk: Any, objs: Any) -> None:
            super()._balance_chunk(chunk, sorted(objs, key=lambda o: tuple(o.pos)))

    environment: type = Noon
    return environment
