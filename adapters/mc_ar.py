"""MC-AR, the MineWorld family: a Llama over image tokens and action tokens, with 1D or 3D rotary positions.

Sequence: frame 0 | action 0 | frame 1 | action 1 | ...; image ids come first in the vocabulary, action ids after them.
Source: the Diagonal Decoding paper's supplement and the public release (configs, lvm.py).
"""

import copy
import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from functools import partial
from types import MappingProxyType
from typing import Literal, NamedTuple, Self

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

from diagplan.adapters.attention import attend, mask_bias, mask_values, parts_for
from diagplan.adapters.cache import TensorCache
from diagplan.adapters.contract import AllowedIds, Config, Grid, Widths
from diagplan.adapters.fingerprint import Fingerprinted
from diagplan.adapters.fused import Fused, Sizes, Weights, compiled_layer, fused_stream, plain_weight
from diagplan.adapters.linear import Linear, Quantize, linear_for, require_quantize
from diagplan.adapters.llama_layers import MOST_ROWS, Places, kernel_layers
from diagplan.adapters.memory import join_rows
from diagplan.planner.errors import SpecError
from diagplan.planner.layout import store_int
from diagplan.planner.shown import shown

__all__ = ["CONFIGS", "McAr", "McArConfig", "random_weights", "rotary_tables"]

