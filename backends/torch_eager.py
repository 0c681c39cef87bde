"""Eager PyTorch: tensors on one device; on CUDA, passes of fixed shape as CUDA graphs."""

import math
from contextlib import AbstractContextManager
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from diagplan.adapters.contract import LENGTH_STEP
from diagplan.adapters.samplers import Sampler
from diagplan.backends.sampling import torch_choose

__all__ = ["TorchRuntime"]


class TorchRuntime:
    """Tensors on one device; see ``diagplan.adapters.contract.Runtime``.

    Args:
        device: of all tensors.
        length_step: attention kernels like aligned lengths.
        graphs: whether a model's passes can be captured as CUDA graphs.
    """

    def __init__(self, device: torch.device, *, length_step: int = LENGTH_STEP, graphs: bool = True) -> None:
        self.device, self.length_step, self.graphs = device, length_step, graphs
        self.on_gpu = device.type == "cuda" and graphs

    def put(self, array: NDArray[Any]) -> Tensor:
        """A NumPy array as a tensor."""
        return torch.from_numpy(np.ascontiguousarray(array)).to(self.device)

    def numpy(self, array: Tensor) -> NDArray[Any]:
        """A tensor as a NumPy array."""
        copied: NDArray[Any] = array.cpu().numpy()
        return copied

    def float32(self, logits: Tensor) -> Tensor:
        """As float32."""
        return logits.float()

    def all_finite(self, logits: Tensor) -> bool:
        """Whether there is no NaN and no infinity."""
        # NaN and infinity come through a sum, in half the operators; a sum may run over where no number does.
        return math.isfinite(logits.sum()) or bool(torch.isfinite(logits).all())

    def choose(self, logits: Tensor, sampler: Sampler, keys: Tensor, allowed: tuple[int, int] | Tensor) -> Tensor:
        """The chosen ids, int64 [B, m]."""
        return torch_choose(logits, sampler, keys, allowed)

    def inference(self) -> AbstractContextManager[object]:
        """No gradients."""
        return torch.inference_mode()
