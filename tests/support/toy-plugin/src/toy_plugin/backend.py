"""A backend: eager PyTorch, loaded its own way."""

from pathlib import Path

from diagplan.adapters.contract import Model
from diagplan.adapters.families import family_named
from diagplan.adapters.options import LoadOptions
from diagplan.backends.table import Backend

__all__ = ["BACKEND"]


def _load(family: str, weights: str | Path, options: LoadOptions) -> Model:
    return family_named(family).load(weights, options)


BACKEND = Backend(name="toy-eager", title="a toy", load=_load, sizes=lambda *_: None)
