"""WHAM, the world and human action model of Xbox gameplay: a GPT-2 over image tokens and controller tokens.

Sequence: frame 0 | action 0 | frame 1 | action 1 | ...; image ids come first in the vocabulary, action ids after them.
Every flat slot has a learned position, so the sequence ends where those end, after ten frames. Blocks come in two
versions: in version 1 their norms are learned, in version 2 they have no parameters.
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

from diagplan.adapters.cache import TensorCache
from diagplan.adapters.contract import AllowedIds, Grid, Widths
from diagplan.adapters.fingerprint import Fingerprinted
from diagplan.adapters.linear import Linear, PlainLinear, Quantize, linear_for, require_quantize
from diagplan.planner.errors import SpecError
from diagplan.planner.layout import Layout, store_int
from diagplan.planner.shown import shown

__all__ = ["CONFIGS", "Wham", "WhamConfig", "random_weights"]

# Shapes: B samples, n feeds, L cache slots, H heads, D head width, V vocabulary.

_EPS = 1e-5


@dataclass(frozen=True, slots=True, kw_only=True)
class WhamConfig:
    """A GPT's sizes, and how its sequence is made up.

    Args:
        n_layer, n_head, n_embd: layers, heads and width.
        nanogpt_version: 1: the norms of a block are learned; 2: they have no parameters.
        bias: whether linear layers and learned norms have biases; the head never has.
        seq_len: frames of the longest sequence, each with its action.
        rows, cols: the grid of a frame.
        image_codes: image ids are 0 to this, less one.
        buttons, sticks, bins: of the controller: two ids for a button, ``bins`` for an axis of a stick.

    Raises:
        SpecError: sizes that do not fit together.
    """

    n_layer: int
    n_head: int
    n_embd: int
    nanogpt_version: Literal[1, 2] = 1
    bias: bool = True
    seq_len: int = 10
    rows: int = 18
    cols: int = 30
    image_codes: int = 16384
    buttons: int = 12
    sticks: int = 4
    bins: int = 11

    def __post_init__(self) -> None:
        for field in fields(self):
            if field.name != "bias":
                smallest = {"buttons": 0, "sticks": 0, "image_codes": 2}.get(field.name, 1)
                store_int(self, field.name, smallest)
        if self.nanogpt_version not in (1, 2):
            raise SpecError(
                f"expected nanogpt_version to be 1 or 2, got nanogpt_version={shown(self.nanogpt_version)}."
            )
        if not isinstance(self.bias, bool):
            raise SpecError(f"expected bias to be true or false, got bias={shown(self.bias)}.")
        if self.n_embd % self.n_head:
            raise SpecError(f"expected heads that divide the width, got n_embd={self.n_embd} and n_head={self.n_head}.")

    @property
    def head_size(self) -> int:
        """D, the width of one head."""
        return self.n_embd // self.n_head

    @property
    def action_tokens(self) -> int:
        """Tokens of one action: one for each button and each axis."""
        return self.buttons + self.sticks

    @property
    def vocab_size(self) -> int:
        """V: image codes, then the ids of actions."""
        return self.image_codes + 2 * self.buttons + self.bins * self.sticks

    @property
    def frame_tokens(self) -> int:
        """Tokens of one frame and its action."""
        return self.rows * self.cols + self.action_tokens

    @property
    def positions(self) -> int:
        """The longest sequence, in slots."""
        return self.seq_len * self.frame_tokens

    @property
    def cache_shapes(self) -> tuple[tuple[int, int], ...]:
        """As in ``diagplan.adapters.contract.Model``."""
        return ((self.n_head, self.head_size),) * (2 * self.n_layer)

    @property
    def widths(self) -> Widths:
        """Of a layer."""
        return Widths(self.n_embd, self.n_head, self.n_head, self.head_size, 4 * self.n_embd)

    def weight_bytes(
        self, itemsize: int, quantize: Quantize | None = None, *, packed: bool = False, text_tokens: int = 0
    ) -> int:
        """Bytes of a model's weights; the head counts where it is a second, reordered copy of the embedding."""
        del text_tokens
        sizes = {name: math.prod(shape) for name, shape in self.shapes().items()}
        if not packed:
            del sizes["lm_head.weight"]
        linear = sum(size for name, size in sizes.items() if ".c_" in name and name.endswith("weight"))
        small = linear if quantize == "int8" else 0
        return small + (sum(sizes.values()) - small) * itemsize

    def action_ranges(self) -> tuple[tuple[int, int], ...]:
        """The ids that each token of an action may take, as half-open ranges."""
        widths = [2] * self.buttons + [self.bins] * self.sticks
        ends = [self.image_codes + sum(widths[: i + 1]) for i in range(len(widths))]
        return tuple((end - width, end) for end, width in zip(ends, widths, strict=True))

    def layout(self, frames: int = 1, *, prompt_frames: int | None = None) -> Layout:
        """The layout of ``frames`` generated frames; by default after as many frames as the context has room for.

        Raises:
            SpecError: more frames than the context.

        >>> CONFIGS["wham-200m"].layout().prompt_frames
        9
        """
        prompt = self.seq_len - frames if prompt_frames is None else prompt_frames
        if prompt + frames > self.seq_len:
            raise SpecError(
                f"expected at most {self.seq_len} frames, prompt included, got {shown(prompt)} + {frames}. "
                "Longer videos are rolled: see compile_rollout."
            )
        return Layout(
            frames=frames, rows=self.rows, cols=self.cols, prompt_frames=prompt, between_frames=self.action_tokens
        )

    def action_layout(self, frames: int) -> Layout:
        """The layout that generates the action of the last of ``frames`` frames: all before it leads, one row follows.

        Replay it on ``Wham.policy()`` with a next-token plan.
        """
        self.layout(1, prompt_frames=frames - 1)
        lead = frames * self.frame_tokens - self.action_tokens
        return Layout(frames=1, rows=1, cols=self.action_tokens, lead=lead)

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """The name and shape of every weight, as in a checkpoint below ``predictor.gpt_model.``."""
        width = self.n_embd
        norm = ["weight", *(["bias"] if self.bias else [])]
        shapes: dict[str, tuple[int, ...]] = {"transformer.wpe.weight": (self.positions, width)}
        for i in range(self.n_layer):
            at = f"transformer.h.{i}."
            for layer, (out, into) in {
                "attn.c_attn": (3 * width, width),
                "attn.c_proj": (width, width),
                "mlp.c_fc": (4 * width, width),
                "mlp.c_proj": (width, 4 * width),
            }.items():
                shapes[f"{at}{layer}.weight"] = (out, into)
                if self.bias:
                    shapes[f"{at}{layer}.bias"] = (out,)
            if self.nanogpt_version == 1:
                shapes |= {f"{at}{layer}.{part}": (width,) for layer in ("ln_1", "ln_2") for part in norm}
        shapes |= {f"transformer.ln_f.{part}": (width,) for part in norm}
        vocabulary = (self.vocab_size, width)
        return shapes | {"transformer.wte.weight": vocabulary, "lm_head.weight": vocabulary}


