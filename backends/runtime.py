"""What replay asks of a runtime's arrays, and the NumPy one."""

from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from diagplan.adapters.contract import Array, Model
from diagplan.backends.sampling import Sampler, numpy_choose

if TYPE_CHECKING:
    from diagplan.backends.replay import Prepared, State

__all__ = ["STATIC_STEP", "NumpyRuntime", "Runtime", "StaticRunner", "runtime_of"]

#: Where passes have fixed shapes, cache lengths are multiples of this many slots.
STATIC_STEP = 1024


class StaticRunner(Protocol):
    """Advances one state by passes of fixed shapes, without waiting for the device."""

    def advance(self, number: int) -> None:
        """Run pass ``number``."""
        ...

    def failed_step(self) -> int | None:
        """The first step with logits that are not finite, or ``None``. Waits for the device."""
        ...


class Runtime(Protocol):
    """Arrays on one device.

    Attributes:
        on_gpu: whether launching a pass costs more than padding it.
        length_step: cache lengths are multiples of this many slots; a new length costs, and so do masked slots.
    """

    on_gpu: bool
    length_step: int

    def put(self, array: NDArray[Any]) -> Array:
        """A NumPy array as this runtime's, on its device."""
        ...

    def numpy(self, array: Array) -> NDArray[Any]:
        """The other way round."""
        ...

    def float32(self, logits: Array) -> Array:
        """As float32."""
        ...

    def all_finite(self, logits: Array) -> bool:
        """Whether there is no NaN and no infinity."""
        ...

    def choose(self, logits: Array, sampler: Sampler, keys: Array, allowed: tuple[int, int] | Array) -> Array:
        """The chosen ids, int64 [B, m]; arguments as for ``diagplan.backends.sampling.torch_choose``."""
        ...

    def inference(self) -> AbstractContextManager[object]:
        """A context around all passes."""
        ...

    def static_passes(self, prepared: "Prepared", state: "State") -> StaticRunner | None:
        """A runner of passes of fixed shapes, or ``None`` where the model itself sees to them."""
        ...


class NumpyRuntime:
    """NumPy arrays on the CPU."""

    on_gpu = False
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

    def static_passes(self, prepared: "Prepared", state: "State") -> None:
        """None: passes of fixed shapes are no faster here."""
        del prepared, state


def runtime_of(model: Model) -> Runtime:
    """The runtime of a model's arrays: its own, or torch's on the device of its weights."""
    own: Runtime | None = getattr(model, "runtime", None)
    if own is not None:
        return own
    from diagplan.backends.torch_eager import TorchRuntime

    return TorchRuntime(model.device)
