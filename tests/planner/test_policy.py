"""Policies and bundles by name, and the presets against the numbers in the specification."""

import re
from typing import Any

import pytest

from diagplan.planner.compiler import compile_plan
from diagplan.planner.errors import SpecError
from diagplan.planner.layout import Layout
from diagplan.planner.policy import BUNDLES, DEFAULT_BUNDLE, Policies, bundle_schedule
from diagplan.planner.presets import PRESETS, preset_layout
from diagplan.planner.schedule import Diagonal, NextToken, Schedule, ZipAR

MC_AR = PRESETS["mc-ar"].layout


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (
            {"proxy": "left"},
            (
                "expected proxy to be one of above, latest, prompt, previous-frame, above-predecessor, custom, "
                "got proxy='left'."
            ),
        ),
        ({"row_end": "drop"}, "expected row_end to be one of keep, refresh, custom, got row_end='drop'."),
        ({"proxy_kv": "custom"}, "expected proxy_kv to be one of visible, hidden, got proxy_kv='custom'."),
        ({"visibility": None}, "expected visibility to be one of written, causal, listed, got visibility=None."),
    ],
)
def test_policy_errors(values: dict[str, Any], message: str) -> None:
    with pytest.raises(SpecError, match=f"^{re.escape(message)}$"):
        Policies(**values)


def test_bundles_are_those_of_the_sources() -> None:
    assert set(BUNDLES) == {"default", "mineworld-image", "mineworld-video", "zipar-llamagen"}
    assert DEFAULT_BUNDLE == "default"
    assert BUNDLES["default"] == Policies()
    mineworld = Policies(proxy="prompt", row_end="keep", proxy_kv="visible", visibility="causal")
    assert BUNDLES["mineworld-image"] == BUNDLES["mineworld-video"] == mineworld
    zipar = Policies(proxy="above-predecessor", row_end="refresh", proxy_kv="visible", visibility="causal")
    assert BUNDLES["zipar-llamagen"] == zipar


@pytest.mark.parametrize(
    ("bundle", "k", "schedule"),
    [
        ("default", 2, Diagonal(k=2)),
        ("mineworld-image", 4, Diagonal(k=4)),
        ("mineworld-video", 2, Diagonal(k=2, d=28)),
        ("mineworld-video", 99, Diagonal(k=99, d=14 * 24)),
        ("zipar-llamagen", 16, ZipAR(window=16, variant="llamagen")),
    ],
)
def test_bundle_schedule(bundle: str, k: int, schedule: Schedule) -> None:
    assert bundle_schedule(bundle, MC_AR, k) == schedule


@pytest.mark.parametrize("bundle", sorted(BUNDLES))
def test_bundle_schedule_needs_a_delay_of_one(bundle: str) -> None:
    name = "window" if bundle == "zipar-llamagen" else "k"
    with pytest.raises(SpecError, match="^" + re.escape(f"expected {name} >= 1, got {name}=0. Give a whole number")):
        bundle_schedule(bundle, MC_AR, 0)


def test_unknown_bundle() -> None:
    message = "expected a bundle out of default, mineworld-image, mineworld-video, zipar-llamagen, got 'zipar'."
    with pytest.raises(SpecError, match=f"^{re.escape(message)}$"):
        bundle_schedule("zipar", MC_AR, 1)


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
    message = f"expected a model out of {', '.join(PRESETS)}, got 'sora'. `diagplan presets` lists them."
    with pytest.raises(SpecError, match=f"^{re.escape(message)}$"):
        preset_layout("sora")
    with pytest.raises(SpecError, match=r"^expected frames >= 1, got frames=0\."):
        preset_layout("wham", frames=0)
