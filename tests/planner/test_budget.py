"""Budgets of time in words."""

import math
import re
from typing import Any

import pytest

from diagplan.planner.budget import Budget, parse_budget
from diagplan.planner.errors import SpecError


@pytest.mark.parametrize(
    ("text", "seconds", "per"),
    [
        ("10 fps", 0.1, "frame"),
        ("120 ms/frame", 0.12, "frame"),
        ("3 s/clip", 3.0, "clip"),
        (" 2min / clip ", 120.0, "clip"),
        ("1e3ms/clip", 1.0, "clip"),
        ("0.5 s/frame", 0.5, "frame"),
        ("fastest", math.inf, "clip"),
    ],
)
def test_what_people_write(text: str, seconds: float, per: str) -> None:
    budget = parse_budget(text)
    assert budget.seconds == pytest.approx(seconds)
    assert budget.per == per
    assert budget.of_clip(7) == pytest.approx(seconds * (7 if per == "frame" else 1))


def test_it_is_shown_in_its_own_unit() -> None:
    assert parse_budget("10 fps").shown(0.84, 7) == "120 ms a frame"
    assert parse_budget("3 s/clip").shown(0.84, 7) == "0.84 s a clip"
    assert parse_budget("fastest").fastest


@pytest.mark.parametrize("text", ["-10 fps", "0 fps", "-1 s/clip", "0 ms/frame"])
def test_no_time_at_all_is_refused(text: str) -> None:
    with pytest.raises(SpecError, match=re.escape(f"expected a budget above 0, got budget='{text}'. Give more time")):
        parse_budget(text)


@pytest.mark.parametrize(
    "text", ["", "10", "fps", "ten fps", "10 s", "1.2.3 fps", "nan fps", "inf fps", "1e999 fps", "9" * 99]
)
def test_other_words_are_refused(text: str) -> None:
    with pytest.raises(SpecError, match="expected a budget such as '10 fps', '120 ms/frame', '3 s/clip'"):
        parse_budget(text)


def test_values_of_other_kinds_are_refused() -> None:
    wrong: Any = 10
    with pytest.raises(SpecError, match="expected budget to be a text"):
        parse_budget(wrong)
    with pytest.raises(SpecError, match="expected a budget above 0 s, got seconds=nan"):
        Budget(seconds=math.nan)
