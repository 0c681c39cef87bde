"""The presets against the numbers in the specification."""

import re

import pytest

from diagplan.planner.checker import verify_plan
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
    "llamagen-t2i-256": 120 + 256,
    "llamagen-t2i-512": 120 + 1024,
    "janus-pro": 64 + 576,
    "glm-image-preview": 64 + 16 * 16,
    "glm-image": 64 + 16 * 16 + 32 * 32,
    "emu3": 64 + 90 * 90 + 89,
    "emu3-4x3": 64 + 78 * 104 + 77,
    "emu3-3x4": 64 + 104 * 78 + 103,
    "emu3-16x9": 64 + 68 * 120 + 67,
    "emu3-9x16": 64 + 120 * 68 + 119,
    "emu3-3x2": 64 + 73 * 110 + 72,
    "emu3.5": 64 + 64 * 64 + 63,
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
        ("glm-image", Diagonal(k=1), 94 - 31),
        ("glm-image-preview", Diagonal(k=1), 31),
        ("glm-image", Diagonal(k=2), 140 - 46),
        ("glm-image", Diagonal(k=4), 232 - 76),
        ("llamagen-c2i-384", ZipAR(window=16, variant="llamagen"), 400),
    ],
)
def test_published_grids_take_the_published_steps(name: str, schedule: Schedule, steps: int) -> None:
    # Published in thousands; the specification works the numbers out.
    assert compile_plan(PRESETS[name].layout, schedule).steps == steps


@pytest.mark.parametrize(("ratio", "rows", "cols"), [((4, 3), 78, 104), ((16, 9), 68, 120), ((3, 2), 73, 110)])
def test_grids_of_emu3_are_of_its_area(ratio: tuple[int, int], rows: int, cols: int) -> None:
    scale = (518_400 / (ratio[0] * ratio[1])) ** 0.5  # pixels; a token is 8 wide and 8 high
    assert (round(ratio[1] * scale / 8), round(ratio[0] * scale / 8)) == (rows, cols)
    layout = PRESETS[f"emu3-{ratio[0]}x{ratio[1]}"].layout
    assert (layout.rows, layout.cols) == (rows, cols)


@pytest.mark.parametrize("name", sorted(PRESETS))
def test_every_preset_verifies(name: str) -> None:
    assert verify_plan(compile_plan(PRESETS[name].layout, Diagonal(k=2))).ok


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
