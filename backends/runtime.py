"""The runtime of a model's arrays: its own, NumPy's, or torch's on the device of its weights."""

from contextlib import AbstractContextManager, nullcontext
from typing import Any

import numpy as np
from numpy.typing import NDArray

from diagplan.adapters.contract import Model, Runtime, own_runtime, ranks_of
from diagplan.adapters.samplers import Sampler
from diagplan.backends.sampling import numpy_choose

__all__ = ["STATIC_STEP", "NumpyRuntime", "Runtime", "runtime_of"]

#: Where passes have fixed shapes, cache lengths are multiples of this many slots.
STATIC_STEP = 1024


class NumpyRuntime:
    """NumPy arrays on the CPU; see ``diagplan.adapters.contract.Runtime``."""

    on_gpu = False
    graphs = False
    length_step = 256  # a new length moves the cache and binds it anew

    def put(self, array: NDArray[Any]) -> NDArray[Any]:
        """As it is, contiguous."""
        return np.ascontiguousarray(array)

    def numpy(self, array: NDArray[Any]) -> NDArray[Any]:
        """As it is."""
        return array

    def float32(self, logits: NDArray[Any]) -> NDArray[np.float32]:
        """As float32."""
        return logits.astype(np.float32)

    def all_finite(self, logits: NDArray[Any]) -> bool:
        """Whether there is no NaN and no infinity."""
        return bool(np.isfinite(logits).all())

    def choose(
        self, logits: NDArray[Any], sampler: Sampler, keys: NDArray[np.int64], allowed: tuple[int, int] | NDArray[Any]
    ) -> NDArray[np.int64]:
        """The chosen ids, int64 [B, m]."""
        return numpy_choose(logits, sampler, keys, allowed)

    def inference(self) -> AbstractContextManager[object]:
        """Nothing to be done."""
        return nullcontext()


def runtime_of(model: Model) -> Runtime:
    """The runtime of a model's arrays: its own, or torch's on the device of its weights."""
    own = own_runtime(model)
    if own is not None:
        return own
    from diagplan.backends.torch_eager import TorchRuntime

    # Collectives in a graph: not tried.
    return TorchRuntime(model.device, graphs=ranks_of(model) is None)
