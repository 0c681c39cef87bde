"""A small world on a stage, for the tests of playing: WHAM's form, random weights, a frame in milliseconds."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from diagplan.planner.schedule import Diagonal, NextToken
from diagplan.planner.speculation import Speculation
from diagplan.play.choices import Choice
from diagplan.play.stage import Stage
from diagplan.worlds import load_world
from tests.support.wham_world import write_wham_world

__all__ = ["small_stage"]


def small_stage(folder: Path, **changed: Any) -> Stage:
    """Four plans; it begins with the first frame of the recording."""
    with pytest.MonkeyPatch.context() as patch:
        checkpoint, recording = write_wham_world(folder, patch)
    world = load_world("wham", weights=checkpoint)
    frame = np.asarray(next(iter(world.read_frames(recording))))
    options: dict[str, Any] = {
        "choices": {
            "k=1": Choice(schedule=Diagonal(k=1)),
            "k=2": Choice(schedule=Diagonal(k=2)),
            "exact": Choice(schedule=NextToken(), speculation=Speculation(window=8)),
            "next-token": Choice(schedule=NextToken()),
        },
        "first": lambda: frame,
    }
    return Stage(world=world, **options | changed)
