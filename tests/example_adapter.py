"""The worked example of docs/adapters.md: a small image model with learned positions and end-of-line tokens."""

import hashlib
from typing import Any, NamedTuple, Self

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812 - its usual name
from numpy.typing import NDArray
from torch import Tensor

from diagplan.planner.layout import Layout

IMAGE_IDS, END_OF_LINE, PROMPT_IDS = 48, 48, 7


class ImageCache(NamedTuple):
    """Keys and values of the one layer, [B, heads, slots, head_dim]."""

    keys: Tensor
    values: Tensor


class ImageModel:
    """One layer of attention over learned positions: vocabulary = image ids, end-of-line, prompt ids."""

    family = "example"
    vocab_size = IMAGE_IDS + 1 + PROMPT_IDS

    def __init__(self, weights: dict[str, Tensor], heads: int = 2) -> None:
        self.weights, self.heads = weights, heads
        self.positions, self.width = weights["position"].shape
        self.device, self.dtype = weights["position"].device, weights["position"].dtype

    @classmethod
    def random(cls, positions: int, *, seed: int = 0, dtype: torch.dtype = torch.float32) -> Self:
        """Random weights for sequences of up to ``positions`` slots."""
        generator = torch.Generator().manual_seed(seed)
        shapes = {
            "token": (cls.vocab_size, 16),
            "position": (positions, 16),
            "qkv": (48, 16),
            "out": (cls.vocab_size, 16),
        }
        return cls({name: (0.5 * torch.randn(shape, generator=generator)).to(dtype) for name, shape in shapes.items()})

    def new_cache(self, batch: int, slots: int) -> ImageCache:
        """A cache of zeros."""
        shape = (batch, self.heads, slots, self.width // self.heads)
        return ImageCache(torch.zeros(shape, dtype=self.dtype), torch.zeros(shape, dtype=self.dtype))

    def weight_bytes(self) -> int:
        """Bytes of the weights."""
        return sum(weight.nbytes for weight in self.weights.values())

    def cache_bytes(self, batch: int, slots: int) -> int:
        """Bytes of such a cache."""
        return 2 * batch * slots * self.width * self.dtype.itemsize

    def fingerprint(self) -> str:
        """A hash of all weights."""
        return hashlib.sha256(b"".join(w.float().numpy().tobytes() for w in self.weights.values())).hexdigest()[:16]

    def forward(
        self, ids: Tensor, position: Tensor, slot: Tensor, mask: Tensor, cache: ImageCache, rows: Tensor | None = None
    ) -> Tensor:
        """One pass, see ``diagplan.adapters.contract.Model.forward``."""
        batch, n = ids.shape
        x = F.embedding(ids, self.weights["token"]) + self.weights["position"][position]
        q, k, v = (x @ self.weights["qkv"].T).view(batch, n, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        cache.keys.index_copy_(2, slot, k)
        cache.values.index_copy_(2, slot, v)
        length = mask.shape[1]
        seen = F.scaled_dot_product_attention(q, cache.keys[:, :, :length], cache.values[:, :, :length], attn_mask=mask)
        x = x + seen.transpose(1, 2).reshape(batch, n, self.width)
        return (x if rows is None else x[:, rows]) @ self.weights["out"].T

    def allowed_ids(self, layout: Layout, slots: NDArray[np.integer[Any]]) -> NDArray[np.int64]:
        """A cell takes an image id; its first column never the last one, to show ranges that differ by slot."""
        first_column = np.isin(slots, layout.cell_slots()[:, :, 0])
        return np.stack([np.zeros(len(slots), np.int64), np.where(first_column, IMAGE_IDS - 1, IMAGE_IDS)], axis=1)
