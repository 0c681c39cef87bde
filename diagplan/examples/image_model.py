"""The worked example of docs/adapters.md: a small image model with learned positions and end-of-line tokens."""

import hashlib
from typing import Self

import torch
import torch.nn.functional as F  # noqa: N812 - its usual name
from torch import Tensor

from diagplan.adapters.cache import TensorCache
from diagplan.adapters.contract import AllowedIds, Grid

__all__ = ["END_OF_LINE", "IMAGE_IDS", "PROMPT_IDS", "ImageModel"]

#: Ids 0 to 47 are image ids, 48 is the end of a line, the next seven are a prompt's.
IMAGE_IDS, END_OF_LINE, PROMPT_IDS = 48, 48, 7


class ImageModel:
    """One layer of attention over learned positions: vocabulary = image ids, end-of-line, prompt ids."""

    family = "example"
    vocab_size = IMAGE_IDS + 1 + PROMPT_IDS
    grid: Grid | None = None
    #: A cell takes an image id; the first column never the last one, to show ranges that differ by cell.
    vocabulary: tuple[AllowedIds, ...] = (
        AllowedIds(low=0, high=IMAGE_IDS),
        AllowedIds(low=0, high=IMAGE_IDS - 1, cols=(0, 1)),
    )

    def __init__(self, weights: dict[str, Tensor], heads: int = 2) -> None:
        self.weights, self.heads = weights, heads
        self.positions, self.width = weights["position"].shape
        self.device, self.dtype = weights["position"].device, weights["position"].dtype
        self.cache_shapes: tuple[tuple[int, int], ...] = ((heads, self.width // heads),) * 2

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

    def new_cache(self, batch: int, slots: int) -> TensorCache:
        """A cache of zeros."""
        return TensorCache.zeros(self.cache_shapes, batch, slots, dtype=self.dtype, device=self.device)

    def weight_bytes(self) -> int:
        """Bytes of the weights."""
        return sum(weight.nbytes for weight in self.weights.values())

    def fingerprint(self) -> str:
        """A hash of all weights."""
        return hashlib.sha256(b"".join(w.float().numpy().tobytes() for w in self.weights.values())).hexdigest()[:16]

    def forward(
        self, ids: Tensor, position: Tensor, slot: Tensor, mask: Tensor, cache: TensorCache, rows: Tensor | None = None
    ) -> Tensor:
        """One pass, see ``diagplan.adapters.contract.Model.forward``."""
        batch, n = ids.shape
        x = F.embedding(ids, self.weights["token"]) + self.weights["position"][position]
        q, k, v = (x @ self.weights["qkv"].T).view(batch, n, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        keys, values = cache.layer(0)
        keys.index_copy_(2, slot, k)
        values.index_copy_(2, slot, v)
        length = mask.shape[1]
        seen = F.scaled_dot_product_attention(q, keys[:, :, :length], values[:, :, :length], attn_mask=mask)
        x = x + seen.transpose(1, 2).reshape(batch, n, self.width)
        return (x if rows is None else x[:, rows]) @ self.weights["out"].T
