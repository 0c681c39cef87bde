"""A model in whole numbers, for exact and quick comparisons of executors.

What a feed answers is a hash of its token, its position and all that its mask row shows, through two layers, so that
any other read, write or order gives other tokens with near certainty. It meets the forward contract on torch's tensors
and on NumPy's arrays.
"""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from diagplan.adapters.contract import AllowedIds, Grid
from diagplan.backends.runtime import NumpyRuntime

__all__ = ["HashModel", "NumpyHashModel"]

_LAYERS = 2
#: An odd multiplier below 2^63, and two shifts: a mixing function of the kind of splitmix64.
_MULTIPLIER = 0x3F58476D1CE4E5B9


def _mix(x: Any) -> Any:
    x = (x ^ (x >> 30)) * _MULTIPLIER
    return x ^ (x >> 27)


class HashModel:
    """On torch; see ``diagplan.adapters.contract.Model``."""

    family = "hash"
    vocab_size = 251
    positions = 1 << 20
    device: Any = torch.device("cpu")
    dtype: Any = torch.float32
    cache_shapes = ((1, 1),) * _LAYERS
    vocabulary: tuple[AllowedIds, ...] = (AllowedIds(low=0, high=vocab_size),)
    grid: Grid | None = None
    ragged = True

    def new_cache(self, batch: int, slots: int) -> Any:
        """int64 [layers, batch, slots]."""
        return torch.zeros((_LAYERS, batch, slots), dtype=torch.int64)

    def weight_bytes(self) -> int:
        """None."""
        return 0

    def fingerprint(self) -> str:
        """There is one such model."""
        return "hash"

    def forward(self, ids: Any, position: Any, slot: Any, mask: Any, cache: Any, rows: Any = None) -> Any:
        """See ``Model.forward``; logits float32 [B, m, V], one where the hash points."""
        hidden = _mix(ids * 0x10001 + position * 7919 + 1)
        for layer in cache:
            if slot.ndim == 1:
                layer[:, slot] = hidden
            else:
                for own, where, new in zip(layer, slot, hidden, strict=True):
                    own[where] = new
            seen = _mix(layer[:, None, : mask.shape[-1]] + 12345) * mask
            hidden = _mix(hidden + 3 * seen.sum(-1))
        chosen = (hidden if rows is None else hidden[:, rows]) % self.vocab_size
        return self._one_hot(chosen)

    def _one_hot(self, chosen: Any) -> Any:
        return torch.nn.functional.one_hot(chosen, self.vocab_size).float()


class NumpyHashModel(HashModel):
    """The same on NumPy's arrays, as a runtime without torch hands them over."""

    device = "cpu"
    dtype: Any = np.dtype(np.float32)
    runtime = NumpyRuntime()

    def new_cache(self, batch: int, slots: int) -> NDArray[np.int64]:
        """int64 [layers, batch, slots]."""
        return np.zeros((_LAYERS, batch, slots), dtype=np.int64)

    def _one_hot(self, chosen: NDArray[np.int64]) -> NDArray[np.float32]:
        return np.eye(self.vocab_size, dtype=np.float32)[chosen]
