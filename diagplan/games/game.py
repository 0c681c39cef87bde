"""The games by name. Each is loaded when it is opened: what they need differs."""

from collections.abc import Callable, Mapping
from types import MappingProxyType

from diagplan.games.contract import Game, Step
from diagplan.planner.errors import SpecError

__all__ = ["GAMES", "Game", "Step", "open_game"]


def _crafter(rows: int, cols: int) -> Game:
    from diagplan.games.crafter_game import CrafterGame

    return CrafterGame(rows=rows, cols=cols)


def _vizdoom(rows: int, cols: int) -> Game:
    from diagplan.games.vizdoom_game import VizdoomGame

    return VizdoomGame(rows=rows, cols=cols)


#: Name -> what opens the game, its frames ``16 rows`` by ``16 cols`` pixels.
GAMES: Mapping[str, Callable[[int, int], Game]] = MappingProxyType({"crafter": _crafter, "vizdoom": _vizdoom})


def open_game(name: str, *, rows: int, cols: int) -> Game:
    """Open a game by name, its frames ``16 rows`` by ``16 cols`` pixels.

    Raises:
        SpecError: no such game, or a size that it cannot show.
        MissingExtraError: its package is not installed.
    """
    if name not in GAMES:
        raise SpecError(f"expected game to be {' or '.join(GAMES)}, got game={name!r}.")
    return GAMES[name](rows, cols)
