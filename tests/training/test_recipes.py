"""The checks that all recipes share."""

import re
from dataclasses import dataclass

import pytest

from diagplan.planner.errors import SpecError
from diagplan.training.recipes import require_numbers


@dataclass
class Recipe:
    learning_rate: float = 0.1
    steps: int = 5


def test_what_is_fine() -> None:
    require_numbers(Recipe(), steps=5)


@pytest.mark.parametrize(
    ("recipe", "message"),
    [
        (Recipe(steps=4), "expected steps >= 5, got steps=4."),
        (Recipe(learning_rate=0.0), "expected 0 < learning_rate < inf, got learning_rate=0.0."),
        (Recipe(learning_rate=float("inf")), "expected 0 < learning_rate < inf, got learning_rate=inf."),
        (Recipe(learning_rate=float("nan")), "expected 0 < learning_rate < inf, got learning_rate=nan."),
    ],
)
def test_what_is_refused(recipe: Recipe, message: str) -> None:
    with pytest.raises(SpecError, match=re.escape(message)):
        require_numbers(recipe, steps=5)
