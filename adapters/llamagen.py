"""LlamaGen: a Llama over the codes of one picture, led by a class or by the features of a text.

Sequence: condition | cells, row by row. A cell's rotation is of its row and its column; the condition has none at all:
its queries and keys are zero, so that every cell gives it the same score. Source: FoundationVision/LlamaGen,
autoregressive/models/gpt.py and generate.py.
"""

import math
from collections.abc import Mapping, Sequence
from functools import partial
from typing import NamedTuple, Self

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

from diagplan.adapters.cache import TensorCache
from diagplan.adapters.contract import AllowedIds, Grid
from diagplan.adapters.fingerprint import Fingerprinted
from diagplan.adapters.lead import embedded
from diagplan.adapters.linear import Linear, Quantize, linear_for, require_quantize
from diagplan.adapters.llamagen_config import LlamaGenConfig
from diagplan.adapters.mc_ar import random_weights
from diagplan.adapters.memory import join_rows
from diagplan.adapters.norms import RmsNorm
from diagplan.planner.coordinates import Coordinates
from diagplan.planner.errors import SpecError
from diagplan.planner.layout import require_int

__all__ = ["LlamaGen", "rotary_table"]

# Shapes: B samples, n feeds, L cache slots, H heads, D width of a head, P length of the condition, C of text features.


class _Layer(NamedTuple):
    attention_norm: RmsNorm
    qkv: Linear
    out: Linear
    mlp_norm: RmsNorm
    gate_up: Linear
    down: Linear


class _Text(NamedTuple):
    up: Tensor
    down: Tensor
    null: Tensor


