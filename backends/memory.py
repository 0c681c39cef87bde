"""How much memory a replay takes: weights, cache and masks, counted before anything is laid out."""

from typing import NamedTuple

import numpy as np

from diagplan.adapters.contract import Model
from diagplan.backends.program import reaches
from diagplan.backends.runtime import runtime_of
from diagplan.planner.plan import Plan

__all__ = ["Memory", "cache_bytes", "estimate_memory"]


class Memory(NamedTuple):
    """Bytes on the model's device; what one pass needs while it runs comes on top."""

    weights: int
    cache: int
    masks: int

    @property
    def total(self) -> int:
        """All of them."""
        return sum(self)

    def __str__(self) -> str:
        parts = ", ".join(f"{name} {size / 2**20:,.1f} MiB" for name, size in self._asdict().items())
        return f"{self.total / 2**20:,.1f} MiB ({parts})"


def estimate_memory(model: Model, plan: Plan, batch: int = 1, *, length_step: int | None = None) -> Memory:
    """Bytes of weights, cache and masks of a replay.

    Args:
        model: the model, loaded.
        plan: the plan, as it is fed: padding for CUDA graphs only counts once it is there.
        batch: rows of the model's batch: samples, twice that under guidance.
        length_step: cache lengths are multiples of this many slots; the runtime's own if left out.
    """
    length_step = length_step or runtime_of(model).length_step
    lengths = -(-reaches(plan)[plan.step_offsets[1:] - 1] // length_step) * length_step
    masks = int((np.diff(plan.step_offsets).astype(np.int64) * lengths).sum())
    return Memory(model.weight_bytes(), cache_bytes(model, batch, int(lengths.max())), masks)


def cache_bytes(model: Model, batch: int, slots: int) -> int:
    """Bytes of a model's cache for so many rows and slots."""
    return batch * slots * sum(heads * width for heads, width in model.cache_shapes) * int(model.dtype.itemsize)
