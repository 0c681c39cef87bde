"""Cosmos, NVIDIA's autoregressive world models: 3D rotary positions, QK norm, and for Video2World a text context.

Sequence: the cells of the latent video in raster order, behind a begin-of-video token where the model has one. Source:
nvidia-cosmos/cosmos-predict1, cosmos_predict1/autoregressive. docs/cosmos.md says what was and was not verified.
"""

import copy
import math
from collections.abc import Mapping
from functools import partial
from typing import Any, NamedTuple, Self

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from numpy.typing import NDArray
from torch import Tensor

from diagplan.adapters.attention import attend, mask_bias, mask_values
from diagplan.adapters.cache import TensorCache
from diagplan.adapters.contract import AllowedIds, Grid, Ranks
from diagplan.adapters.cosmos_config import CONFIGS, CosmosConfig
from diagplan.adapters.cosmos_positions import absolute_table, rotary_tables
from diagplan.adapters.fingerprint import Fingerprinted, checksum
from diagplan.adapters.fused import Fused, Sizes, Weights, compiled_layer, fused_stream, plain_weight
from diagplan.adapters.linear import Linear, Quantize, linear_for, require_quantize
from diagplan.adapters.mc_ar import random_weights
from diagplan.adapters.memory import join_rows
from diagplan.adapters.norms import RmsNorm
from diagplan.adapters.parallel_cuts import require_whole
from diagplan.adapters.parallel_layers import joined, look_up, rank_of, summed
from diagplan.adapters.parallel_parts import cosmos_part
from diagplan.planner.errors import SpecError

__all__ = ["CONFIGS", "Cosmos", "CosmosConfig", "TextContext", "random_weights"]

# Shapes: B samples, n feeds, L cache slots, H heads, K key-value heads, G = H / K, D head_dim, V vocabulary, M text
# tokens.

#: The logit of an id that can be fed and never predicted (begin-of-video and its padding): finite in every dtype, and
#: of no probability beside any other.
_NEVER = -1e4


class TextContext(NamedTuple):
    """What the cross-attention of a Video2World model sees: it depends on the text alone, so it is computed once.

    Attributes:
        keys, values: of every layer, [B or 1, K, M, D].
        bias: what is added to the scores, [B or 1, 1, 1, M]; ``None``: every text token is seen.
    """

    keys: tuple[Tensor, ...]
    values: tuple[Tensor, ...]
    bias: Tensor | None = None


class _Cross(NamedTuple):
    norm: RmsNorm
    q: Linear
    q_norm: RmsNorm
    k: Linear
    k_norm: RmsNorm
    v: Linear
    out: Linear


class _Layer(NamedTuple):
    attention_norm: RmsNorm
    qkv: Linear
    qk_norm: RmsNorm  # [H + K, D]
    out: Linear
    cross: _Cross | None
    ffn_norm: RmsNorm
    gate_up: Linear
    down: Linear


