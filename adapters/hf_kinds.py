"""Families of transformers' models, by the ``model_type`` of their config.json; no library is loaded."""

from collections.abc import Mapping
from types import MappingProxyType

__all__ = ["ANY", "KINDS", "family_of_kind"]

#: The family of a causal language model that a raster describes.
ANY = "raster-llama"

#: Family -> ``model_type``; ``None``: any. Of two with one type the first is taken where nobody says which.
KINDS: Mapping[str, str | None] = MappingProxyType(
    {
        "janus-pro": "janus",
        "emu3": "emu3",
        "glm-image": "glm_image",
        "chameleon": "chameleon",
        "anole": "chameleon",
        ANY: None,
    }
)


def family_of_kind(model_type: str) -> str:
    """The family of models with this ``model_type``.

    >>> family_of_kind("emu3"), family_of_kind("llama")
    ('emu3', 'raster-llama')
    """
    return next((family for family, kind in KINDS.items() if kind == model_type), ANY)
