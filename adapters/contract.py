"""The forward contract: what lets one plan run on every model and every runtime.

Shapes: B samples, n feeds of one pass, L cache slots that a pass attends over, V vocabulary entries. Everything a
pass needs is an input of fixed shape, so nothing about a plan is known to a model, and nothing about a model to a
backend.
"""

from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from diagplan.planner.layout import Layout

if TYPE_CHECKING:
    import torch

__all__ = ["Cache", "Model"]

#: A model's key-value cache: a NamedTuple of tensors [..., slots, width]. Only the model that made it knows more.
Cache = Any


class Model(Protocol):
    """One model, loaded on one device in one dtype.

    Attributes:
        family: name of the adapter, e.g. ``"mc-ar"``.
        vocab_size: V, rows of logits.
        positions: longest sequence the model has position embeddings for, in slots.
        device, dtype: where the weights are, and as what.
    """

    family: str
    vocab_size: int
    positions: int
    device: "torch.device"
    dtype: "torch.dtype"

    def new_cache(self, batch: int, slots: int) -> Cache:
        """A cache of zeros for ``batch`` samples and ``slots`` cache slots."""
        ...

    def weight_bytes(self) -> int:
        """Bytes of the weights."""
        ...

    def cache_bytes(self, batch: int, slots: int) -> int:
        """Bytes of such a cache."""
        ...

    def fingerprint(self) -> str:
        """A short text that differs between models of other configurations or weights."""
        ...

    def forward(
        self,
        ids: "torch.Tensor",
        position: "torch.Tensor",
        slot: "torch.Tensor",
        mask: "torch.Tensor",
        cache: Cache,
        rows: "torch.Tensor | None" = None,
    ) -> "torch.Tensor":
        """One pass: write keys and values at ``slot``, attend under ``mask``, return logits.

        Args:
            ids: token ids, int64 [B, n].
            position: position slots, int64 [n]; position embeddings come from these, never from the order of feeding.
            slot: cache slots to write, int64 [n]; a slot may be written again. Slots of one pass differ, except the
                trash slot of padding.
            mask: bool [n, L], true where a feed sees a cache slot, this pass's writes included; L may be less than the
                cache's slots, but covers every slot that is written or seen.
            cache: from ``new_cache``; changed in place.
            rows: feeds whose logits are wanted, int64 [m]; ``None``: all.

        Returns:
            logits, [B, m, V] in the model's dtype.
        """
        ...

    def allowed_ids(self, layout: Layout, slots: NDArray[np.integer[Any]]) -> NDArray[np.int64]:
        """The ids that may be chosen for each target slot, as half-open ranges, int64 [n, 2]."""
        ...