class LlamaGen:
    """The model; see ``diagplan.adapters.contract.Model`` for what its members mean.

    A class is fed as an id behind the codes, ``class_id``. A text is fed as embeddings, ``text_lead`` and
    ``null_lead``, in the place of the ids -1 to -P, ``lead_ids``.
    """

    family = "llamagen"
    ragged = True
    coordinates = Coordinates(("row", "col", "cell"))
    grid: Grid | None = None  # the weights are trained for one grid, and nothing in them says for which

    def __init__(
        self,
        config: LlamaGenConfig,
        weights: Mapping[str, Tensor],
        *,
        quantize: Quantize | None = None,
        portable: bool = False,
    ) -> None:
        """Take the weights by the names of ``LlamaGenConfig.shapes``; all of one dtype and on one device.

        Each is taken once and let go when packed, as ``McAr`` does. ``quantize="int8"`` is for float32 weights on the
        CPU; embeddings, norms and head stay in float32. ``portable`` leaves weights in no machine's own order.

        Raises:
            SpecError: ``quantize`` on another device or dtype, or where this machine cannot.
        """
        self.config = config
        self.vocab_size, self.input_vocab_size = config.vocab_size, config.input_vocab_size
        self.positions = config.positions
        self.cache_shapes, self.widths = config.cache_shapes, config.widths
        self.vocabulary: tuple[AllowedIds, ...] = (AllowedIds(low=0, high=config.vocab_size),)
        self._weights = weights = Fingerprinted(weights)
        self.lead_width: int | None = None
        self.text: _Text | None = None
        codes = weights["tok_embeddings.weight"]
        self.device, self.dtype = codes.device, codes.dtype
        require_quantize(quantize, self.device, self.dtype)
        self.quantize = quantize
        if config.model_type == "c2i":
            self.embedding = join_rows([codes, weights["cls_embedding.embedding_table.weight"]])
        else:
            self.embedding, self.lead_width = codes, config.dim
            about = ("cap_proj.fc1.weight", "cap_proj.fc2.weight", "uncond_embedding")
            self.text = _Text(*(weights[f"cls_embedding.{name}"] for name in about))
        del codes
        linear = partial(linear_for, portable=portable)
        norm = partial(RmsNorm, eps=config.norm_eps, portable=portable)
        self.head = linear(weights["output.weight"])
        self.layers = [self._layer(weights, f"layers.{i}.", linear, norm) for i in range(config.n_layer)]
        self.norm = norm(weights["norm.weight"])
        self.cos, self.sin = rotary_table(config, self.device, self.dtype)

    def _layer(
        self, weights: Mapping[str, Tensor], at: str, linear: "partial[Linear]", norm: "partial[RmsNorm]"
    ) -> _Layer:
        return _Layer(
            norm(weights[f"{at}attention_norm.weight"]),
            linear(weights[f"{at}attention.wqkv.weight"], self.quantize),
            linear(weights[f"{at}attention.wo.weight"], self.quantize),
            norm(weights[f"{at}ffn_norm.weight"]),
            linear(join_rows([weights[f"{at}feed_forward.{name}.weight"] for name in ("w1", "w3")]), self.quantize),
            linear(weights[f"{at}feed_forward.w2.weight"], self.quantize),
        )

    @classmethod
    def random(
        cls,
        config: LlamaGenConfig,
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

    def class_id(self, number: int | None) -> int:
        """The id that leads a picture of a class; ``None``: the null class, for the unconditional branch.

        Raises:
            SpecError: no such class, or a model of texts.

        >>> LlamaGen.random(config).class_id(207)  # doctest: +SKIP
        16591
        """
        if self.text is not None:
            raise SpecError("expected a class-conditional LlamaGen, got one of texts. Give text_lead.")
        if number is None:
            return self.input_vocab_size - 1
        return self.vocab_size + require_int("number", number, 0, largest=self.config.num_classes - 1)

    @property
    def lead_ids(self) -> tuple[int, ...]:
        """The given ids of a picture of a text: embedding 0 to P - 1 of its sample."""
        return tuple(range(-1, -1 - self.config.lead, -1))

    @torch.inference_mode()
    def text_lead(self, features: Tensor, lengths: Sequence[int] | None = None) -> tuple[Tensor, list[int]]:
        """Embeddings of texts as ``forward`` takes them, and the padding of each.

        Args:
            features: of the text encoder (flan-t5-xl), [B, T, C], T at most P; a text's own tokens come first.
            lengths: of each text, B; ``None``: T. What is behind them is padding.

        Returns:
            embeddings [B, P, dim], padded on the left, and ``pad``, which goes to ``replay`` as it is.

        Raises:
            SpecError: features of another shape, lengths out of range, or a model of classes.
        """
        text, most = self._require_text(), self.config.lead
        width = text.up.shape[1]
        if features.ndim != 3 or features.shape[2] != width or not 1 <= features.shape[1] <= most:
            raise SpecError(
                f"expected features [B, 1 to {most}, {width}], got {list(features.shape)}. They are those of "
                "flan-t5-xl, cut to the first 120 tokens."
            )
        lengths = [features.shape[1]] * len(features) if lengths is None else list(lengths)
        if len(lengths) != len(features):
            raise SpecError(f"expected the lengths of {len(features)} text(s), got {len(lengths)}.")
        lead = torch.zeros((len(features), most, width), dtype=self.dtype, device=self.device)
        for row, own, length in zip(lead, features, lengths, strict=True):
            length = require_int("lengths", length, 1, largest=features.shape[1])
            row[most - length :] = own[:length]
        return self._projected(text, lead), [most - length for length in lengths]

    @torch.inference_mode()
    def null_lead(self, batch: int = 1) -> Tensor:
        """Embeddings of no text, [B, P, dim], for the unconditional branch; it is padded as the text is.

        Raises:
            SpecError: a model of classes.
        """
        text = self._require_text()
        return self._projected(text, text.null[None]).expand(batch, -1, -1).contiguous()

    def _require_text(self) -> _Text:
        if self.text is None:
            raise SpecError("expected a text-conditional LlamaGen, got one of classes. Give class_id(number).")
        return self.text

    def _projected(self, text: _Text, features: Tensor) -> Tensor:
        return F.linear(F.gelu(F.linear(features, text.up), approximate="tanh"), text.down)

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
        self,
        ids: Tensor,
        position: Tensor,
        slot: Tensor,
        mask: Tensor,
        cache: TensorCache,
        rows: Tensor | None = None,
        lead: Tensor | None = None,
    ) -> Tensor:
        """One pass, see ``diagplan.adapters.contract.Model.forward``; three axes of positions."""
        batch, n = ids.shape
        length, heads = mask.shape[-1], self.config.n_head
        cos, sin = (self._angles(table, position) for table in (self.cos, self.sin))
        bias = torch.zeros(mask.shape, dtype=self.dtype, device=mask.device).masked_fill_(~mask, -math.inf)
        bias = bias if mask.ndim == 2 else bias[:, None]  # [n, L] or [B, 1, n, L]
        x = embedded(ids, lead, lambda known: F.embedding(known, self.embedding))  # [B, n, dim]
        for i, layer in enumerate(self.layers):
            h = layer.attention_norm(x)
            qkv = layer.qkv(h).view(batch, n, 3 * heads, self.config.head_size).transpose(1, 2)  # [B, 3 H, n, D]
            qk, v = torch.split(qkv, [2 * heads, heads], dim=1)
            q, k = torch.split(_rotate(qk, cos, sin), heads, dim=1)
            keys, values = cache.update(i, slot, k, v, length)
            mixed = F.scaled_dot_product_attention(q, keys, values, attn_mask=bias)
            x = x + layer.out(mixed.transpose(1, 2).reshape(batch, n, self.config.dim))
            h = layer.mlp_norm(x)
            gate, up = layer.gate_up(h).chunk(2, dim=-1)
            x = x + layer.down(F.silu(gate) * up)
        if rows is not None:
            x = x.index_select(1, rows)
        return self.head(self.norm(x))

    def _angles(self, table: Tensor, position: Tensor) -> Tensor:
        """Of rows and columns [..., n, 3], [1 or B, 1, n, D]; zero where there is no rotation."""
        row, col, is_cell = position.unbind(-1)
        return (torch.cat((table[row], table[col]), dim=-1) * is_cell[..., None]).unsqueeze(-3)


def _rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Channel 2 i turns with channel 2 i + 1. x [B, heads, n, D], cos and sin [1 or B, 1, n, D], in their dtype."""
    wide = _wide(x)
    even, odd = wide.reshape(*x.shape[:-1], -1, 2).unbind(-1)
    turned = torch.stack((-odd, even), dim=-1).flatten(-2)
    return (wide * cos + turned * sin).to(x.dtype)


def _wide(x: Tensor) -> Tensor:
    return x if x.dtype == torch.float64 else x.float()


def rotary_table(config: LlamaGenConfig, device: torch.device, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """cos and sin of the angles of every row or column, each twice, for both channels of a pair: [positions, D / 2].

    As published they are computed in float32, and used so whatever the weights' dtype; float64 for float64 weights.
    """
    wide = torch.float64 if dtype == torch.float64 else torch.float32
    half = config.head_size // 2
    frequency = 1 / config.rope_base ** (torch.arange(0, half, 2, dtype=wide) / half)
    angle = torch.outer(torch.arange(config.positions, dtype=wide), frequency).repeat_interleave(2, dim=1)
    return angle.cos().to(device), angle.sin().to(device)
