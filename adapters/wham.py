"""WHAM, the world and human action model of Xbox gameplay: a GPT-2 over image tokens and controller tokens.

Sequence: frame 0 | action 0 | frame 1 | action 1 | ...; image ids come first in the vocabulary, action ids after them.
Every flat slot has a learned position, so the sequence ends where those end, after ten frames. Blocks come in two
versions: in version 1 their norms are learned, in version 2 they have no parameters.
"""

import copy
import math
from collections.abc import Mapping
from functools import partial
from typing import NamedTuple, Self

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

from diagplan.adapters.cache import TensorCache
from diagplan.adapters.contract import AllowedIds, Grid, Ranks
from diagplan.adapters.fingerprint import Fingerprinted
from diagplan.adapters.linear import Linear, PlainLinear, Quantize, linear_for, require_quantize
from diagplan.adapters.parallel_layers import joined, look_up, rank_of, summed
from diagplan.adapters.parallel_parts import wham_part
from diagplan.adapters.wham_config import CONFIGS, WhamConfig

__all__ = ["CONFIGS", "Wham", "WhamConfig", "random_weights"]

# Shapes: B samples, n feeds, L cache slots, H heads, D head width, V vocabulary.

_EPS = 1e-5


def random_weights(
    config: WhamConfig, *, seed: int = 0, dtype: torch.dtype = torch.float32, device: str = "cpu"
) -> dict[str, Tensor]:
    """Random weights by the names of ``WhamConfig.shapes``, head and embedding equal, for tests and benchmarks."""
    generator = torch.Generator().manual_seed(seed)
    weights = {}
    for name, shape in config.shapes().items():
        scale, middle = (0.1, float(name.endswith("weight"))) if len(shape) == 1 else (shape[-1] ** -0.5, 0.0)
        weight = torch.randn(shape, generator=generator) * scale + middle
        weights[name] = weight.to(device=device, dtype=dtype)
    return weights | {"lm_head.weight": weights["transformer.wte.weight"]}


class _Affine(NamedTuple):
    linear: Linear
    bias: Tensor | None

    def __call__(self, x: Tensor) -> Tensor:
        y = self.linear(x)
        return y if self.bias is None else y + self.bias


class _Norm(NamedTuple):
    weight: Tensor | None
    bias: Tensor | None

    def __call__(self, x: Tensor) -> Tensor:
        return F.layer_norm(x, x.shape[-1:], self.weight, self.bias, _EPS)


class _Block(NamedTuple):
    norm_1: _Norm
    qkv: _Affine
    out: _Affine
    norm_2: _Norm
    up: _Affine
    down: _Affine


