"""A cache that writes where a plan says, for the decoders of transformers; all that differs by its version is here.

Checked on transformers 4.57.6, 5.4.0 and 5.24.0: the argument of a decoder that takes a cache is called
``past_key_values`` or, since 5.24, ``cache``; a layer of a static cache appends at a place of its own, and neither
``cache_position`` nor the keywords of its ``update`` reach it in all of them. So each layer is told before the pass.
"""

import inspect
from collections.abc import Callable, Iterable
from importlib import import_module
from typing import Any

from torch import Tensor

from diagplan.adapters.cache import TensorCache
from diagplan.planner.errors import SpecError

__all__ = ["SlotCache", "SlotLayer", "cache_argument"]

_LIBRARY: Any = import_module("transformers.cache_utils")

# Shapes: R rows of the batch, K key-value heads, n feeds, S slots of the cache, L slots that a pass sees, D head width.


class SlotLayer(_LIBRARY.StaticLayer):  # type: ignore[misc]  # its types differ by the version
    """One layer: keys and values [R, K, S, D], written at ``slot``, [n] or [R, n], and read up to ``length``."""

    keys: Tensor
    values: Tensor

    def __init__(self, keys: Tensor, values: Tensor) -> None:
        super().__init__(max_cache_len=keys.shape[2])
        self.keys, self.values, self.is_initialized = keys, values, True
        self.slot, self.length = keys.new_zeros(0), keys.shape[2]

    def update(self, key_states: Tensor, value_states: Tensor, *_: Any, **__: Any) -> tuple[Tensor, Tensor]:
        """Put keys and values [R, K, n, D] down, and give all that a pass may see."""
        return TensorCache((self.keys, self.values)).update(0, self.slot, key_states, value_states, self.length)


class SlotCache(TensorCache):
    """The cache of a replay, and the same tensors as transformers takes them.

    Attributes:
        held: what is handed to the decoder.
    """

    def __init__(self, tensors: Iterable[Tensor]) -> None:
        super().__init__(tensors)
        self._layers = [SlotLayer(*self.layer(i)) for i in range(len(self.tensors) // 2)]
        self.held: Any = _LIBRARY.Cache(layers=self._layers)

    @classmethod
    def of(cls, cache: TensorCache) -> "SlotCache":
        """The same over the tensors of any cache, such as those of a graph that is being traced."""
        return cache if isinstance(cache, cls) else cls(cache.tensors)

    def write_at(self, slot: Tensor, length: int) -> None:
        """Say where the next pass writes, int64 [n] or [R, n], and how many slots it sees."""
        for layer in self._layers:
            layer.slot, layer.length = slot.to(layer.keys.device), length


def cache_argument(forward: Callable[..., Any]) -> str:
    """The name under which a decoder takes its cache.

    A wrong one disappears among a decoder's keywords, and it decodes without a cache.

    Raises:
        SpecError: it takes none.
    """
    names = inspect.signature(forward).parameters
    for name in ("cache", "past_key_values"):
        if name in names:
            return name
    raise SpecError(
        "expected a decoder that takes a cache, got one whose forward has neither cache nor past_key_values. Replay "
        "keeps keys and values between passes. Take a decoder of transformers 4.57 or newer."
    )
