"""A tiny model whose positions are rows and columns, and that may be fed embeddings: what the plain families lack."""

import hashlib
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812 - its usual name
from torch import Tensor

from diagplan.adapters.cache import TensorCache
from diagplan.adapters.contract import AllowedIds
from diagplan.adapters.lead import embedded
from diagplan.planner.coordinates import Coordinates

__all__ = ["PlacedModel"]

_IDS, _WIDTH, _HEADS, _MOST = 40, 32, 2, 16


class PlacedModel:
    """One layer of attention; a position's embedding is the sum of one for each axis."""

    family = "placed"
    vocab_size, input_vocab_size, positions = 33, _IDS, 160
    lead_width = 6
    ragged = True
    grid = None
    vocabulary = (AllowedIds(low=0, high=33),)
    cache_shapes = ((_HEADS, _WIDTH // _HEADS),) * 2

    def __init__(self, dtype: torch.dtype = torch.float32, axes: tuple[str, ...] = ("cell", "row", "col")) -> None:
        generator = torch.Generator().manual_seed(8)

        def random(*shape: int) -> Tensor:
            numbers: Tensor = torch.randn(shape, generator=generator) * shape[-1] ** -0.5
            return numbers.to(dtype)

        self.coordinates = Coordinates(axes)
        self.dtype, self.device = dtype, torch.device("cpu")
        weights = {"token": 4 * random(_IDS, _WIDTH), "qkv": random(3 * _WIDTH, _WIDTH), "out": random(33, _WIDTH)}
        weights |= {"lead": 4 * random(_WIDTH, self.lead_width), "place": 4 * random(len(axes) * _MOST, _WIDTH)}
        self.weights: dict[str, Tensor] = weights

    def new_cache(self, batch: int, slots: int) -> TensorCache:
        return TensorCache.zeros(self.cache_shapes, batch, slots, dtype=self.dtype, device=self.device)

    def weight_bytes(self) -> int:
        return sum(weight.nbytes for weight in self.weights.values())

    def fingerprint(self) -> str:
        whole = [str(self.coordinates.axes).encode(), *(w.double().numpy().tobytes() for w in self.weights.values())]
        return hashlib.sha256(b"".join(whole)).hexdigest()[:16]

    def forward(
        self,
        ids: Tensor,
        position: Tensor,
        slot: Tensor,
        mask: Tensor,
        cache: TensorCache,
        rows: Any = None,
        lead: Any = None,
    ) -> Tensor:
        batch, n = ids.shape
        width = self.weights["lead"].T
        x = embedded(
            ids, None if lead is None else lead @ width, lambda known: F.embedding(known, self.weights["token"])
        )
        axis = torch.arange(position.shape[-1]) * _MOST
        x = x + F.embedding(position + axis, self.weights["place"]).sum(-2)
        q, k, v = (x @ self.weights["qkv"].T).view(batch, n, 3, _HEADS, -1).permute(2, 0, 3, 1, 4)
        keys, values = cache.update(0, slot, k, v, mask.shape[-1])
        seen = F.scaled_dot_product_attention(q, keys, values, attn_mask=mask if mask.ndim == 2 else mask[:, None])
        x = x + seen.transpose(1, 2).reshape(batch, n, _WIDTH)
        out: Tensor = (x if rows is None else x[:, rows]) @ self.weights["out"].T
        return out
