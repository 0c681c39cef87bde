"""The paper's own models and optimizer as named configurations: MC-AR of 300M, 700M and 1.2B parameters.

Source: the Diagonal Decoding paper's supplement. It trains on 5,376 positions, which are 16 frames of 14 x 24 image
tokens. What it leaves open is taken from the public release (4 key-value heads) or is ours (the batch; the cosine ends
at a tenth).
"""

from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import NamedTuple

from diagplan.adapters.mc_ar import McArConfig
from diagplan.planner.errors import SpecError
from diagplan.training.finetune import FinetuneRecipe

__all__ = ["POSITIONS", "RECIPES", "SIZES", "Size", "published_config", "published_context"]

#: Image tokens of a training sequence.
POSITIONS = 5376

_LAYERS = 20
_KEY_VALUE_HEADS = 4


class Size(NamedTuple):
    """A model of the paper; all have 20 layers."""

    hidden: int
    mlp: int
    heads: int


SIZES: Mapping[str, Size] = MappingProxyType(
    {"300M": Size(1024, 4096, 16), "700M": Size(2048, 4096, 32), "1.2B": Size(2048, 8192, 32)}
)

#: Recipes by name: ours, and the paper's optimizer table.
RECIPES: Mapping[str, FinetuneRecipe] = MappingProxyType(
    {
        "default": FinetuneRecipe(),
        "paper": FinetuneRecipe(learning_rate=3e-4, warm_up=10_000, weight_decay=0.1, betas=(0.9, 0.95)),
    }
)


def published_context(rows: int, cols: int) -> int:
    """Frames of a training sequence of 5,376 image tokens.

    >>> published_context(14, 24)
    16
    """
    return max(2, POSITIONS // (rows * cols))


def published_config(size: str, like: McArConfig, context: int, *, divide: int = 1) -> McArConfig:
    """A published size for the tokens and the grid of another model.

    Args:
        size: a name of ``SIZES``.
        like: vocabulary, grid, tokens of an action and kind of positions are its own.
        context: frames it has positions for.
        divide: make widths and heads smaller by this factor, for trials; the depth stays.

    Raises:
        SpecError: no such size, or a factor that does not divide it.
    """
    if size not in SIZES:
        raise SpecError(f"expected a size out of {', '.join(SIZES)}, got size={size!r}.")
    sizes = SIZES[size]
    if divide < 1 or any(number % divide for number in sizes):
        raise SpecError(f"expected a factor that divides {sizes}, got divide={divide}.")
    hidden, mlp, heads = (number // divide for number in sizes)
    return replace(
        like,
        hidden_size=hidden,
        intermediate_size=mlp,
        num_hidden_layers=_LAYERS,
        num_attention_heads=heads,
        num_key_value_heads=min(_KEY_VALUE_HEADS, heads),
        head_dim=None,
        max_position_embeddings=context * (like.rows * like.cols + like.action_tokens),
    )