#: The two published models. Version and bias are not published: loading takes them from the tensors.
CONFIGS: Mapping[str, WhamConfig] = MappingProxyType(
    {
        "wham-200m": WhamConfig(n_layer=16, n_head=16, n_embd=1024, nanogpt_version=2),
        "wham-1.6b": WhamConfig(n_layer=24, n_head=18, n_embd=2304),
    }
)


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
    ) -> None:
        """Take the weights by the names of ``WhamConfig.shapes``; all of one dtype and on one device.

        Each is taken once; the embedding is ``lm_head.weight``, which upstream loads last. ``quantize`` and
        ``portable`` are as for ``diagplan.adapters.mc_ar.McAr``.

        Raises:
            SpecError: ``quantize`` on another device or dtype, or where this machine cannot.
        """
        self.config = config
        self.vocab_size = config.vocab_size
        self.positions = config.positions
        self.grid: Grid | None = None  # a position is a flat slot
        self.cache_shapes, self.widths = config.cache_shapes, config.widths
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
        self.head = self._linear(self.embedding)
        self.blocks = [self._block(weights, f"transformer.h.{i}.") for i in range(config.n_layer)]
        self.norm = self._norm(weights, "transformer.ln_f")
        self.place = weights["transformer.wpe.weight"]

    def _norm(self, weights: Mapping[str, Tensor], name: str) -> _Norm:
        return _Norm(weights[f"{name}.weight"], weights[f"{name}.bias"] if self.config.bias else None)

    def _block(self, weights: Mapping[str, Tensor], at: str) -> _Block:
        def norm(name: str) -> _Norm:
            return self._norm(weights, f"{at}{name}") if self.config.nanogpt_version == 1 else _Norm(None, None)

        def affine(name: str) -> _Affine:
            bias = weights[f"{at}{name}.bias"] if self.config.bias else None
            return _Affine(self._linear(weights[f"{at}{name}.weight"], self.quantize), bias)

        return _Block(
            norm_1=norm("ln_1"),
            qkv=affine("attn.c_attn"),
            out=affine("attn.c_proj"),
            norm_2=norm("ln_2"),
            up=affine("mlp.c_fc"),
            down=affine("mlp.c_proj"),
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
        return self._weights.digest(self.config, self.vocabulary, self.quantize)

    def weight_bytes(self) -> int:
        """Bytes of the weights; the head counts where it is a second, reordered copy of the embedding."""
        packed = not isinstance(self.head, PlainLinear)
        return self.config.weight_bytes(self.dtype.itemsize, self.quantize, packed=packed)

    def forward(
        self, ids: Tensor, position: Tensor, slot: Tensor, mask: Tensor, cache: TensorCache, rows: Tensor | None = None
    ) -> Tensor:
        """One pass, see ``diagplan.adapters.contract.Model.forward``."""
        batch, n = ids.shape
        length = mask.shape[-1]
        seen = torch.zeros(mask.shape, dtype=self.dtype, device=mask.device).masked_fill(~mask, -math.inf)
        seen = seen if mask.ndim == 2 else seen[:, None]  # [n, L] or [B, 1, n, L]
        x = F.embedding(ids, self.embedding) + F.embedding(position, self.place)  # [B, n, width]
        for i, block in enumerate(self.blocks):
            heads = block.qkv(block.norm_1(x)).view(batch, n, -1, self.config.head_size).transpose(1, 2)
            q, k, v = torch.split(heads, self.config.n_head, dim=1)  # [B, H, n, D]
            keys, values = cache.update(i, slot, k, v, length)
            mixed = F.scaled_dot_product_attention(q, keys, values, attn_mask=seen)
            x = x + block.out(mixed.transpose(1, 2).reshape(batch, n, self.config.n_embd))
            x = x + block.down(F.gelu(block.up(block.norm_2(x)), approximate="tanh"))
        if rows is not None:
            x = x.index_select(1, rows)
        return self.head(self.norm(x))
