"""The sizes of MC-AR's Llamas, and the five released ones by name."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from types import MappingProxyType
from typing import Literal

from diagplan.adapters.contract import Widths
from diagplan.adapters.devices import Quantize
from diagplan.adapters.parallel_cuts import Cut, cut_shapes
from diagplan.planner.errors import SpecError
from diagplan.planner.layout import store_int
from diagplan.planner.shown import shown

__all__ = ["CONFIGS", "McArConfig"]


@dataclass(frozen=True, slots=True, kw_only=True)
class McArConfig:
    """A Llama's sizes, and how its sequence is made up.

    Args:
        hidden_size, intermediate_size, num_hidden_layers, num_attention_heads, num_key_value_heads, vocab_size,
            rope_theta, rms_norm_eps, head_dim: as in a Hugging Face LlamaConfig.
        max_position_embeddings: longest sequence in slots.
        image_vocab: image ids are 0 to this, less one; an image slot never yields another. ``None``: all ids are, and
            an image slot may yield an action's; loading such a model from files warns.
        rope: ``"1d"``: angles by flat slot, as in the release; ``"3d"``: the head split over (t, h, w), as the paper
            says of its own models, each part rotated by its own coordinate.
        rows, cols, action_tokens: the grid of a frame and the tokens between frames; needed for ``rope="3d"``.

    Raises:
        SpecError: sizes that do not fit together.
    """

    hidden_size: int
    intermediate_size: int
    num_hidden_layers: int
    num_attention_heads: int
    num_key_value_heads: int
    vocab_size: int
    max_position_embeddings: int
    head_dim: int | None = None
    rope_theta: float = 10_000.0
    rms_norm_eps: float = 1e-5
    image_vocab: int | None = None
    rope: Literal["1d", "3d"] = "1d"
    rows: int = 14
    cols: int = 24
    action_tokens: int = 11

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if field.type in ("int", int) or (field.name in ("head_dim", "image_vocab") and value is not None):
                store_int(self, field.name, 0 if field.name == "action_tokens" else 1)
        if self.num_attention_heads % self.num_key_value_heads:
            raise SpecError(
                f"expected key-value heads that divide the heads, got num_attention_heads={self.num_attention_heads} "
                f"and num_key_value_heads={self.num_key_value_heads}."
            )
        if self.head_dim is None and self.hidden_size % self.num_attention_heads:
            raise SpecError(
                f"expected heads that divide the width, got hidden_size={self.hidden_size} and "
                f"num_attention_heads={self.num_attention_heads}. Give head_dim."
            )
        if self.head_size % 2:
            raise SpecError(f"expected an even head_dim for rotary positions, got head_dim={self.head_size}.")
        if self.rope not in ("1d", "3d"):
            raise SpecError(f"expected rope to be '1d' or '3d', got rope={shown(self.rope)}.")
        if self.image_ids > self.vocab_size:
            raise SpecError(
                f"expected image_vocab <= vocab_size={self.vocab_size}, got image_vocab={self.image_vocab}."
            )

    @property
    def head_size(self) -> int:
        """D, the width of one head."""
        return self.head_dim or self.hidden_size // self.num_attention_heads

    @property
    def image_ids(self) -> int:
        """Image ids are 0 to this, less one."""
        return self.vocab_size if self.image_vocab is None else self.image_vocab

    @property
    def cache_shapes(self) -> tuple[tuple[int, int], ...]:
        """As in ``diagplan.adapters.contract.Model``."""
        return ((self.num_key_value_heads, self.head_size),) * (2 * self.num_hidden_layers)

    @property
    def widths(self) -> Widths:
        """Of a layer."""
        heads, kv_heads = self.num_attention_heads, self.num_key_value_heads
        return Widths(self.hidden_size, heads, kv_heads, self.head_size, 2 * self.intermediate_size)

    def weight_bytes(
        self,
        itemsize: int,
        quantize: Quantize | None = None,
        *,
        packed: bool = False,
        text_tokens: int = 0,
        cuts: Mapping[str, Cut] | None = None,
    ) -> int:
        """As in ``diagplan.adapters.contract.Config``; packing replaces weights, and no text is read.

        ``cuts``: of one rank's part.
        """
        del packed, text_tokens
        sizes = {name: math.prod(shape) for name, shape in cut_shapes(self.shapes(), cuts or {}).items()}
        small = sum(size for name, size in sizes.items() if "_proj" in name) if quantize == "int8" else 0
        return small + (sum(sizes.values()) - small) * itemsize

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """The name and shape of every weight, as in a Hugging Face LlamaForCausalLM with untied embeddings."""
        hidden, mlp, d = self.hidden_size, self.intermediate_size, self.head_size
        q, kv = self.num_attention_heads * d, self.num_key_value_heads * d
        shapes: dict[str, tuple[int, ...]] = {"model.embed_tokens.weight": (self.vocab_size, hidden)}
        for i in range(self.num_hidden_layers):
            layer = f"model.layers.{i}."
            shapes |= {
                f"{layer}self_attn.q_proj.weight": (q, hidden),
                f"{layer}self_attn.k_proj.weight": (kv, hidden),
                f"{layer}self_attn.v_proj.weight": (kv, hidden),
                f"{layer}self_attn.o_proj.weight": (hidden, q),
                f"{layer}mlp.gate_proj.weight": (mlp, hidden),
                f"{layer}mlp.up_proj.weight": (mlp, hidden),
                f"{layer}mlp.down_proj.weight": (hidden, mlp),
                f"{layer}input_layernorm.weight": (hidden,),
                f"{layer}post_attention_layernorm.weight": (hidden,),
            }
        return shapes | {"model.norm.weight": (hidden,), "lm_head.weight": (self.vocab_size, hidden)}


def _release(hidden: int, mlp: int, heads: int, frames: int) -> McArConfig:
    return McArConfig(
        hidden_size=hidden,
        intermediate_size=mlp,
        num_hidden_layers=20,
        num_attention_heads=heads,
        num_key_value_heads=4,
        vocab_size=8262,
        max_position_embeddings=frames * 347,
        image_vocab=8192,
    )


#: The five configurations of the public release.
CONFIGS: Mapping[str, McArConfig] = MappingProxyType(
    {
        "300M_16f": _release(1024, 4096, 16, 16),
        "700M_16f": _release(2048, 4096, 32, 16),
        "700M_32f": _release(2048, 4096, 32, 32),
        "1200M_16f": _release(2048, 8192, 32, 16),
        "1200M_32f": _release(2048, 8192, 32, 32),
    }
)
