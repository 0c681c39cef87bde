"""Games by name play the same in every process; names and sizes that are none are refused."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("av")

from diagplan.games.game import open_game
from diagplan.games.recorder import Recording, play
from diagplan.planner.errors import MissingExtraError, SpecError
from tests.support.games import GAMES, digest, game_or_skip


@pytest.mark.parametrize("name", GAMES)
def test_a_seed_gives_the_same_clip_in_any_process(name: str) -> None:
    game_or_skip(name).close()
    what = Recording(game=name, rows=6, cols=6, frames=40)
    recording = f"Recording(game={name!r}, rows=6, cols=6, frames=40)"
    code = "from diagplan.games.recorder import Recording, play\nfrom tests.support.games import digest\n"
    code += f"print(digest(play({recording}, 7)))"
    env = os.environ | {"PYTHONHASHSEED": "5", "PYTHONPATH": str(Path(__file__).parents[2])}
    there = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=True)
    here = play(what, 7)
    assert there.stdout.strip() == digest(here)
    assert digest(here) != digest(play(what, 8))


@pytest.mark.parametrize("name", GAMES)
def test_a_game_that_is_not_installed(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(MissingExtraError, match=rf"expected {name} for the game, got none.*diagplan\[games\]"):
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
