"""The cache of an exported model: buffers that ONNX Runtime reads and writes in place."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from diagplan.adapters.contract import Array
from diagplan.planner.errors import SpecError

__all__ = ["Bound", "OnnxCache"]


@dataclass(frozen=True, slots=True)
class Bound:
    """Buffers of one shape of pass, and the binding that holds them."""

    binding: Any
    inputs: tuple[Array, ...]  # ids, position, slot, mask, rows, and lead where there is one
    logits: Array


class OnnxCache:
    """Keys and values, [B, heads, length, width] each, without gaps, in memory for ``slots`` slots.

    A runtime takes whole arrays only: to attend over a part of the cache, that part must lie without gaps. When a pass
    needs more slots than the one before, the rows move apart.
    """

    def __init__(
        self, shapes: tuple[tuple[int, int], ...], batch: int, slots: int, zeros: Callable[[int], Array]
    ) -> None:
        """Buffers for the arrays of a cache.

        Args:
            shapes: (heads, width) of each array.
            batch: B.
            slots: room.
            zeros: makes a flat buffer of so many numbers.
        """
        self.shapes, self.batch, self.slots, self.length = shapes, batch, slots, 0
        self.buffers = [zeros(batch * heads * slots * width) for heads, width in shapes]
        self.bound: dict[tuple[int, int, int], Bound] = {}

    def arrays(self) -> list[Array]:
        """The cache as it lies now, [B, heads, length, width] each, in the buffers' memory."""
        shapes = [(self.batch, heads, self.length, width) for heads, width in self.shapes]
        return [buffer[: math.prod(s)].reshape(s) for buffer, s in zip(self.buffers, shapes, strict=True)]

    def stretch(self, length: int) -> None:
        """Make room for ``length`` slots; the new ones are zeros."""
        old = self.length
        if length <= old:
            return
        if length > self.slots:
            raise SpecError(f"expected at most {self.slots} cache slots, got a pass over {length}.")
        for buffer, (heads, width) in zip(self.buffers, self.shapes, strict=True):
            for row in reversed(range(self.batch * heads)):  # the last first: none is written over before it moved
                kept = buffer[row * old * width : (row + 1) * old * width]
                kept = kept.copy() if isinstance(kept, np.ndarray) else kept.clone()
                moved = buffer[row * length * width : (row + 1) * length * width]
                moved[: old * width] = kept
                moved[old * width :] = 0
        self.length = length
        self.bound.clear()

    def read(self, slots: int) -> list[NDArray[Any]]:
        """A copy of the first slots, see ``diagplan.adapters.contract.Cache.read``."""
        self.stretch(slots)
        return [np.array(_host(array[:, :, :slots])) for array in self.arrays()]

    def write(self, arrays: Sequence[NDArray[Any]]) -> None:
        """Put back what ``read`` gave."""
        self.stretch(arrays[0].shape[2])
        for own, array in zip(self.arrays(), arrays, strict=True):
            if isinstance(own, np.ndarray):
                own[:, :, : array.shape[2]] = array
            else:
                import torch

                own[:, :, : array.shape[2]].copy_(torch.from_numpy(array))


def _host(array: Array) -> NDArray[Any]:
    host: NDArray[Any] = array if isinstance(array, np.ndarray) else array.cpu().numpy()
    return host
