"""Recipes from options: what is implied, and what contradicts itself."""

import inspect
from pathlib import Path
from typing import Any

import pytest

from diagplan.batch.recipe import Recipe
from diagplan.cli.batch import batch_command
from diagplan.cli.serve import serve_command
from diagplan.cli.shared.recipes import recipe_from_options
from diagplan.planner.errors import SpecError
from diagplan.planner.schedule import Diagonal, NextToken, ZipAR


def recipe(**given: Any) -> Recipe:
    parameters = inspect.signature(batch_command).parameters
    names = inspect.signature(recipe_from_options).parameters
    defaults = {name: parameters[name].default for name in names}
    return recipe_from_options(**defaults | given)


def test_both_commands_have_the_same_options() -> None:
    batch, serve = (inspect.signature(one).parameters for one in (batch_command, serve_command))
    for name in inspect.signature(recipe_from_options).parameters:
        assert batch[name].default == serve[name].default, name
        kinds = [one[name].annotation.__args__ for one in (batch, serve)]
        texts = [one[name].annotation.__metadata__[0].help for one in (batch, serve)]
        assert (kinds[0], texts[0]) == (kinds[1], texts[1]), name


def test_what_options_imply() -> None:
    assert recipe().schedule == NextToken()
    assert recipe().sampling is None
    assert recipe(k=2).schedule == Diagonal(k=2)
    assert recipe(window=3).schedule == ZipAR(window=3)
    assert recipe(k=1, policies="mineworld-video").bundle == "mineworld-video"
    assert recipe(temperature=0.5).sampling == {"temperature": 0.5, "top_k": None, "top_p": None, "min_p": None}
    assert recipe(exact=True).speculation == "auto"
    assert not recipe(tokens_only=True).pictures
    assert recipe(plan=Path("p.json")).schedule is None


@pytest.mark.parametrize(
    "given", [{"plan": Path("p"), "k": 2}, {"greedy": True, "temperature": 1.0}, {"policies": "x"}]
)
def test_what_contradicts_itself(given: Any) -> None:
    with pytest.raises(SpecError):
        recipe(**given)
