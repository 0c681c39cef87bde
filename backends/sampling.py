"""How a token is chosen: a pure function of its logits and a key (seed, sample, slot).

Random numbers are never drawn from a stream: the noise of token id v is a hash of (seed, sample, slot, v). So the
same tokens come out whatever the batch, the padding, the order of slots and the backend. ``numpy_choose`` and
``torch_choose`` do the same arithmetic, in float64.
"""

import math
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from diagplan.adapters.samplers import Greedy, Sample, Sampler

if TYPE_CHECKING:
    import torch

__all__ = ["Greedy", "Sample", "Sampler", "keys_for", "numpy_choose", "numpy_gumbel", "torch_choose", "torch_gumbel"]

Ints = NDArray[np.int64]
Float64 = NDArray[np.float64]


# The finaliser of SplitMix64 (Steele, Lea, Flood, 2014): multiplication and shifts modulo 2^64.
_GOLDEN, _MIX_1, _MIX_2 = 0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB
_TO_UNIT = 2.0**-53


def _mixed(x: NDArray[np.uint64]) -> NDArray[np.uint64]:
    x = (x ^ (x >> np.uint64(30))) * np.uint64(_MIX_1)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(_MIX_2)
    return x ^ (x >> np.uint64(31))


def numpy_gumbel(keys: Ints, low: int, high: int) -> Float64:
    """Standard Gumbel noise for ids ``low`` to ``high``, float64 [B, n, high - low], keyed by (seed, sample, slot, id).

    Args:
        keys: from ``keys_for``, int64 [B, n].
        low: the first id.
        high: the last id, plus one.
    """
    with np.errstate(over="ignore"):
        ids = np.arange(low + 1, high + 1, dtype=np.uint64) * np.uint64(_GOLDEN)
        bits = _mixed(keys.view(np.uint64)[..., None] + ids) >> np.uint64(11)
    return -np.log(-np.log((bits.astype(np.float64) + 0.5) * _TO_UNIT))


def torch_gumbel(keys: "torch.Tensor", low: int, high: int) -> "torch.Tensor":
    """``numpy_gumbel`` on the keys' device."""
    import torch

    ids = torch.arange(low + 1, high + 1, device=keys.device) * _signed(_GOLDEN)
    x = keys[..., None] + ids
    x = (x ^ _shifted(x, 30)) * _signed(_MIX_1)
    x = (x ^ _shifted(x, 27)) * _signed(_MIX_2)
    x = x ^ _shifted(x, 31)
    return -torch.log(-torch.log((_shifted(x, 11).double() + 0.5) * _TO_UNIT))


def keys_for(seeds: Ints, samples: Ints, slots: Ints) -> Ints:
    """The noise key of every (sample, slot), 64 bits in an int64, [B, n].

    Args:
        seeds: of each sample, int64 [B].
        samples: number of each sample, int64 [B].
        slots: target slots, int64 [n].
    """
    with np.errstate(over="ignore"):
        key = _mixed(seeds.astype(np.uint64) + np.uint64(_GOLDEN))
        key = _mixed(key ^ (samples.astype(np.uint64) + np.uint64(_GOLDEN)))
        return _mixed(key[:, None] ^ (slots.astype(np.uint64) * np.uint64(_GOLDEN) + np.uint64(1))).view(np.int64)


def _signed(value: int) -> int:
    return value - (1 << 64) if value >= 1 << 63 else value


def _shifted(x: "torch.Tensor", by: int) -> "torch.Tensor":
    """Logical shift to the right of int64 as if unsigned."""
    return (x >> by) & ((1 << (64 - by)) - 1)


def torch_choose(
    logits: "torch.Tensor", sampler: Sampler, keys: "torch.Tensor", allowed: "tuple[int, int] | torch.Tensor"
) -> "torch.Tensor":
    """The chosen ids, int64 [B, n].

    Args:
        logits: [B, n, V].
        sampler: how to choose.
        keys: from ``keys_for``, int64 [B, n].
        allowed: the ids that may be chosen: one half-open range, or one for each target, int64 [n, 2] or
            [B, n, 2].
    """
    import torch

    if isinstance(allowed, torch.Tensor):
        ids = torch.arange(logits.shape[-1], device=logits.device)
        outside = (ids < allowed[..., :1]) | (ids >= allowed[..., 1:])
        logits, allowed = logits.masked_fill(outside, float("-inf")), (0, logits.shape[-1])
    low, high = allowed
    part = logits[..., low:high]
    if isinstance(sampler, Greedy):
        first = part.argmax(dim=-1)
        return first + low if low else first
    x = part.double() / sampler.temperature
    if sampler.top_k is not None and sampler.top_k < high - low:
        x = x.masked_fill(x < x.topk(sampler.top_k, dim=-1).values[..., -1:], float("-inf"))
    if sampler.top_p is not None:
        ordered, index = x.sort(dim=-1, descending=True, stable=True)
        share = ordered.softmax(dim=-1)
        before = share.cumsum(dim=-1) - (share if sampler.crossing == "keep" else 0)
        cut = before > sampler.top_p
        cut[..., 0] = False
        x = x.masked_fill(torch.zeros_like(cut).scatter(-1, index, cut), float("-inf"))
    if sampler.min_p is not None:
        x = x.masked_fill(x < x.amax(dim=-1, keepdim=True) + math.log(sampler.min_p), float("-inf"))
    return (x + torch_gumbel(keys, low, high)).argmax(dim=-1) + low


def numpy_choose(
    logits: NDArray[Any], sampler: Sampler, keys: Ints, allowed: tuple[int, int] | NDArray[np.integer[Any]]
) -> Ints:
    """``torch_choose`` in NumPy."""
    if isinstance(allowed, np.ndarray):
        ids = np.arange(logits.shape[-1])
        outside = (ids < allowed[..., :1]) | (ids >= allowed[..., 1:])
        logits, allowed = np.where(outside, -np.inf, logits), (0, logits.shape[-1])
    low, high = allowed
    part = logits[..., low:high]
    if isinstance(sampler, Greedy):
        return np.asarray(part.argmax(axis=-1) + low)
    x = part.astype(np.float64) / sampler.temperature
    if sampler.top_k is not None and sampler.top_k < high - low:
        kth = np.partition(x, -sampler.top_k, axis=-1)[..., -sampler.top_k, None]
        x[x < kth] = -np.inf
    if sampler.top_p is not None:
        index = np.argsort(-x, axis=-1, kind="stable")
        ordered = np.take_along_axis(x, index, axis=-1)
        share = np.exp(ordered - ordered[..., :1])
        share /= share.sum(axis=-1, keepdims=True)
        before = share.cumsum(axis=-1) - (share if sampler.crossing == "keep" else 0)
        cut = before > sampler.top_p
        cut[..., 0] = False
        back = np.zeros_like(cut)
        np.put_along_axis(back, index, cut, axis=-1)
        x = np.where(back, -np.inf, x)
    if sampler.min_p is not None:
        x = np.where(x < x.max(axis=-1, keepdims=True) + math.log(sampler.min_p), -np.inf, x)
    return np.asarray((x + numpy_gumbel(keys, low, high)).argmax(axis=-1) + low)
