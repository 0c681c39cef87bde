"""Games play the same in every process, and the explorer keeps moving."""

import hashlib
import os
import subprocess
import sys
from collections import Counter
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("av")

from diagplan.games.clips import Clip
from diagplan.games.explorer import Explorer
from diagplan.games.game import Game, open_game
from diagplan.games.recorder import Recording, play
from diagplan.planner.errors import MissingExtraError, SpecError

GAMES = ("crafter", "vizdoom")


def game_or_skip(name: str) -> Game:
    pytest.importorskip(name)
    return open_game(name, rows=6, cols=6)


class Corridor:
    """A game of one picture: three moves, nothing happens."""

    name = "corridor"
    actions: tuple[str, ...] = ("noop", "do", "move_left", "move_right", "move_up")
    moves: tuple[str, ...] = actions[2:]
    height = width = 16
    map_rows: int | None = None

    def reset(self, seed: int) -> Any: ...
    def step(self, action: str) -> Any: ...
    def close(self) -> None: ...


def digest(clip: Clip) -> str:
    return hashlib.sha256(clip.frames.tobytes() + repr((clip.actions, clip.moved)).encode()).hexdigest()


# Games


@pytest.mark.parametrize("name", GAMES)
def test_a_seed_gives_the_same_clip_in_any_process(name: str) -> None:
    game_or_skip(name).close()
    what = Recording(game=name, rows=6, cols=6, frames=40)
    recording = f"Recording(game={name!r}, rows=6, cols=6, frames=40)"
    code = f"from tests.games.test_game import *\nprint(digest(play({recording}, 7)))"
    env = os.environ | {"PYTHONHASHSEED": "5", "PYTHONPATH": str(Path(__file__).parents[2])}
    there = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=True)
    here = play(what, 7)
    assert there.stdout.strip() == digest(here)
    assert digest(here) != digest(play(what, 8))


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


def test_vizdoom_ends_and_leaves_no_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    game = game_or_skip("vizdoom")
    try:
        game.reset(0)
        steps = [game.step("noop") for _ in range(540)]  # the scenario ends after 2,100 tics
    finally:
        game.close()
    first = next(number for number, step in enumerate(steps) if step.over)
    assert 500 < first < 530
    assert all(step.over for step in steps[first:])
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(SpecError, match="Call reset first"):
        game.step("noop")


@pytest.mark.parametrize("name", GAMES)
def test_a_game_that_is_not_installed(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(MissingExtraError, match=rf"expected the package {name}, got none.*diagplan\[games\]"):
        open_game(name, rows=6, cols=6)


def test_sizes_and_names_that_are_none() -> None:
    for name in GAMES:
        game_or_skip(name).close()
        with pytest.raises(SpecError, match="rows=0"):
            open_game(name, rows=0, cols=12)
    with pytest.raises(SpecError, match=r"rows=5, cols=6\. The inventory takes 3"):
        open_game("crafter", rows=5, cols=6)
    with pytest.raises(SpecError, match="got game='chess'"):
        open_game("chess", rows=9, cols=12)


# The explorer


def test_the_explorer_keeps_moving_and_rests_now_and_then() -> None:
    explorer = Explorer(Corridor(), seed=1)
    chosen = [explorer.choose() for _ in range(6000)]
    assert chosen != [Explorer(Corridor(), seed=2).choose() for _ in range(6000)]
    rests = Counter(name for name in chosen if name not in Corridor.moves)
    assert set(rests) == {"noop", "do"}
    assert 0.12 < sum(rests.values()) / len(chosen) < 0.18
    runs = [(name, len(list(group))) for name, group in groupby(name for name in chosen if name in Corridor.moves)]
    assert {name for name, _ in runs} == set(Corridor.moves)
    assert {length for _, length in runs[:-1]} == set(range(2, 9))


def test_the_explorer_turns_where_the_way_is_blocked() -> None:
    lengths = []
    for moved in ((0, 0), (1, 0), None):
        explorer = Explorer(Corridor(), seed=1, rest=0.0)
        runs = [len(list(group)) for _, group in groupby(explorer.choose(moved) for _ in range(2000))]
        lengths.append(sum(runs) / len(runs))
    assert lengths[0] < 2.5 < 4 < lengths[1]
    assert lengths[1] == lengths[2]