# Shapes: B samples, n feeds, L cache slots, H heads, K key-value heads, G = H / K, D head_dim, V vocabulary.


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
        self, itemsize: int, quantize: Quantize | None = None, *, packed: bool = False, text_tokens: int = 0
    ) -> int:
        """As in ``diagplan.adapters.contract.Config``; packing replaces weights, and no text is read."""
        del packed, text_tokens
        sizes = {name: math.prod(shape) for name, shape in self.shapes().items()}
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
    attention_norm: Tensor
    qkv: Linear
    out: Linear
    mlp_norm: Tensor
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
    ) -> None:
        """Take the weights by the names of ``McArConfig.shapes``; all of one dtype and on one device.

        Each is taken once and let go when packed, the largest first: a mapping that reads them from a file as they
        are taken keeps the peak of memory near the size of the model. ``quantize="int8"`` is for float32 weights on
        the CPU; embedding, norms and head, which choose between near-equal logits, stay in float32. ``portable`` leaves
        weights in no machine's own order, as ONNX export needs them; slower on a CPU. ``kernels``: on a GPU, in
        bfloat16, by Triton, layers run in kernels of our own (``llama_layers``). ``least_rows``: as for ``linear_for``.

        Raises:
            SpecError: ``quantize`` on another device or dtype, or where this machine cannot.
        """
        self.config = config
        self.vocab_size = config.vocab_size
        self.positions = config.max_position_embeddings
        self.cache_shapes, self.widths = config.cache_shapes, config.widths
        self.grid = Grid(config.rows, config.cols, config.action_tokens) if config.rope == "3d" else None
        self.vocabulary: tuple[AllowedIds, ...] = (AllowedIds(low=0, high=config.image_ids),)
        self._weights = weights = Fingerprinted(weights)
        self.embedding = weights["model.embed_tokens.weight"]
        self.device, self.dtype = self.embedding.device, self.embedding.dtype
        require_quantize(quantize, self.device, self.dtype)
        self.quantize = quantize
        self._linear = partial(linear_for, portable=portable, least_rows=least_rows)
        self.head: Linear = self._linear(weights["lm_head.weight"])
        self.layers = [self._layer(weights, f"model.layers.{i}.") for i in range(config.num_hidden_layers)]
        self.norm = weights["model.norm.weight"]
        self.cos, self.sin = rotary_tables(config, self.device, self.dtype)
        half = torch.ones(config.head_size // 2, device=self.device, dtype=self.dtype)
        self._turn = torch.cat((-half, half))
        self._seen = mask_values(self.device, self.dtype)
        self._scale = config.head_size**-0.5
        self._heads = [config.num_attention_heads, config.num_key_value_heads]
        self._splits = [sum(self._heads), config.num_key_value_heads]
        self._fused: Fused | None = None
        alone = not portable and self.device.type == "cpu" and self._heads[0] == self._heads[1]
        self._twice = alone and self.dtype == torch.bfloat16  # where one query row takes twice as long as two
        self._kernels = kernel_layers(self) if kernels and not portable else None
        if self._kernels is not None:
            self.head = partial(self._kernels.product, plain_weight(self.head))

    def _layer(self, weights: Mapping[str, Tensor], at: str) -> _Layer:
        def joined(*names: str) -> Linear:
            return self._linear(join_rows([weights[f"{at}{name}_proj.weight"] for name in names]), self.quantize)

        return _Layer(
            weights[f"{at}input_layernorm.weight"],
            joined("self_attn.q", "self_attn.k", "self_attn.v"),
            joined("self_attn.o"),
            weights[f"{at}post_attention_layernorm.weight"],
            joined("mlp.gate", "mlp.up"),
            joined("mlp.down"),
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
        return self._weights.digest(self.config, self.quantize)

    def weight_bytes(self) -> int:
        """Bytes of the weights."""
        return self.config.weight_bytes(self.dtype.itemsize, self.quantize)

    def forward(
        self, ids: Tensor, position: Tensor, slot: Tensor, mask: Tensor, cache: TensorCache, rows: Tensor | None = None
    ) -> Tensor:
        """One pass, see ``diagplan.adapters.contract.Model.forward``."""
        embed = F.embedding(ids, self.embedding) if self._kernels is None else self._kernels.embed(ids)
        return self.head(self.stream(embed, position, slot, mask, cache, rows))

    def stream(
        self, x: Tensor, position: Tensor, slot: Tensor, mask: Tensor, cache: TensorCache, rows: Tensor | None = None
    ) -> Tensor:
        """What the head reads, [B, m, hidden], of embeddings x [B, n, hidden]; else as for ``forward``."""
        if self._kernels is not None and x.shape[0] * x.shape[1] <= MOST_ROWS:
            x = self._kernels.layers(x, Places(position, slot, mask), cache)
            return self._kernels.norm(x if rows is None else x.index_select(1, rows), self.norm)
        batch, n, _ = x.shape
        length = mask.shape[-1]
        cos, sin = (table[position].unsqueeze(-3) for table in (self.cos, self.sin))  # [1, n, D] or [B, 1, n, D]
        sin = sin * self._turn
        bias = mask_bias(mask, self._seen, self._heads[0] // self._heads[1])
        if self._fused is not None:
            x = self._through_fused(self._fused, x, cos, sin, bias, slot, cache, length)
            return _rms_norm(x if rows is None else x.index_select(1, rows), self.norm, self.config.rms_norm_eps)
        parts = parts_for(self.device, batch, self._heads[1], length)
        for i, layer in enumerate(self.layers):
            h = _rms_norm(x, layer.attention_norm, self.config.rms_norm_eps)
            qkv = layer.qkv(h).view(batch, n, -1, self.config.head_size).transpose(1, 2)  # [B, H + 2 K, n, D]
            qk, v = qkv.split_with_sizes(self._splits, dim=1)
            q, k = _rotate(qk, cos, sin).split_with_sizes(self._heads, dim=1)
            keys, values = cache.update(i, slot, k, v, length)
            twice = self._twice and n == 1
            seen = attend(q.expand(-1, -1, 2, -1) if twice else q, keys, values, bias, self._scale, parts=parts)
            x = layer.out(seen[:, :1] if twice else seen, x)
            h = _rms_norm(x, layer.mlp_norm, self.config.rms_norm_eps)
            gate, up = layer.gate_up(h).chunk(2, dim=-1)
            x = layer.down(F.silu(gate) * up, x)
        if rows is not None:
            x = x.index_select(1, rows)
        return _rms_norm(x, self.norm, self.config.rms_norm_eps)

    def compiled(self) -> Self:
        """This model with layers that torch.compile makes few kernels of; the weights are shared.

        For GPUs, where the first pass of one feed and the first of more compile for some seconds each.

        Raises:
            SpecError: packed or quantised weights.
        """
        model = copy.copy(self)
        model._kernels = None
        model._fused, model._kernels = (compiled_layer(), self._plain_layers()), None
        return model

    def _plain_layers(self) -> list[Weights]:
        return [
            Weights(
                layer.attention_norm,
                plain_weight(layer.qkv),
                None,
                plain_weight(layer.out),
                layer.mlp_norm,
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


def _rms_norm(x: Tensor, weight: Tensor, eps: float) -> Tensor:
    """Statistics in float32, then weight times the value cast back."""
    if x.dtype == torch.float32 and not torch.compiler.is_exporting():
        return F.rms_norm(x, weight.shape, weight, eps)  # the same bits by fewer calls
    wide = x.float()
    scale = torch.rsqrt(wide.pow(2).mean(-1, keepdim=True) + eps)
    return weight * (wide * scale).to(x.dtype)


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
