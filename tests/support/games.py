"""The games that can be opened here, and what a clip is recognised by."""

import hashlib

import pytest

from diagplan.games.clips import Clip
from diagplan.games.contract import Game
from diagplan.games.game import open_game

GAMES = ("crafter", "vizdoom")


def game_or_skip(name: str) -> Game:
    """The game, 6 x 6 tokens; the test is skipped where its package is missing."""
    pytest.importorskip(name)
    return open_game(name, rows=6, cols=6)


def digest(clip: Clip) -> str:
    """SHA-256 of frames, actions and moves."""
    return hashlib.sha256(clip.frames.tobytes() + repr((clip.actions, clip.moved)).encode()).hexdigest()
