"""MC-AR, the MineWorld family: a Llama over image tokens and action tokens, with 1D or 3D rotary positions.

Sequence: frame 0 | action 0 | frame 1 | action 1 | ...; image ids come first in the vocabulary, action ids after them.
Source: the Diagonal Decoding paper's supplement and the public release (configs, lvm.py).
"""

import copy
from collections.abc import Mapping
from functools import partial
from typing import NamedTuple, Self

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

from diagplan.adapters.attention import attend, mask_bias, mask_values, parts_for
from diagplan.adapters.cache import TensorCache
from diagplan.adapters.contract import AllowedIds, Config, Grid, Ranks
from diagplan.adapters.fingerprint import Fingerprinted
from diagplan.adapters.fused import Fused, Sizes, Weights, compiled_layer, fused_stream, plain_weight
from diagplan.adapters.linear import Linear, Quantize, linear_for, require_quantize
from diagplan.adapters.llama_layers import MOST_ROWS, Places, kernel_layers
from diagplan.adapters.mc_ar_config import CONFIGS, McArConfig
from diagplan.adapters.memory import join_rows
from diagplan.adapters.norms import RmsNorm
from diagplan.adapters.parallel_cuts import require_whole
from diagplan.adapters.parallel_layers import joined, look_up, rank_of, summed
from diagplan.adapters.parallel_parts import mc_ar_part

__all__ = ["CONFIGS", "McAr", "McArConfig", "random_weights", "rotary_tables"]

# Shapes: B samples, n feeds, L cache slots, H heads, K key-value heads, G = H / K, D head_dim, V vocabulary.


def random_weights(
    config: Config, *, seed: int = 0, dtype: torch.dtype = torch.float32, device: str = "cpu"
) -> dict[str, Tensor]:
    """Random weights of a trained model's scale by the names of ``config.shapes()``, for tests and benchmarks."""
    generator = torch.Generator().manual_seed(seed)
    weights = {}
    for name, shape in config.shapes().items():
        weight = torch.ones(shape) if len(shape) == 1 else torch.randn(shape, generator=generator) * shape[-1] ** -0.5
        weights[name] = weight.to(device=device, dtype=dtype)
    return weights


class _Layer(NamedTuple):
    attention_norm: RmsNorm
    qkv: Linear
    out: Linear
    mlp_norm: RmsNorm
    gate_up: Linear
    down: Linear


