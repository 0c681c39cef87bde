"""Large CPU tensors whose memory goes back to the system with them.

glibc keeps the pages of freed tensors below 32 MB in its heap. While a model is loaded, tensor by tensor, its heap
grew to 1.2 to 1.4 times the weights; with these it stays near 1.1.
"""

import math
import mmap
from collections.abc import Sequence

import torch
from torch import Tensor

__all__ = ["empty_pages", "join_rows"]

#: Smaller tensors, in bytes, come from the heap.
_SMALL = 1 << 20


def empty_pages(shape: Sequence[int], dtype: torch.dtype) -> Tensor:
    """An uninitialised, contiguous CPU tensor."""
    size = math.prod(shape) * dtype.itemsize
    if size < _SMALL:
        return torch.empty(tuple(shape), dtype=dtype)
    pages = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    return torch.frombuffer(pages, dtype=dtype).view(tuple(shape))


def join_rows(parts: Sequence[Tensor]) -> Tensor:
    """Matrices [rows, columns] of one dtype and device, one under the other; a single one as it is."""
    first = parts[0]
    if len(parts) == 1:
        return first
    if first.device.type != "cpu":
        return torch.cat(list(parts))
    rows = sum(part.shape[0] for part in parts)
    return torch.cat(list(parts), out=empty_pages((rows, first.shape[1]), first.dtype))
