"""LlamaGen's sizes: the published ones, and what follows from them.

Source: FoundationVision/LlamaGen, autoregressive/models/gpt.py. Names are those of its ``ModelArgs``.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

from diagplan.adapters.contract import Widths
from diagplan.adapters.devices import Quantize
from diagplan.planner.errors import SpecError
from diagplan.planner.layout import store_int
from diagplan.planner.rounding import rounded_up
from diagplan.planner.shown import shown

__all__ = ["CONFIGS", "LARGEST_SIDE", "LlamaGenConfig"]

#: Rows and columns of the largest published pictures, 512 x 512 pixels.
LARGEST_SIDE = 32
#: A table of angles is as long as the longest sequence.
_MOST_ROWS = 256
#: Of what is no count.
_LARGEST = 1e12


@dataclass(frozen=True, slots=True, kw_only=True)
class LlamaGenConfig:
    """A LlamaGen's sizes.

    Args:
        n_layer: layers.
        n_head: heads; nothing in a checkpoint tells them.
        dim: width of the stream.
        model_type: ``"c2i"``: a picture of a class; ``"t2i"``: of a text.
        vocab_size: codes of a picture, which are ids 0 to this, less one.
        num_classes: of ``"c2i"``; class c is fed as id ``vocab_size`` + c, the null class comes after the last.
        caption_dim: width of the text features of ``"t2i"``.
        cls_token_num: length of the condition, 1 or 120 by default.
        multiple_of: the feed-forward width is a multiple of this.
        norm_eps: of the norms.
        rope_base: of the rotation.
        largest_side: rows and columns of the largest picture.

    Raises:
        SpecError: sizes that do not fit together.
    """

    n_layer: int
    n_head: int
    dim: int
    model_type: Literal["c2i", "t2i"] = "c2i"
    vocab_size: int = 16384
    num_classes: int = 1000
    caption_dim: int = 2048
    cls_token_num: int | None = None
    multiple_of: int = 256
    norm_eps: float = 1e-5
    rope_base: float = 10_000.0
    largest_side: int = LARGEST_SIDE

    def __post_init__(self) -> None:
        if self.model_type not in ("c2i", "t2i"):
            raise SpecError(f"expected model_type to be 'c2i' or 't2i', got model_type={shown(self.model_type)}.")
        if self.cls_token_num is None:
            object.__setattr__(self, "cls_token_num", 1 if self.model_type == "c2i" else 120)
        for name in ("n_layer", "n_head", "dim", "vocab_size", "num_classes", "caption_dim", "cls_token_num",
                     "multiple_of", "largest_side"):  # fmt: skip
            store_int(self, name, 1)
        if self.largest_side > _MOST_ROWS:
            raise SpecError(f"expected largest_side <= {_MOST_ROWS}, got largest_side={shown(self.largest_side)}.")
        for name in ("norm_eps", "rope_base"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value <= _LARGEST:
                raise SpecError(f"expected {name} to be a number above 0, got {name}={shown(value)}.")
            object.__setattr__(self, name, float(value))
        if self.dim % self.n_head or self.dim // self.n_head % 4:
            raise SpecError(
                f"expected heads whose width is a multiple of 4, half for rows, half for columns, got dim={self.dim} "
                f"and n_head={self.n_head}."
            )
        if self.model_type == "c2i" and self.cls_token_num != 1:
            raise SpecError(f"expected cls_token_num=1 with model_type='c2i', got {shown(self.cls_token_num)}.")

    @property
    def lead(self) -> int:
        """Length of the condition."""
        assert self.cls_token_num is not None
        return self.cls_token_num

    @property
    def positions(self) -> int:
        """Slots of the longest sequence."""
        return self.lead + self.largest_side**2

    @property
    def input_vocab_size(self) -> int:
        """Ids that may be fed: codes, classes and the null class."""
        return self.vocab_size + (self.num_classes + 1 if self.model_type == "c2i" else 0)

    @property
    def head_size(self) -> int:
        """D, the width of one head."""
        return self.dim // self.n_head

    @property
    def mlp(self) -> int:
        """Width of the feed-forward part: two thirds of four times ``dim``, rounded up."""
        return rounded_up(8 * self.dim // 3, self.multiple_of)

    @property
    def cache_shapes(self) -> tuple[tuple[int, int], ...]:
        """As in ``diagplan.adapters.contract.Model``."""
        return ((self.n_head, self.head_size),) * (2 * self.n_layer)

    @property
    def widths(self) -> Widths:
        """Of a layer."""
        return Widths(self.dim, self.n_head, self.n_head, self.head_size, 2 * self.mlp)

    def weight_bytes(
        self, itemsize: int, quantize: Quantize | None = None, *, packed: bool = False, text_tokens: int = 0
    ) -> int:
        """As in ``diagplan.adapters.contract.Config``; packing replaces weights, texts are embedded by the caller."""
        del packed, text_tokens
        sizes = {name: math.prod(shape) for name, shape in self.shapes().items()}
        linear = (".wqkv.", ".wo.", ".feed_forward.")
        small = sum(size for name, size in sizes.items() if any(one in name for one in linear)) if quantize else 0
        return small + (sum(sizes.values()) - small) * itemsize

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """The name and shape of every weight, as published."""
        dim, mlp = self.dim, self.mlp
        if self.model_type == "c2i":
            shapes: dict[str, tuple[int, ...]] = {"cls_embedding.embedding_table.weight": (self.num_classes + 1, dim)}
        else:
            shapes = {
                "cls_embedding.cap_proj.fc1.weight": (dim, self.caption_dim),
                "cls_embedding.cap_proj.fc2.weight": (dim, dim),
                "cls_embedding.uncond_embedding": (self.lead, self.caption_dim),
            }
        shapes["tok_embeddings.weight"] = (self.vocab_size, dim)
        for i in range(self.n_layer):
            layer = f"layers.{i}."
            shapes |= {
                f"{layer}attention.wqkv.weight": (3 * dim, dim),
                f"{layer}attention.wo.weight": (dim, dim),
                f"{layer}feed_forward.w1.weight": (mlp, dim),
                f"{layer}feed_forward.w3.weight": (mlp, dim),
                f"{layer}feed_forward.w2.weight": (dim, mlp),
                f"{layer}attention_norm.weight": (dim,),
                f"{layer}ffn_norm.weight": (dim,),
            }
        return shapes | {"norm.weight": (dim,), "output.weight": (self.vocab_size, dim)}


#: The published sizes; XL of a text too.
CONFIGS: Mapping[str, LlamaGenConfig] = MappingProxyType(
    {
        "B": LlamaGenConfig(n_layer=12, n_head=12, dim=768),
        "L": LlamaGenConfig(n_layer=24, n_head=16, dim=1024),
        "XL": LlamaGenConfig(n_layer=36, n_head=20, dim=1280),
        "XXL": LlamaGenConfig(n_layer=48, n_head=24, dim=1536),
        "3B": LlamaGenConfig(n_layer=24, n_head=32, dim=3200),
        "XL-t2i": LlamaGenConfig(n_layer=36, n_head=20, dim=1280, model_type="t2i"),
    }
)
