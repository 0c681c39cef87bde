"""Linear layers for a few rows at a time.

Plain matrix products on the CPU are fast for one row and for many, and several times slower in between (3 to 15 rows):
the weights are reordered ahead for oneDNN, which is nearly flat there. The layouts agree to float rounding.
"""

from typing import Protocol

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

__all__ = ["Linear", "PackedLinear", "PlainLinear", "linear_for"]


class Linear(Protocol):
    """y = x W^T without bias, for x [..., in]."""

    def __call__(self, x: Tensor) -> Tensor:
        """Apply the layer: [..., in] -> [..., out]."""
        ...


class PlainLinear:
    """The weight as it is, [out, in]."""

    def __init__(self, weight: Tensor) -> None:
        self.weight = weight

    def __call__(self, x: Tensor) -> Tensor:
        """Apply the layer: [..., in] -> [..., out]."""
        return F.linear(x, self.weight)


class PackedLinear:
    """The weight in oneDNN's own order, CPU only."""

    def __init__(self, weight: Tensor) -> None:
        self.packed = torch.ops.mkldnn._reorder_linear_weight(weight)

    def __call__(self, x: Tensor) -> Tensor:
        """Apply the layer: [..., in] -> [..., out]."""
        flat = x.reshape(-1, x.shape[-1])
        out = torch.ops.mkldnn._linear_pointwise(flat, self.packed, None, "none", [], "")
        wide: Tensor = out.view(*x.shape[:-1], out.shape[-1])
        return wide


def linear_for(weight: Tensor) -> Linear:
    """The fastest layer for this weight's device and dtype."""
    if (
        weight.device.type == "cpu"
        and weight.dtype in (torch.float32, torch.bfloat16)
        and torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
    ):
        return PackedLinear(weight)
    return PlainLinear(weight)
