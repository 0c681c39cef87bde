"""Crafter: moves in cells, worlds by seed, and nothing that differs from run to run."""

import sys
from typing import Any

import numpy as np
import pytest

pytest.importorskip("av")

from diagplan.games.game import open_game
from tests.support.games import game_or_skip


def test_crafter_says_how_far_the_player_moved() -> None:
    game = game_or_skip("crafter")
    way = {"move_left": (-1, 0), "move_right": (1, 0), "move_up": (0, -1), "move_down": (0, 1)}
    game.reset(0)
    seen = {action: {game.step(action).moved for _ in range(3)} for action in way}
    assert all(steps <= {way[action], (0, 0)} for action, steps in seen.items())
    assert any(way[action] in steps for action, steps in seen.items())
    assert game.step("noop").moved == (0, 0)


def test_crafter_begins_a_world_anew() -> None:
    pytest.importorskip("crafter")
    game = open_game("crafter", rows=14, cols=16)
    first = game.reset(3)
    assert (game.reset(4) != first).any()
    np.testing.assert_array_equal(game.reset(3), first)


def test_creatures_are_visited_in_the_order_of_their_places(monkeypatch: pytest.MonkeyPatch) -> None:
    """The package walks a set, whose order depends on addresses in memory."""
    game = game_or_skip("crafter")
    seen: list[list[tuple[int, int]]] = []
    crafter: Any = sys.modules["crafter"]
    monkeypatch.setattr(crafter.Env, "_balance_chunk", lambda _, __, objs: seen.append([tuple(o.pos) for o in objs]))
    game.reset(0)
    for _ in range(20):
        game.step("noop")
    assert max(map(len, seen)) > 2
    assert all(places == sorted(places) for places in seen)
