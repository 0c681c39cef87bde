"""What every game must offer."""

import numpy as np
import pytest

pytest.importorskip("av")

from diagplan.planner.errors import SpecError
from tests.support.games import GAMES, game_or_skip


@pytest.mark.parametrize("name", GAMES)
def test_the_protocol(name: str) -> None:
    game = game_or_skip(name)
    try:
        first = game.reset(3)
        assert (game.height, game.width) == (96, 96)
        assert first.shape == (96, 96, 3)
        assert first.dtype == np.uint8
        assert set(game.moves) < set(game.actions)
        assert "noop" in game.actions
        for action in game.moves * 2:
            step = game.step(action)
            assert step.frame.shape == first.shape
            assert (step.moved is None) is (name == "vizdoom")
        with pytest.raises(SpecError, match="got action='fly'"):
            game.step("fly")
        np.testing.assert_array_equal(game.reset(3), first)
    finally:
        game.close()
