"""The presets against the numbers in the specification."""

import re

import pytest

from diagplan.planner.compiler import compile_plan
from diagplan.planner.errors import SpecError
from diagplan.planner.layout import Layout
from diagplan.planner.presets import PRESETS, preset_layout
from diagplan.planner.schedule import Diagonal, NextToken, Schedule, ZipAR

# Slots as the models' own configurations count them: every frame, what lies between frames and rows, and the lead.
POSITIONS = {
    "cosmos": 5 * 40 * 64,
    "cosmos-video2world": 1 + 5 * 40 * 64,
    "wham": 10 * 540 + 9 * 16,
    "mc-ar": 16 * 336 + 15 * 11,
    "mc-ar-32f": 32 * 336 + 31 * 11,
    "llamagen-c2i-256": 1 + 256,
    "llamagen-c2i-384": 1 + 576,
    "llamagen-t2i-512": 120 + 1024,
    "emu3": 64 + 90 * 90 + 89,
    "lumina-mgpt-768": 64 + 48 * 48 + 47,
    "chameleon": 64 + 1024,
}


def test_every_preset_has_a_number() -> None:
    assert set(POSITIONS) == set(PRESETS)
    assert POSITIONS["cosmos"] == 12800
    assert all(preset.models and preset.source for preset in PRESETS.values())


@pytest.mark.parametrize("name", sorted(POSITIONS))
def test_preset_positions(name: str) -> None:
    assert PRESETS[name].layout.positions == POSITIONS[name]


@pytest.mark.parametrize(
    ("name", "schedule", "steps"),
    [
        ("cosmos", NextToken(), 7680),
        ("cosmos", Diagonal(k=1, d=2), 107),
        ("cosmos", Diagonal(k=2, d=10), 162),
        ("cosmos", Diagonal(k=4, d=36), 292),
        ("cosmos", Diagonal(k=1, d=1), 105),
        ("cosmos", Diagonal(k=2, d=40), 222),
        ("cosmos", ZipAR(window=1), 309),
        ("mc-ar", NextToken(), 5040),
        ("mc-ar", Diagonal(k=2), 750),
        ("mc-ar", Diagonal(k=4), 1140),
        ("llamagen-c2i-384", ZipAR(window=16, variant="llamagen"), 400),
    ],
)
def test_published_grids_take_the_published_steps(name: str, schedule: Schedule, steps: int) -> None:
    # Published in thousands; the specification works the numbers out.
    assert compile_plan(PRESETS[name].layout, schedule).steps == steps


def test_preset_layout_changes_fields() -> None:
    assert preset_layout("wham") == PRESETS["wham"].layout
    assert preset_layout("wham", frames=2, lead=None) == Layout(
        frames=2, rows=18, cols=30, prompt_frames=1, between_frames=16
    )


def test_preset_layout_errors() -> None:
    message = f"expected a model out of {', '.join(PRESETS)}, got 'sora'. "
    message += "A world model has one of its own: world.layout(frames, prompt_frames)."
    with pytest.raises(SpecError, match=f"^{re.escape(message)}$"):
        preset_layout("sora")
    with pytest.raises(SpecError, match=r"^expected frames >= 1, got frames=0\."):
        preset_layout("wham", frames=0)
