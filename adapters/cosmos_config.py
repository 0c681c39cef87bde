"""The sizes of Cosmos' autoregressive models, and the four published ones by name."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from diagplan.adapters.contract import Widths
from diagplan.adapters.cosmos_positions import LARGEST, FrequencyRescale
from diagplan.adapters.linear import Quantize
from diagplan.adapters.parallel_cuts import Cut, cut_shapes
from diagplan.planner.errors import DocumentError, SpecError
from diagplan.planner.layout import MAX_POSITIONS, Layout, require_int, store_int
from diagplan.planner.rounding import rounded_up
from diagplan.planner.shown import shown

__all__ = ["CONFIGS", "REPOSITORIES", "CosmosConfig", "config_from_export"]

#: The embedding of a model with special tokens has a multiple of this many rows.
_ROWS = 64
_SIZES = ("dim", "n_layers", "n_heads", "n_kv_heads", "ffn_hidden_size", "vocab_size")


@dataclass(frozen=True, slots=True, kw_only=True)
class CosmosConfig:
    """A Cosmos model's sizes, by the names of the release's model config where it has one.

    Args:
        dim, n_layers, n_heads, n_kv_heads, ffn_hidden_size, norm_eps, rope_theta: as in the release.
        head_dim: width of one head; ``None``: dim / n_heads.
        vocab_size: codes of the video tokenizer, which are all that is ever predicted.
        video_latent_shape: frames, rows and columns of the latent grid; position tables depend on it.
        rescale: how the rotary frequencies are slowed down; ``None``: they are not.
        absolute: an absolute embedding is added before every layer.
        begin_of_video: the sequence begins with a token of its own, id ``vocab_size``.
        context_dim: width of the text features that every layer reads; ``None``: no cross-attention.

    Raises:
        SpecError: sizes that do not fit together.
    """

    dim: int
    n_layers: int
    n_heads: int
    n_kv_heads: int
    ffn_hidden_size: int
    head_dim: int | None = None
    vocab_size: int = 64_000
    video_latent_shape: tuple[int, int, int] = (5, 40, 64)
    norm_eps: float = 1e-5
    rope_theta: float = 500_000.0
    rescale: FrequencyRescale | None = None
    absolute: bool = False
    begin_of_video: bool = False
    context_dim: int | None = None

    def __post_init__(self) -> None:
        for name in _SIZES:
            store_int(self, name, 1)
        for name in ("head_dim", "context_dim"):
            if getattr(self, name) is not None:
                store_int(self, name, 1)
        for name in ("absolute", "begin_of_video"):
            if not isinstance(getattr(self, name), bool):
                raise SpecError(f"expected {name} to be true or false, got {name}={shown(getattr(self, name))}.")
        if not isinstance(self.rescale, FrequencyRescale | None):
            raise SpecError(f"expected rescale to be a FrequencyRescale or None, got rescale={shown(self.rescale)}.")
        grid: object = self.video_latent_shape
        if not isinstance(grid, tuple) or len(grid) != 3:
            raise SpecError(
                f"expected video_latent_shape as (frames, rows, columns), got {shown(self.video_latent_shape)}."
            )
        shape = tuple(require_int("video_latent_shape", size, 1) for size in self.video_latent_shape)
        object.__setattr__(self, "video_latent_shape", shape)
        for name in ("norm_eps", "rope_theta"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < LARGEST:
                raise SpecError(
                    f"expected {name} to be a number above 0, below {LARGEST:g}, got {name}={shown(value)}."
                )
        self._require_heads()
        if self.positions > MAX_POSITIONS:
            raise SpecError(f"expected at most {MAX_POSITIONS} positions, got {shown(self.video_latent_shape)}.")

    def _require_heads(self) -> None:
        if self.n_heads % self.n_kv_heads:
            raise SpecError(
                f"expected key-value heads that divide the heads, got n_heads={self.n_heads} and "
                f"n_kv_heads={self.n_kv_heads}."
            )
        if self.head_dim is None and self.dim % self.n_heads:
            raise SpecError(
                f"expected heads that divide the width, got dim={self.dim} and n_heads={self.n_heads}. Give head_dim."
            )
        if self.head_size % 2:
            raise SpecError(f"expected an even head_dim for rotary positions, got head_dim={self.head_size}.")
        if self.absolute and self.dim % 2:
            raise SpecError(f"expected an even dim for absolute positions, got dim={self.dim}.")

    @property
    def head_size(self) -> int:
        """D, the width of one head."""
        return self.head_dim or self.dim // self.n_heads

    @property
    def lead(self) -> int:
        """Tokens before the first cell: 1 with begin-of-video, else 0."""
        return int(self.begin_of_video)

    @property
    def positions(self) -> int:
        """Slots of the longest sequence."""
        return self.lead + math.prod(self.video_latent_shape)

    @property
    def embedding_rows(self) -> int:
        """Ids that can be fed; more than can be predicted where there is a begin-of-video token."""
        return rounded_up(self.vocab_size + 1, _ROWS) if self.begin_of_video else self.vocab_size

    def layout(self, prompt_frames: int = 2) -> Layout:
        """The layout of a whole sequence; 1 input frame is 1 prompt frame, 9 input frames are 2.

        Raises:
            SpecError: no frame would be left to generate.

        >>> CONFIGS["cosmos-5b-v2w"].layout().positions
        12801
        """
        frames, rows, cols = self.video_latent_shape
        return Layout(frames=frames - prompt_frames, rows=rows, cols=cols, prompt_frames=prompt_frames, lead=self.lead)

    def given(self, prompt: NDArray[np.integer[Any]]) -> NDArray[np.int64]:
        """The given ids of ``layout`` in slot order, int64 [B, G]: the prompt's, behind begin-of-video if there is.

        Args:
            prompt: tokens of the prompt frames, int [F, h, w] or [B, F, h, w].

        Raises:
            SpecError: tokens of another grid.
        """
        tokens = np.asarray(prompt)
        rows, cols = self.video_latent_shape[1:]
        if tokens.ndim not in (3, 4) or tokens.shape[-2:] != (rows, cols) or tokens.dtype.kind not in "iu":
            raise SpecError(
                f"expected prompt tokens int [F, {rows}, {cols}], or with a batch axis in front, got {tokens.dtype} "
                f"{list(tokens.shape)}."
            )
        flat = tokens.reshape(len(tokens) if tokens.ndim == 4 else 1, -1).astype(np.int64)
        return np.pad(flat, ((0, 0), (self.lead, 0)), constant_values=self.vocab_size)

    @property
    def cache_shapes(self) -> tuple[tuple[int, int], ...]:
        """As in ``diagplan.adapters.contract.Model``."""
        return ((self.n_kv_heads, self.head_size),) * (2 * self.n_layers)

    @property
    def widths(self) -> Widths:
        """Of a layer."""
        return Widths(self.dim, self.n_heads, self.n_kv_heads, self.head_size, 2 * self.ffn_hidden_size)

    def weight_bytes(
        self,
        itemsize: int,
        quantize: Quantize | None = None,
        *,
        packed: bool = False,
        text_tokens: int = 0,
        cuts: Mapping[str, Cut] | None = None,
    ) -> int:
        """Bytes of a model's weights, of its position tables and of a text's keys and values.

        Args:
            itemsize: bytes of a number.
            quantize: as for ``load_cosmos``.
            packed: of no effect: packing replaces weights.
            text_tokens: of all texts together, their padding included.
            cuts: of one rank's part.
        """
        del packed
        sizes = {name: math.prod(shape) for name, shape in cut_shapes(self.shapes(), cuts or {}).items()}
        linear = sum(size for name, size in sizes.items() if ".w" in name.removesuffix(".weight"))
        small = linear if quantize == "int8" else 0
        tables = 2 * self.positions * self.head_size * itemsize + 2 * self.positions * self.dim * self.absolute
        text = 2 * self.n_layers * text_tokens * self.n_kv_heads * self.head_size * itemsize
        return small + (sum(sizes.values()) - small) * itemsize + tables + text

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """The name and shape of every weight, as in the release."""
        dim, ffn, d = self.dim, self.ffn_hidden_size, self.head_size
        q, kv = self.n_heads * d, self.n_kv_heads * d
        shapes: dict[str, tuple[int, ...]] = {"tok_embeddings.weight": (self.embedding_rows, dim)}
        for i in range(self.n_layers):
            at = f"layers.{i}."
            shapes[f"{at}attention_norm.weight"] = (dim,)
            shapes |= _attention(f"{at}attention.", dim, q, kv, dim, d)
            if self.context_dim is not None:
                shapes[f"{at}cross_attention_norm.weight"] = (dim,)
                shapes |= _attention(f"{at}cross_attention.", dim, q, kv, self.context_dim, d)
            shapes |= {
                f"{at}ffn_norm.weight": (dim,),
                f"{at}feed_forward.w1.weight": (ffn, dim),
                f"{at}feed_forward.w2.weight": (dim, ffn),
                f"{at}feed_forward.w3.weight": (ffn, dim),
            }
        return shapes | {"norm.weight": (dim,), "output.weight": (self.vocab_size, dim)}


def config_from_export(sizes: Mapping[str, Any]) -> CosmosConfig:
    """The configuration that an exported model's metadata hold: the fields of ``CosmosConfig``.

    Raises:
        DocumentError: other fields, or values that are none.
    """
    try:
        values = dict(sizes)
        if isinstance(values.get("rescale"), Mapping):
            parts: dict[str, Any] = {
                key: tuple(value) if isinstance(value, list) else value for key, value in values["rescale"].items()
            }
            values["rescale"] = FrequencyRescale(**parts)
        if isinstance(values.get("video_latent_shape"), list):
            values["video_latent_shape"] = tuple(values["video_latent_shape"])
        return CosmosConfig(**values)
    except (TypeError, SpecError) as error:
        raise DocumentError(
            f"expected the sizes of a Cosmos model in the exported file, got others ({str(error)[:200]}). "
            "Export it again."
        ) from None


def _attention(at: str, dim: int, q: int, kv: int, seen: int, head: int) -> dict[str, tuple[int, ...]]:
    return {
        f"{at}wq.weight": (q, dim),
        f"{at}wk.weight": (kv, seen),
        f"{at}wv.weight": (kv, seen),
        f"{at}wo.weight": (dim, q),
        f"{at}q_norm.weight": (head,),
        f"{at}k_norm.weight": (head,),
    }


_4B = CosmosConfig(dim=4096, n_layers=16, n_heads=32, n_kv_heads=8, ffn_hidden_size=14_336)
# The weights do not tell the rescale; 12B has heads that do not add up to its width.
_12B = replace(_4B, dim=5120, n_layers=40, head_dim=128, rescale=FrequencyRescale())

#: The four published models. A post-trained one may have another grid: ``replace(config, video_latent_shape=...)``.
CONFIGS: Mapping[str, CosmosConfig] = MappingProxyType(
    {
        "cosmos-4b": _4B,
        "cosmos-12b": _12B,
        "cosmos-5b-v2w": replace(_4B, absolute=True, begin_of_video=True, context_dim=1024),
        "cosmos-13b-v2w": replace(_12B, absolute=True, begin_of_video=True, context_dim=1024),
    }
)

#: Where NVIDIA publishes them on Hugging Face.
REPOSITORIES: Mapping[str, str] = MappingProxyType(
    {
        "cosmos-4b": "nvidia/Cosmos-Predict1-4B",
        "cosmos-12b": "nvidia/Cosmos-Predict1-12B",
        "cosmos-5b-v2w": "nvidia/Cosmos-Predict1-5B-Video2World",
        "cosmos-13b-v2w": "nvidia/Cosmos-Predict1-13B-Video2World",
    }
)
