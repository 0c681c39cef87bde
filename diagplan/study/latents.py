"""What an image tokenizer's encoder makes of frames, from which a Frechet distance without any download is computed."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from diagplan.planner.errors import SpecError
from diagplan.worlds import World

__all__ = ["has_latents", "tokenizer_latents"]

Frames = NDArray[np.uint8]


def has_latents(world: World) -> bool:
    """Whether ``tokenizer_latents`` knows the image tokenizer."""
    return hasattr(world.tokenizer, "pixels") and hasattr(world.tokenizer, "model")


def tokenizer_latents(world: World, frames: Frames, *, chunk: int = 16) -> NDArray[np.float32]:
    """What the image tokenizer's encoder makes of frames [N, T, ...] before rounding to codes: [N T, C, rows, cols].

    Raises:
        SpecError: a tokenizer that is not PyTorch's.
    """
    import torch

    tokenizer: Any = world.tokenizer
    if not has_latents(world):
        raise SpecError(f"expected a world model for PyTorch, got {world.name}, whose tokenizer gives no latents.")
    flat = frames.reshape(-1, *frames.shape[2:])
    with torch.inference_mode():
        parts = [
            tokenizer.model.encode(tokenizer.pixels(torch.from_numpy(flat[at : at + chunk]).to(tokenizer.device)))
            for at in range(0, len(flat), chunk)
        ]
        latents: NDArray[np.float32] = torch.cat([part.latents.float().cpu() for part in parts]).numpy()
    return latents