class Cosmos:
    """The model; see ``diagplan.adapters.contract.Model`` for what its members mean.

    ``vocab_size`` counts the ids that can be fed, begin-of-video among them; of those that are never predicted the
    logits are -10,000. A Video2World model computes only with a text context: ``with_context``.
    """

    family = "cosmos"
    ragged = True

    def __init__(
        self,
        config: CosmosConfig,
        weights: Mapping[str, Tensor],
        *,
        quantize: Quantize | None = None,
        portable: bool = False,
        ranks: Ranks | None = None,
    ) -> None:
        """Take the weights by the names of ``CosmosConfig.shapes``; all of one dtype and on one device.

        Each is taken once and let go when packed, so that a mapping that reads them from a file keeps the peak of
        memory near the size of the model. ``quantize="int8"`` is for float32 weights on the CPU; embedding, norms and
        head stay in float32. ``portable`` leaves weights in no machine's own order, as export needs them. ``ranks``:
        the weights are one rank's part (``parallel_parts.cosmos_part``), and all ranks take each pass together.

        Raises:
            SpecError: ``quantize`` on another device or dtype, or where this machine cannot; heads that the ranks
                cannot share evenly.
        """
        self.config, self.ranks = config, ranks
        part = cosmos_part(config, ranks)
        self.vocab_size = config.embedding_rows
        self.positions = config.positions
        self.cache_shapes = part.cache_shapes(config.cache_shapes)
        self.widths = part.widths(config.widths)
        self._cuts = part.cuts
        self.vocabulary: tuple[AllowedIds, ...] = (AllowedIds(low=0, high=config.vocab_size),)
        self._weights = weights = Fingerprinted(weights)
        self.embedding = weights["tok_embeddings.weight"]
        self.device, self.dtype = self.embedding.device, self.embedding.dtype
        require_quantize(quantize, self.device, self.dtype)
        self.quantize = quantize
        self._linear = partial(linear_for, portable=portable)
        self._rms_norm = partial(RmsNorm, eps=config.norm_eps, portable=portable)
        self._heads = [part.heads, part.kv_heads]
        self._scale = config.head_size**-0.5
        self._seen = mask_values(self.device, self.dtype)
        self._fused: Fused | None = None
        self.head = joined(self._linear(weights["output.weight"]), ranks, config.vocab_size)
        self.layers = [self._layer(weights, f"layers.{i}.") for i in range(config.n_layers)]
        self.norm = self._norm(weights, "", "norm")
        grid = config.video_latent_shape
        self.grid: Grid | None = Grid(rows=grid[1], cols=grid[2], between_frames=0)
        cos, sin = rotary_tables(grid, config.head_size, config.rope_theta, rescale=config.rescale, lead=config.lead)
        self.cos, self.sin = cos.to(self.device, self.dtype), sin.to(self.device, self.dtype)
        self.absolute = absolute_table(grid, config.dim, lead=config.lead).to(self.device) if config.absolute else None
        self.context: TextContext | None = None

    def _layer(self, weights: Mapping[str, Tensor], at: str) -> _Layer:
        norm = partial(self._norm, weights, at)
        q_norm, k_norm = (weights[f"{at}attention.{name}.weight"] for name in ("q_norm", "k_norm"))
        return _Layer(
            norm("attention_norm"),
            self._joined(weights, at, "attention.wq", "attention.wk", "attention.wv"),
            self._rms_norm(torch.cat([w.expand(n, -1) for w, n in zip((q_norm, k_norm), self._heads, strict=True)])),
            summed(self._joined(weights, at, "attention.wo"), self.ranks),
            None if self.config.context_dim is None else self._cross(weights, at),
            norm("ffn_norm"),
            self._joined(weights, at, "feed_forward.w1", "feed_forward.w3"),
            summed(self._joined(weights, at, "feed_forward.w2"), self.ranks),
        )

    def _cross(self, weights: Mapping[str, Tensor], at: str) -> _Cross:
        return _Cross(
            self._norm(weights, at, "cross_attention_norm"),
            self._joined(weights, at, "cross_attention.wq"),
            self._norm(weights, at, "cross_attention.q_norm"),
            self._joined(weights, at, "cross_attention.wk"),
            self._norm(weights, at, "cross_attention.k_norm"),
            self._joined(weights, at, "cross_attention.wv"),
            summed(self._joined(weights, at, "cross_attention.wo"), self.ranks),
        )

    def _norm(self, weights: Mapping[str, Tensor], at: str, name: str) -> RmsNorm:
        return self._rms_norm(weights[f"{at}{name}.weight"])

    def _joined(self, weights: Mapping[str, Tensor], at: str, *names: str) -> Linear:
        return self._linear(join_rows([weights[f"{at}{name}.weight"] for name in names]), self.quantize)

    @classmethod
    def random(
        cls,
        config: CosmosConfig,
        *,
        seed: int = 0,
        dtype: torch.dtype = torch.float32,
        device: str = "cpu",
        quantize: Quantize | None = None,
        portable: bool = False,
    ) -> Self:
        """A model with random weights of a trained model's scale, for tests and benchmarks."""
        weights = random_weights(config, seed=seed, dtype=dtype, device=device)
        return cls(config, weights, quantize=quantize, portable=portable)

    def new_cache(self, batch: int, slots: int) -> TensorCache:
        """A cache of zeros; keys are kept normed and rotated."""
        return TensorCache.zeros(self.cache_shapes, batch, slots, dtype=self.dtype, device=self.device)

    def fingerprint(self) -> str:
        """A hash of the configuration, of all weights, of how they are quantised, and of the text context."""
        context = self.context
        held = [] if context is None else [*context.keys, *context.values, context.bias]
        text = [None if tensor is None else checksum(tensor) for tensor in held]
        return self._weights.digest(self.config, self.quantize, text, *rank_of(self.ranks))

    @property
    def only_batch(self) -> int | None:
        """The one batch that can be passed through, where each sample has a text of its own; ``None``: any."""
        texts = 1 if self.context is None else self.context.keys[0].shape[0]
        return None if texts == 1 else texts

    def weight_bytes(self) -> int:
        """Bytes of the weights, of the position tables and of the text context's keys and values."""
        held = [] if self.context is None else [*self.context.keys, *self.context.values, self.context.bias]
        text = sum(tensor.nbytes for tensor in held if tensor is not None)
        return self.config.weight_bytes(self.dtype.itemsize, self.quantize, cuts=self._cuts) + text

    # The text context

    def with_context(
        self, context: Tensor | NDArray[np.floating[Any]], mask: Tensor | NDArray[np.bool_] | None = None
    ) -> Self:
        """This model, reading one text; the weights are shared.

        Args:
            context: text features, float [M, context_dim] or [B, M, context_dim]. With B = 1 any batch reads it, else
                sample i reads text i.
            mask: bool [M] or [B, M], true where a text token is seen. ``None``: all of them, the zero vectors of
                padding included, which is what the released pipeline does.

        Raises:
            SpecError: a model that reads no text, or a context or mask that does not fit.
        """
        return self.bound(self.text_context(context, mask))

    def text_context(
        self, context: Tensor | NDArray[np.floating[Any]], mask: Tensor | NDArray[np.bool_] | None = None
    ) -> TextContext:
        """Keys and values of a text for every layer; arguments and errors as for ``with_context``."""
        features, seen = self._checked(torch.as_tensor(context), None if mask is None else torch.as_tensor(mask))
        features = features.to(self.device, self.dtype)
        keys, values = [], []
        with torch.no_grad():
            for layer in self.layers:
                assert layer.cross is not None
                k = self._split(layer.cross.k(features))
                keys.append(layer.cross.k_norm(k).transpose(1, 2).contiguous())
                values.append(self._split(layer.cross.v(features)).transpose(1, 2).contiguous())
        bias = None if seen is None else self._bias(seen.to(self.device))[:, None, None]
        return TextContext(tuple(keys), tuple(values), bias)

    def bound(self, context: TextContext) -> Self:
        """This model with a context of its own ``text_context``; the weights are shared."""
        model = copy.copy(self)
        model.context = context
        return model

    def _checked(self, context: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """Context [B, M, context_dim] and mask [B, M]."""
        width = self.config.context_dim
        if width is None:
            raise SpecError(
                "expected a Video2World model for a text context, got a Cosmos model without cross-attention. "
                "Leave the context out."
            )
        features = context[None] if context.ndim == 2 else context
        if features.ndim != 3 or features.shape[-1] != width or 0 in features.shape or not features.is_floating_point():
            raise SpecError(
                f"expected text features, float [tokens, {width}] or [batch, tokens, {width}], got {context.dtype} "
                f"{list(context.shape)}. The releases take the last hidden state of T5-11B."
            )
        if not bool(torch.isfinite(features).all()):
            raise SpecError("expected finite text features, got NaN or infinite ones. Compute them again in float32.")
        if mask is None:
            return features, None
        seen = mask[None] if mask.ndim == 1 else mask
        if seen.dtype != torch.bool or seen.shape != features.shape[:2] or not bool(seen.any(dim=1).all()):
            raise SpecError(
                f"expected a mask, bool {list(features.shape[:2])}, with a text token to see in every row, got "
                f"{mask.dtype} {list(mask.shape)}. Leave it out for the released behaviour."
            )
        return features, seen

    # The pass

    def compiled(self) -> Self:
        """This model with layers that torch.compile makes few kernels of; the weights are shared.

        For GPUs, where the first pass of one feed and the first of more compile for some seconds each.

        Raises:
            SpecError: packed or quantised weights, a model that is spread over ranks, or a Video2World model, whose
                layers read a text as well.
        """
        require_whole(self.ranks, "compiled layers")
        if self.config.context_dim is not None or self.config.absolute:
            raise SpecError("expected a Cosmos model that reads no text for compiled layers, got a Video2World one.")
        model = copy.copy(self)
        layers = [
            Weights(
                layer.attention_norm.weight,
                plain_weight(layer.qkv),
                layer.qk_norm.weight,
                plain_weight(layer.out),
                layer.ffn_norm.weight,
                plain_weight(layer.gate_up),
                plain_weight(layer.down),
            )
            for layer in self.layers
        ]
        model._fused = compiled_layer(), layers
        return model

    def forward(
        self, ids: Tensor, position: Tensor, slot: Tensor, mask: Tensor, cache: TensorCache, rows: Tensor | None = None
    ) -> Tensor:
        """One pass, see ``diagplan.adapters.contract.Model.forward``.

        Raises:
            SpecError: a Video2World model without a text context, or with one for another batch.
        """
        length = mask.shape[-1]
        self._require_context(ids.shape[0])
        cos, sin = (table[position].unsqueeze(-3) for table in (self.cos, self.sin))  # [1, n, D] or [B, 1, n, D]
        absolute = None if self.absolute is None else self.absolute[position].to(self.dtype)  # [n, dim] or [B, n, dim]
        bias = mask_bias(mask, self._seen, self._heads[0] // self._heads[1])
        x = look_up(ids, self.embedding, self.ranks, self.config.embedding_rows)  # [B, n, dim]
        if self._fused is not None:
            sizes = Sizes(self.config.n_heads, self.config.n_kv_heads, self.config.norm_eps, self._scale)
            half = self.config.head_size // 2
            turn = torch.cat((-sin[..., :half], sin[..., half:]), dim=-1)
            x = fused_stream(self._fused, x, sizes, cos, turn, bias, slot, cache, length)
        for i, layer in enumerate(self.layers if self._fused is None else ()):
            if absolute is not None:
                x = x + absolute
            q, k, v = self._projected(layer, x, cos, sin)
            keys, values = cache.update(i, slot, k, v, length)
            x = x + layer.out(attend(q, keys, values, bias, self._scale))
            if layer.cross is not None:
                x = x + self._read_text(i, layer.cross, x)
            h = layer.ffn_norm(x)
            gate, up = layer.gate_up(h).chunk(2, dim=-1)
            x = x + layer.down(F.silu(gate) * up)
        if rows is not None:
            x = x.index_select(1, rows)
        logits = self.head(self.norm(x))
        unpredicted = self.vocab_size - self.config.vocab_size
        return F.pad(logits, (0, unpredicted), value=_NEVER) if unpredicted else logits

    def _projected(self, layer: _Layer, x: Tensor, cos: Tensor, sin: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Queries [B, H, n, D], keys and values [B, K, n, D]; norms come before the rotation."""
        heads, kv_heads = self._heads
        qkv = self._split(layer.qkv(layer.attention_norm(x)))  # [B, n, H + 2 K, D]
        qk, v = torch.split(qkv, [heads + kv_heads, kv_heads], dim=2)
        turned = _rotate(layer.qk_norm(qk).transpose(1, 2), cos, sin)
        q, k = torch.split(turned, [heads, kv_heads], dim=1)
        return q, k, v.transpose(1, 2)

    def _read_text(self, number: int, cross: _Cross, x: Tensor) -> Tensor:
        """Cross-attention of x [B, n, dim] over the text: no rotation, no causal mask."""
        assert self.context is not None
        batch = x.shape[0]
        q = cross.q_norm(self._split(cross.q(cross.norm(x)))).transpose(1, 2)
        k, v = (held[number].expand(batch, -1, -1, -1) for held in (self.context.keys, self.context.values))
        return cross.out(attend(q, k, v, self.context.bias, self._scale, parts=1))

    def _split(self, x: Tensor) -> Tensor:
        """Heads apart: [..., heads D] -> [..., heads, D]."""
        return x.view(*x.shape[:-1], -1, self.config.head_size)

    def _require_context(self, batch: int) -> None:
        if self.config.context_dim is None:
            return
        if self.context is None:
            raise SpecError(
                "expected a text context for a Video2World model, got none. Bind one: model.with_context(features), "
                "features from adapters.cosmos_text."
            )
        if self.only_batch not in (None, batch):
            raise SpecError(f"expected one text, or one for each of {batch} samples, got {self.only_batch} texts.")

    def _bias(self, mask: Tensor) -> Tensor:
        """What a mask adds to the scores, in its shape."""
        return torch.zeros(mask.shape, dtype=self.dtype, device=mask.device).masked_fill_(~mask, -math.inf)


def _rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Half-rotation: channel c pairs with c + D/2. x [B, heads, n, D], cos and sin [1 or B, 1, n, D]."""
    half = x.shape[-1] // 2
    turned = torch.cat((-x[..., half:], x[..., :half]), dim=-1)
    return x * cos + turned * sin