class Wham:
    """The model; see ``diagplan.adapters.contract.Model`` for what its members mean."""

    family = "wham"
    ragged = True

    def __init__(
        self,
        config: WhamConfig,
        weights: Mapping[str, Tensor],
        *,
        quantize: Quantize | None = None,
        portable: bool = False,
        ranks: Ranks | None = None,
    ) -> None:
        """Take the weights by the names of ``WhamConfig.shapes``; all of one dtype and on one device.

        Each is taken once; the embedding is ``lm_head.weight``, which upstream loads last. ``quantize`` and
        ``portable`` are as for ``diagplan.adapters.mc_ar.McAr``, and so is ``ranks``, by ``parallel_parts.wham_part``.

        Raises:
            SpecError: ``quantize`` on another device or dtype, or where this machine cannot; heads that the ranks
                cannot share evenly.
        """
        self.config, self.ranks = config, ranks
        self._part = part = wham_part(config, ranks)
        self.vocab_size = config.vocab_size
        self.positions = config.positions
        self.grid: Grid | None = None  # a position is a flat slot
        self.cache_shapes = part.cache_shapes(config.cache_shapes)
        self.widths = part.widths(config.widths)
        self.vocabulary: tuple[AllowedIds, ...] = (
            AllowedIds(low=0, high=config.image_codes),
            AllowedIds(low=1, high=config.image_codes, rows=(0, 1), cols=(0, 1)),
        )
        self._weights = weights = Fingerprinted(weights)
        self.embedding = weights["lm_head.weight"]
        self.device, self.dtype = self.embedding.device, self.embedding.dtype
        require_quantize(quantize, self.device, self.dtype)
        self.quantize = quantize
        self._linear = partial(linear_for, portable=portable)
        own = self._linear(self.embedding)
        self._packed = not isinstance(own, PlainLinear)
        self.head = joined(own, ranks, config.vocab_size)
        self.blocks = [self._block(weights, f"transformer.h.{i}.") for i in range(config.n_layer)]
        self.norm = self._norm(weights, "transformer.ln_f")
        self.place = weights["transformer.wpe.weight"]

    def _norm(self, weights: Mapping[str, Tensor], name: str) -> _Norm:
        return _Norm(weights[f"{name}.weight"], weights[f"{name}.bias"] if self.config.bias else None)

    def _block(self, weights: Mapping[str, Tensor], at: str) -> _Block:
        def norm(name: str) -> _Norm:
            return self._norm(weights, f"{at}{name}") if self.config.nanogpt_version == 1 else _Norm(None, None)

        def affine(name: str, *, cut_inputs: bool = False) -> _Affine:
            linear = self._linear(weights[f"{at}{name}.weight"], self.quantize)
            bias = weights[f"{at}{name}.bias"] if self.config.bias else None
            return _Affine(summed(linear, self.ranks) if cut_inputs else linear, bias)

        return _Block(
            norm_1=norm("ln_1"),
            qkv=affine("attn.c_attn"),
            out=affine("attn.c_proj", cut_inputs=True),
            norm_2=norm("ln_2"),
            up=affine("mlp.c_fc"),
            down=affine("mlp.c_proj", cut_inputs=True),
        )

    @classmethod
    def random(
        cls,
        config: WhamConfig,
        *,
        seed: int = 0,
        dtype: torch.dtype = torch.float32,
        device: str = "cpu",
        quantize: Quantize | None = None,
        portable: bool = False,
    ) -> Self:
        """A model with random weights, for tests and benchmarks."""
        weights = random_weights(config, seed=seed, dtype=dtype, device=device)
        return cls(config, weights, quantize=quantize, portable=portable)

    def policy(self) -> Self:
        """The same model, to choose actions: cells of ``WhamConfig.action_layout`` take the ids of their button."""
        other = copy.copy(self)
        other.vocabulary = tuple(
            AllowedIds(low=low, high=high, cols=(i, i + 1)) for i, (low, high) in enumerate(self.config.action_ranges())
        )
        return other

    def new_cache(self, batch: int, slots: int) -> TensorCache:
        """A cache of zeros."""
        return TensorCache.zeros(self.cache_shapes, batch, slots, dtype=self.dtype, device=self.device)

    def fingerprint(self) -> str:
        """A hash of the configuration, of all weights, of the vocabulary and of how they are quantised."""
        return self._weights.digest(self.config, self.vocabulary, self.quantize, *rank_of(self.ranks))

    def weight_bytes(self) -> int:
        """Bytes of the weights; the head counts where it is a second, reordered copy of the embedding."""
        return self.config.weight_bytes(self.dtype.itemsize, self.quantize, packed=self._packed, cuts=self._part.cuts)

    def forward(
        self, ids: Tensor, position: Tensor, slot: Tensor, mask: Tensor, cache: TensorCache, rows: Tensor | None = None
    ) -> Tensor:
        """One pass, see ``diagplan.adapters.contract.Model.forward``."""
        batch, n = ids.shape
        length = mask.shape[-1]
        seen = torch.zeros(mask.shape, dtype=self.dtype, device=mask.device).masked_fill(~mask, -math.inf)
        seen = seen if mask.ndim == 2 else seen[:, None]  # [n, L] or [B, 1, n, L]
        x = look_up(ids, self.embedding, self.ranks, self.config.vocab_size) + F.embedding(
            position, self.place
        )  # [B, n, width]
        for i, block in enumerate(self.blocks):
            heads = block.qkv(block.norm_1(x)).view(batch, n, -1, self.config.head_size).transpose(1, 2)
            q, k, v = torch.split(heads, self._part.heads, dim=1)  # [B, H, n, D]
            keys, values = cache.update(i, slot, k, v, length)
            mixed = F.scaled_dot_product_attention(q, keys, values, attn_mask=seen)
            x = x + block.out(mixed.transpose(1, 2).flatten(2))
            x = x + block.down(F.gelu(block.up(block.norm_2(x)), approximate="tanh"))
        if rows is not None:
            x = x.index_select(1, rows)
        return self.head(self.norm(x))
