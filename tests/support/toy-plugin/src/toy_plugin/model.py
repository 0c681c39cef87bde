"""The family's model: the example of diagplan's documentation under a name of its own."""

from pathlib import Path

from safetensors.torch import load_file

from diagplan.examples.image_model import ImageModel

__all__ = ["Toy", "load_toy"]


class Toy(ImageModel):
    """An image model."""

    family = "toy"


def load_toy(path: str | Path) -> Toy:
    """A model of a safetensors file."""
    return Toy(load_file(path))
