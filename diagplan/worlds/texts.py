"""The text that leads a Video2World model."""

from pathlib import Path

from diagplan.planner.errors import SpecError
from diagplan.worlds.world import World

__all__ = ["read_text", "require_text"]


def require_text(world: World, text: str | None, encoder: Path | None) -> None:
    """Check what leads a world, before anything is computed.

    Args:
        world: opened with the features of a text, or without.
        text: instead of features.
        encoder: of the text, a local folder.

    Raises:
        SpecError: features and a text, a text without its encoder or the reverse, a text for a model that reads none,
            or none for one that does.
    """
    if world.source.options.context is not None and (text is not None or encoder is not None):
        raise SpecError("expected --context, or --text and --text-encoder, got both. Give one of them.")
    if (text is None) != (encoder is None):
        raise SpecError(
            "expected --text and --text-encoder together, got one of them. The encoder is a local folder of T5-11B, "
            "which Google publishes on Hugging Face as google-t5/t5-11b."
        )
    if text is not None and not world.reads_text:
        raise SpecError(f"expected --text with a Video2World model, got it with {world.name}. Leave it out.")
    if text is None:
        world.require_text()


def read_text(world: World, text: str, encoder: Path) -> World:
    """The same world, led by a text, in the dtype and on the device that it is loaded with.

    Raises:
        DocumentError, MissingExtraError: as ``diagplan.adapters.cosmos_text.encode_text``.
    """
    import torch

    from diagplan.adapters.cosmos_text import encode_text

    options = world.source.options
    return world.with_text(encode_text(text, encoder, device=options.device, dtype=getattr(torch, options.dtype)))
