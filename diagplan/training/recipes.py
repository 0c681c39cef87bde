"""The checks that all recipes share."""

import math
from typing import Protocol

from diagplan.planner.errors import SpecError

__all__ = ["require_numbers"]


class _Recipe(Protocol):
    @property
    def learning_rate(self) -> float: ...


def require_numbers(recipe: _Recipe, **least: int) -> None:
    """Raise ``SpecError`` for a field below its least value, or a learning rate that is not positive and finite."""
    for name, smallest in least.items():
        value = getattr(recipe, name)
        if value < smallest:
            raise SpecError(f"expected {name} >= {smallest}, got {name}={value}.")
    if not 0 < recipe.learning_rate < math.inf:
        raise SpecError(f"expected 0 < learning_rate < inf, got learning_rate={recipe.learning_rate}.")
