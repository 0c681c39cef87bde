"""A cache of torch tensors, for every adapter."""

from collections.abc import Iterable, Sequence
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor

__all__ = ["TensorCache"]


class TensorCache:
    """Keys and values; see ``diagplan.adapters.contract.Cache``.

    Args:
        tensors: [B, heads, slots, width] each: keys and values of the first layer, then of the next.
    """

    def __init__(self, tensors: Iterable[Tensor]) -> None:
        self.tensors = tuple(tensors)

    @classmethod
    def zeros(
        cls, shapes: Sequence[tuple[int, int]], batch: int, slots: int, *, dtype: torch.dtype, device: torch.device
    ) -> "TensorCache":
        """A cache of zeros for (heads, width) of each tensor."""
        return cls(torch.zeros((batch, heads, slots, width), dtype=dtype, device=device) for heads, width in shapes)

    def layer(self, number: int) -> tuple[Tensor, Tensor]:
        """Keys and values of a layer."""
        return self.tensors[2 * number], self.tensors[2 * number + 1]

    def update(self, number: int, slot: Tensor, keys: Tensor, values: Tensor, length: int) -> tuple[Tensor, Tensor]:
        """Write a layer's keys and values of one pass, and give those of its first ``length`` slots.

        Args:
            number: of the layer.
            slot: where, int64 [n], or [B, n] where samples differ.
            keys: of this pass, [B, heads, n, width].
            values: likewise.
            length: slots that the pass attends over.
        """
        layer = self.layer(number)
        for own, new in zip(layer, (keys, values), strict=True):
            if slot.ndim == 1:
                own.index_copy_(2, slot, new)
            else:
                own.scatter_(2, slot[:, None, :, None].expand(new.shape), new)
        return layer[0].narrow(2, 0, length), layer[1].narrow(2, 0, length)

    def read(self, slots: int) -> list[NDArray[Any]]:
        """A copy of the first slots, see ``diagplan.adapters.contract.Cache.read``."""
        return [_bits(tensor[:, :, :slots]).cpu().numpy().copy() for tensor in self.tensors]

    def write(self, arrays: Sequence[NDArray[Any]]) -> None:
        """Put back what ``read`` gave."""
        for tensor, array in zip(self.tensors, arrays, strict=True):
            _bits(tensor[:, :, : array.shape[2]]).copy_(torch.from_numpy(array))


def _bits(tensor: Tensor) -> Tensor:
    """NumPy has no bfloat16."""
    return tensor.view(torch.uint16) if tensor.dtype == torch.bfloat16 else tensor