class McAr:
    """The model; see ``diagplan.adapters.contract.Model`` for what its members mean."""

    family = "mc-ar"
    ragged = True

    def __init__(
        self,
        config: McArConfig,
        weights: Mapping[str, Tensor],
        *,
        quantize: Quantize | None = None,
        portable: bool = False,
        least_rows: int = 1,
        kernels: bool = True,
        ranks: Ranks | None = None,
    ) -> None:
        """Take the weights by the names of ``McArConfig.shapes``; all of one dtype and on one device.

        Each is taken once and let go when packed, the largest first: a mapping that reads them from a file as they
        are taken keeps the peak of memory near the size of the model. ``quantize="int8"`` is for float32 weights on
        the CPU; embedding, norms and head, which choose between near-equal logits, stay in float32. ``portable`` leaves
        weights in no machine's own order, as ONNX export needs them; slower on a CPU. ``kernels``: on a GPU, in
        bfloat16, by Triton, layers run in kernels of our own (``llama_layers``). ``least_rows``: as for ``linear_for``.
        ``ranks``: the weights are one rank's part (``parallel_parts.mc_ar_part``), and all ranks take each pass
        together.

        Raises:
            SpecError: ``quantize`` on another device or dtype, or where this machine cannot; heads that the ranks
                cannot share evenly.
        """
        self.config, self.ranks = config, ranks
        part = mc_ar_part(config, ranks)
        self.vocab_size = config.vocab_size
        self.positions = config.max_position_embeddings
        self.cache_shapes = part.cache_shapes(config.cache_shapes)
        self.widths = part.widths(config.widths)
        self._cuts = part.cuts
        self.grid = Grid(config.rows, config.cols, config.action_tokens) if config.rope == "3d" else None
        self.vocabulary: tuple[AllowedIds, ...] = (AllowedIds(low=0, high=config.image_ids),)
        self._weights = weights = Fingerprinted(weights)
        self.embedding = weights["model.embed_tokens.weight"]
        self.device, self.dtype = self.embedding.device, self.embedding.dtype
        require_quantize(quantize, self.device, self.dtype)
        self.quantize = quantize
        self._linear = partial(linear_for, portable=portable, least_rows=least_rows)
        self._norm = partial(RmsNorm, eps=config.rms_norm_eps, portable=portable)
        self.head: Linear = joined(self._linear(weights["lm_head.weight"]), ranks, config.vocab_size)
        self.layers = [self._layer(weights, f"model.layers.{i}.") for i in range(config.num_hidden_layers)]
        self.norm = self._norm(weights["model.norm.weight"])
        self.cos, self.sin = rotary_tables(config, self.device, self.dtype)
        half = torch.ones(config.head_size // 2, device=self.device, dtype=self.dtype)
        self._turn = torch.cat((-half, half))
        self._seen = mask_values(self.device, self.dtype)
        self._scale = config.head_size**-0.5
        self._heads = [part.heads, part.kv_heads]
        self._splits = [sum(self._heads), part.kv_heads]
        self._fused: Fused | None = None
        alone = not portable and self.device.type == "cpu" and self._heads[0] == self._heads[1]
        self._twice = alone and self.dtype == torch.bfloat16  # where one query row takes twice as long as two
        self._kernels = kernel_layers(self) if kernels and not portable and ranks is None else None
        if self._kernels is not None:
            self.head = partial(self._kernels.product, plain_weight(self.head))

    def _layer(self, weights: Mapping[str, Tensor], at: str) -> _Layer:
        def rows(*names: str) -> Linear:
            return self._linear(join_rows([weights[f"{at}{name}_proj.weight"] for name in names]), self.quantize)

        return _Layer(
            self._norm(weights[f"{at}input_layernorm.weight"]),
            rows("self_attn.q", "self_attn.k", "self_attn.v"),
            summed(rows("self_attn.o"), self.ranks),
            self._norm(weights[f"{at}post_attention_layernorm.weight"]),
            rows("mlp.gate", "mlp.up"),
            summed(rows("mlp.down"), self.ranks),
        )

    @classmethod
    def random(
        cls,
        config: McArConfig,
        *,
        seed: int = 0,
        dtype: torch.dtype = torch.float32,
        device: str = "cpu",
        quantize: Quantize | None = None,
        portable: bool = False,
        kernels: bool = True,
    ) -> Self:
        """A model with random weights of a trained model's scale, for tests and benchmarks."""
        weights = random_weights(config, seed=seed, dtype=dtype, device=device)
        return cls(config, weights, quantize=quantize, portable=portable, kernels=kernels)

    def new_cache(self, batch: int, slots: int) -> TensorCache:
        """A cache of zeros; keys are kept rotated."""
        return TensorCache.zeros(self.cache_shapes, batch, slots, dtype=self.dtype, device=self.device)

    def fingerprint(self) -> str:
        """A hash of the configuration, of all weights and of how they are quantised."""
        return self._weights.digest(self.config, self.quantize, *rank_of(self.ranks))

    def weight_bytes(self) -> int:
        """Bytes of the weights."""
        return self.config.weight_bytes(self.dtype.itemsize, self.quantize, cuts=self._cuts)

    def forward(
        self, ids: Tensor, position: Tensor, slot: Tensor, mask: Tensor, cache: TensorCache, rows: Tensor | None = None
    ) -> Tensor:
        """One pass, see ``diagplan.adapters.contract.Model.forward``."""
        embed = (
            look_up(ids, self.embedding, self.ranks, self.config.vocab_size)
            if self._kernels is None
            else self._kernels.embed(ids)
        )
        return self.head(self.stream(embed, position, slot, mask, cache, rows))

    def stream(
        self, x: Tensor, position: Tensor, slot: Tensor, mask: Tensor, cache: TensorCache, rows: Tensor | None = None
    ) -> Tensor:
        """What the head reads, [B, m, hidden], of embeddings x [B, n, hidden]; else as for ``forward``."""
        if self._kernels is not None and x.shape[0] * x.shape[1] <= MOST_ROWS:
            x = self._kernels.layers(x, Places(position, slot, mask), cache)
            return self._kernels.norm(x if rows is None else x.index_select(1, rows), self.norm.weight)
        batch, n, _ = x.shape
        length = mask.shape[-1]
        cos, sin = (table[position].unsqueeze(-3) for table in (self.cos, self.sin))  # [1, n, D] or [B, 1, n, D]
        sin = sin * self._turn
        bias = mask_bias(mask, self._seen, self._heads[0] // self._heads[1])
        if self._fused is not None:
            x = self._through_fused(self._fused, x, cos, sin, bias, slot, cache, length)
            return self.norm(x if rows is None else x.index_select(1, rows))
        parts = parts_for(self.device, batch, self._heads[1], length)
        for i, layer in enumerate(self.layers):
            h = layer.attention_norm(x)
            qkv = layer.qkv(h).view(batch, n, -1, self.config.head_size).transpose(1, 2)  # [B, H + 2 K, n, D]
            qk, v = qkv.split_with_sizes(self._splits, dim=1)
            q, k = _rotate(qk, cos, sin).split_with_sizes(self._heads, dim=1)
            keys, values = cache.update(i, slot, k, v, length)
            twice = self._twice and n == 1
            seen = attend(q.expand(-1, -1, 2, -1) if twice else q, keys, values, bias, self._scale, parts=parts)
            x = layer.out(seen[:, :1] if twice else seen, x)
            h = layer.mlp_norm(x)
            gate, up = layer.gate_up(h).chunk(2, dim=-1)
            x = layer.down(F.silu(gate) * up, x)
        if rows is not None:
            x = x.index_select(1, rows)
        return self.norm(x)

    def compiled(self) -> Self:
        """This model with layers that torch.compile makes few kernels of; the weights are shared.

        For GPUs, where the first pass of one feed and the first of more compile for some seconds each.

        Raises:
            SpecError: packed or quantised weights, or a model that is spread over ranks.
        """
        require_whole(self.ranks, "compiled layers")
        model = copy.copy(self)
        model._fused, model._kernels = (compiled_layer(), self._plain_layers()), None
        return model

    def _plain_layers(self) -> list[Weights]:
        return [
            Weights(
                layer.attention_norm.weight,
                plain_weight(layer.qkv),
                None,
                plain_weight(layer.out),
                layer.mlp_norm.weight,
                plain_weight(layer.gate_up),
                plain_weight(layer.down),
            )
            for layer in self.layers
        ]

    def _through_fused(
        self, fused: Fused, x: Tensor, cos: Tensor, sin: Tensor, bias: Tensor, slot: Tensor, cache: TensorCache,
        length: int,
    ) -> Tensor:  # fmt: skip
        heads, kv_heads = self._heads
        sizes = Sizes(heads, kv_heads, self.config.rms_norm_eps, self._scale)
        return fused_stream(fused, x, sizes, cos, sin, bias, slot, cache, length)


def _rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Half-rotation: channel c pairs with c + D/2. x [B, heads, n, D], cos and sin [1 or B, 1, n, D].

    The first half of ``sin`` is negated.
    """
    return x * cos + x.roll(x.shape[-1] // 2, -1) * sin


def rotary_tables(config: McArConfig, device: torch.device, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """cos and sin of every slot's angles, [positions, D], computed in float64."""
    slot = torch.arange(config.max_position_embeddings, dtype=torch.float64)
    if config.rope == "1d":
        angle = slot[:, None] * _frequencies(config.head_size, config.rope_theta)
    else:
        # d_h = d_w = 2 floor(D / 6), d_t the rest: the split of Cosmos, for the paper names none. Action j of a
        # block lies on the row below the picture, at column j.
        d_space = 2 * (config.head_size // 6)
        cells = config.rows * config.cols
        frame, inner = slot // (cells + config.action_tokens), slot % (cells + config.action_tokens)
        row = torch.where(inner < cells, inner // config.cols, float(config.rows))
        col = torch.where(inner < cells, inner % config.cols, inner - cells)
        parts = ((frame, config.head_size - 2 * d_space), (row, d_space), (col, d_space))
        angle = torch.cat([axis[:, None] * _frequencies(size, config.rope_theta) for axis, size in parts], dim=1)
    angle = torch.cat((angle, angle), dim=1)
    return angle.cos().to(device, dtype), angle.sin().to(device, dtype)


def _frequencies(size: int, theta: float) -> Tensor:
    return theta ** (-torch.arange(0, size, 2, dtype=torch.float64) / size)
