"""A world of one picture that scrolls, with the recipes that the tests of training train on it."""

from pathlib import Path
from typing import Any

import numpy as np
import torch

from diagplan.games.clips import Clip, write_clip
from diagplan.training.sequences import TokenClips
from diagplan.training.tokenizer import TokenizerRecipe
from diagplan.training.world_folder import action_words
from diagplan.training.world_model import Vocabulary, WorldRecipe

ROWS, COLS, CODES = 4, 5, 6
TOKENIZER = TokenizerRecipe(
    codes=CODES, steps=25, whole_steps=5, batch=4, channels=(4, 8, 8), latent=4, frames_per_clip=4
)
WORLD = WorldRecipe(hidden=32, mlp=32, layers=1, heads=2, context=3, steps=60, batch=4, warm_up=5, learning_rate=1e-2)
WORDS = action_words(CODES, ["noop", "move_left", "move_right"])
LEFT, RIGHT = WORDS.ids["move_left"], WORDS.ids["move_right"]
VOCABULARY = Vocabulary(begin=WORDS.begin, end=WORDS.end, opposites={LEFT: RIGHT, RIGHT: LEFT})
CONFIG = WORLD.config(ROWS, COLS, CODES, CODES + 5)


def scrolls(clips: int, frames: int, *, seed: int = 0) -> TokenClips:
    """Rows of tokens that move under the player's feet: what comes in at the edge repeats the row."""
    random = np.random.default_rng(seed)
    line = random.integers(0, CODES, (clips, ROWS, COLS))
    steps = random.choice([-1, 1], (clips, frames - 1))
    at = np.concatenate([np.zeros((clips, 1), int), steps.cumsum(1)], axis=1)
    columns = (np.arange(COLS) + at[..., None]) % COLS  # [clips, T, cols]
    shown = np.stack([line[n][:, columns[n]].transpose(1, 0, 2) for n in range(clips)])
    moved = np.stack([steps, np.zeros_like(steps)], axis=2)
    return TokenClips(frames=shown, actions=np.where(steps < 0, LEFT, RIGHT), moved=moved)


TRAIN, VALIDATION = scrolls(40, 5), scrolls(4, 6, seed=1)


def write_scrolls(folder: Path) -> Path:
    """Three clips to train on and one to validate, of tiles in six colours, 4 pixels a side."""
    colours = np.random.default_rng(3).integers(0, 256, (CODES, 3), dtype=np.uint8)
    for split, count in (("train", 3), ("validation", 1)):
        (folder / split).mkdir()
        played = scrolls(count, 5, seed=len(split))
        for n in range(count):
            frames = colours[played.frames[n]].repeat(4, axis=1).repeat(4, axis=2)
            names = tuple("move_left" if action == LEFT else "move_right" for action in played.actions[n])
            moved = tuple((int(x), int(y)) for x, y in played.moved[n])
            write_clip(folder / split / f"{n}.mp4", Clip(frames=frames, actions=names, moved=moved))
    return folder


def weights_equal(a: dict[str, Any], b: dict[str, Any]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


class StopError(Exception):
    pass


def stop_at(last: int) -> Any:
    def on_step(step: int, _: object) -> None:
        if step == last:
            raise StopError

    return on_step
