"""Policies and bundles by name."""

import re
from typing import Any

import pytest

from diagplan.planner.errors import SpecError
from diagplan.planner.policy import BUNDLES, DEFAULT_BUNDLE, Policies, bundle_schedule
from diagplan.planner.presets import PRESETS
from diagplan.planner.schedule import Diagonal, Schedule, ZipAR

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
