"""The family's record."""

from pathlib import Path

from diagplan.adapters.contract import Model
from diagplan.adapters.families import Family
from diagplan.adapters.options import LoadOptions

__all__ = ["FAMILY"]


def _load(weights: str | Path, options: LoadOptions) -> Model:
    del options
    from toy_plugin.model import load_toy

    model: Model = load_toy(weights)
    return model


FAMILY = Family(name="toy", title="a toy", weights="a safetensors file", load=_load)
