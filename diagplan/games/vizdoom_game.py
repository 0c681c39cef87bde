"""ViZDoom: Doom seen from the eyes, without a window; the maze of the bundled scenario ``my_way_home``."""

import contextlib
import shutil
import tempfile
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from diagplan.games.contract import Step
from diagplan.planner.errors import SpecError
from diagplan.planner.extras import missing_packages

__all__ = ["VizdoomGame"]

#: Tics of the engine, 1/35 s each, that one action is held for.
_TICS = 4
_BUTTONS = {"forward": "MOVE_FORWARD", "turn_left": "TURN_LEFT", "turn_right": "TURN_RIGHT"}


class VizdoomGame:
    """ViZDoom behind the protocol of ``diagplan.games.contract``; frames are scaled to 16 pixels a token.

    The engine is a process of its own: it begins with the first world and ends with ``close``.

    Raises:
        SpecError: a size without a pixel.
        MissingExtraError: the package ``vizdoom`` or ``pillow`` is not installed.
    """

    name = "vizdoom"
    actions: tuple[str, ...] = ("noop", *_BUTTONS)
    moves: tuple[str, ...] = tuple(_BUTTONS)

    def __init__(self, *, rows: int = 8, cols: int = 12) -> None:
        if rows < 1 or cols < 1:
            raise SpecError(f"expected a grid of tokens, got rows={rows}, cols={cols}.")
        try:
            self._vizdoom: Any = import_module("vizdoom")
            self._image: Any = import_module("PIL.Image")
        except ImportError as error:
            missing = "PIL" if (error.name or "").startswith("PIL") else "vizdoom"
            raise missing_packages("the game", [missing]) from None
        self.map_rows: int | None = None
        self.height, self.width = 16 * rows, 16 * cols
        self._game: Any = None
        self._scratch = ""
        self._frame: NDArray[np.uint8] | None = None

    def reset(self, seed: int) -> NDArray[np.uint8]:
        """Begin the world of this seed."""
        if self._game is None:
            self._game = self._engine()
            self._game.set_seed(seed)
            self._scratch = tempfile.mkdtemp(prefix="diagplan-")  # the engine leaves files where it is started
            with contextlib.chdir(self._scratch):
                self._game.init()
        else:
            self._game.set_seed(seed)
            self._game.new_episode()
        self._frame = self._look()
        return self._frame

    def step(self, action: str) -> Step:
        """Play one action; the frame after the end of a world is the last one before it."""
        if action not in self.actions:
            raise SpecError(f"expected one of {', '.join(self.actions)}, got action={action!r}.")
        if self._frame is None:
            raise SpecError(f"expected a world to play in, got action={action!r} before it. Call reset first.")
        self._game.make_action([float(action == name) for name in _BUTTONS], _TICS)
        over = bool(self._game.is_episode_finished())
        if not over:
            self._frame = self._look()
        return Step(self._frame, None, over)

    def close(self) -> None:
        """End the engine."""
        if self._game is not None:
            self._game.close()
            self._game, self._frame = None, None
            shutil.rmtree(self._scratch, ignore_errors=True)

    def _engine(self) -> Any:
        game = self._vizdoom.DoomGame()
        game.load_config(str(Path(self._vizdoom.scenarios_path) / "my_way_home.cfg"))
        game.set_available_buttons([getattr(self._vizdoom.Button, button) for button in _BUTTONS.values()])
        game.set_screen_resolution(self._vizdoom.ScreenResolution.RES_320X240)
        game.set_screen_format(self._vizdoom.ScreenFormat.RGB24)
        game.set_window_visible(False)
        game.set_sound_enabled(False)
        return game

    def _look(self) -> NDArray[np.uint8]:
        picture = self._image.fromarray(self._game.get_state().screen_buffer)
        return np.asarray(picture.resize((self.width, self.height), self._image.Resampling.BILINEAR), dtype=np.uint8)
