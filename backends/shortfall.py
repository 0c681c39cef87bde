"""How far a token falls short of what a sampler chooses from some logits: 0 for the token that it chooses.

Two runs of one model differ in the last bits of their logits, so a token that one run chose may be another's second.
The shortfall is by how much, in units of the logits. Greedy: the largest logit less the token's. With sampling: the
largest score, logit and keyed noise, less the token's, with slack at the cuts: an id that top-k, top-p or min-p has
only just let in counts against the token with no more than what would cut it, and a token that was cut falls short by
what would let it in.

All logits changed by up to d move two of them by 2 d against each other, and the odds of a sum of shares by a factor of
exp(2 d) at most. Every distance here is such a 2 d.
"""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from diagplan.adapters.samplers import Greedy, Sample, Sampler
from diagplan.backends.sampling import Float64, Ints, numpy_choose, numpy_gumbel

__all__ = ["shortfalls"]

#: Scores held at a time.
_SCORES = 1 << 21

Bool = NDArray[np.bool_]

# Shapes: n tokens, V ids, k of the n rows in which an id has a larger score than the token.


def shortfalls(
    logits: NDArray[np.floating], tokens: Ints, sampler: Sampler, keys: Ints, allowed: Ints
) -> tuple[Float64, Ints]:
    """The shortfall of each token, and what the sampler chooses, float64 [n] and int64 [n].

    Args:
        logits: [n, V].
        tokens: int64 [n]; one outside ``allowed`` falls short by infinity.
        sampler: how tokens are chosen.
        keys: from ``keys_for``, int64 [n].
        allowed: the ids that may be chosen, as half-open ranges, int64 [n, 2].
    """
    count, ids = logits.shape
    short, best = np.zeros(count), np.zeros(count, dtype=np.int64)
    rows = max(1, _SCORES // ids)
    for first in range(0, count, rows):
        part = slice(first, first + rows)
        x = logits[part].astype(np.float64)
        at = np.arange(ids)
        x[(at < allowed[part, :1]) | (at >= allowed[part, 1:])] = -np.inf
        outside = (tokens[part] < allowed[part, 0]) | (tokens[part] >= allowed[part, 1])
        token = np.where(outside, allowed[part, 0], tokens[part])
        if isinstance(sampler, Greedy):
            best[part] = x.argmax(axis=1)
            short[part] = x.max(axis=1) - _of(x, token)
        else:
            with np.errstate(invalid="ignore"):  # distances of ids that are out, which nobody asks for
                short[part], surely = _sampled(x / sampler.temperature, token, sampler, keys[part])
            best[part] = token
            other = first + np.flatnonzero(outside | ~surely)
            best[other] = numpy_choose(x[None, other - first], sampler, keys[None, other], (0, ids))[0]
        short[part][outside] = np.inf
    return short, best


def _of(values: NDArray[Any], token: Ints) -> NDArray[Any]:
    return np.take_along_axis(values, token[:, None], axis=1)[:, 0]


def _sampled(x: Float64, token: Ints, sampler: Sample, keys: Ints) -> tuple[Float64, Bool]:
    """The shortfalls, and which tokens the sampler surely chooses: none is ahead, and none cuts them."""
    cuts: list[_AtLeast | _TopP] = []
    standing = x
    if sampler.top_k is not None and sampler.top_k < x.shape[1]:
        cuts.append(_top_k(standing, sampler.top_k))
        standing = _without(x, standing, token, cuts[-1])
    if sampler.top_p is not None:
        cuts.append(_TopP.of(standing, sampler.top_p, keep=sampler.crossing == "keep"))
        standing = _without(x, standing, token, cuts[-1])
    if sampler.min_p is not None:
        least = standing.max(axis=1, keepdims=True) + math.log(sampler.min_p)
        cuts.append(_AtLeast(standing, least, least))
    score = x + numpy_gumbel(keys, 0, x.shape[1])
    for cut in cuts:
        score[cut.cut] = -np.inf
    own = _of(x, token) + _own_noise(keys, token)
    ahead = score - own[:, None]
    np.put_along_axis(ahead, token[:, None], 0.0, axis=1)
    beaten = (ahead > 0).any(axis=1)
    some = np.flatnonzero(beaten)
    for cut in cuts:
        ahead[some] = np.minimum(ahead[some], np.where(ahead[some] > 0, cut.slack(some), np.inf))
    lacks = [np.where(_of(cut.cut, token), cut.lacks(token), 0.0) for cut in cuts]
    surely = ~beaten & ~np.any([_of(cut.cut, token) for cut in cuts] or [np.zeros_like(beaten)], axis=0)
    return np.max([ahead.max(axis=1), *lacks], axis=0) * sampler.temperature, surely


def _own_noise(keys: Ints, token: Ints) -> Float64:
    return np.concatenate([numpy_gumbel(keys[i : i + 1], t, t + 1)[0] for i, t in enumerate(token.tolist())])


def _without(x: Float64, standing: Float64, token: Ints, cut: "_AtLeast | _TopP") -> Float64:
    """What a cut leaves, and each row's token, so that the cuts after it are asked about it too."""
    left = np.where(cut.cut, -np.inf, standing)
    np.put_along_axis(left, token[:, None], np.take_along_axis(x, token[:, None], axis=1), axis=1)
    return left


@dataclass(slots=True)
class _AtLeast:
    """Ids of ``x`` below ``least`` are cut; ``beyond`` is where one that is not would be. [n, V], [n, 1], [n, 1]."""

    x: Float64
    least: Float64
    beyond: Float64

    @property
    def cut(self) -> Bool:
        """[n, V]."""
        return np.asarray(self.x < self.least)

    def slack(self, rows: Ints) -> Float64:
        """By how much each id is from being cut, [k, V]."""
        return np.asarray(self.x[rows] - self.beyond[rows])

    def lacks(self, token: Ints) -> Float64:
        """By how much each row's token is from being kept, [n]."""
        return np.asarray(self.least[:, 0] - _of(self.x, token))


def _top_k(x: Float64, k: int) -> _AtLeast:
    ordered = -np.sort(-x, axis=1)
    return _AtLeast(x, ordered[:, k - 1 : k], ordered[:, k : k + 1])


@dataclass(slots=True)
class _TopP:
    """The cut of top-p, in the order of falling logits.

    Args:
        x: [n, V]; ``ordered`` the same in order, ``index`` the id at each rank, ``rank`` of each id.
        total: the sum of the shares up to each rank. share: at each rank.
        odds: the logarithm of p's odds.
        keep: whether the id that crosses p is kept.
        cut: [n, V], by id.
    """

    x: Float64
    ordered: Float64
    index: Ints
    rank: Ints
    share: Float64
    total: Float64
    odds: float
    keep: bool
    cut: Bool

    @classmethod
    def of(cls, x: Float64, p: float, *, keep: bool) -> "_TopP":
        """The cut of logits [n, V]."""
        index = np.argsort(-x, axis=1, kind="stable")
        ordered = np.take_along_axis(x, index, axis=1)
        share = np.exp(ordered - ordered[:, :1])
        share /= share.sum(axis=1, keepdims=True)
        total = share.cumsum(axis=1)
        beyond = total - (share if keep else 0) > p
        beyond[:, 0] = False
        rank = np.empty_like(index)
        np.put_along_axis(rank, index, np.broadcast_to(np.arange(x.shape[1]), x.shape), axis=1)
        odds = float(_log_odds(np.array([p]))[0])
        return cls(x, ordered, index, rank, share, total, odds, keep, np.take_along_axis(beyond, rank, axis=1))

    def lacks(self, token: Ints) -> Float64:
        """By how much each row's token is from being kept, [n]: it may pass ids before it, and their sum may shrink."""
        own = _of(self.rank, token)[:, None]
        before = self.total - self.share + (0 if self.keep else np.take_along_axis(self.share, own, axis=1))
        needs = np.maximum(self.ordered - np.take_along_axis(self.ordered, own, axis=1), _log_odds(before) - self.odds)
        needs[:, 0] = self.ordered[:, 0] - np.take_along_axis(self.ordered, own, axis=1)[:, 0]  # the first is never cut
        needs[np.arange(self.x.shape[1]) > own] = np.inf
        return np.asarray(needs.min(axis=1))

    def slack(self, rows: Ints) -> Float64:
        """By how much each id is from being cut, [k, V]: ids behind it may pass it, and their sum may grow.

        To fall to rank j takes the larger of two distances, one that rises with j and one that falls: the least of it
        stands where they cross.
        """
        ordered, share, total = self.ordered[rows], self.share[rows], self.total[rows]
        own, last = np.arange(ordered.shape[1]), ordered.shape[1] - 1
        least = np.maximum(own, 0 if self.keep else 1)  # the first is never cut: it must be passed

        def falls(rank: Ints) -> tuple[Float64, Float64]:
            before = np.take_along_axis(total, rank, axis=1) - (share if self.keep else 0)
            return ordered - np.take_along_axis(ordered, rank, axis=1), self.odds - _log_odds(before)

        low = np.broadcast_to(np.minimum(least, last), ordered.shape).copy()
        high = np.full_like(low, last)
        while (low < high).any():
            middle = (low + high) // 2
            passed, grown = falls(middle)
            crossed = passed >= grown
            high, low = np.where(crossed, middle, high), np.where(crossed, low, np.minimum(middle + 1, high))
        at_cross = np.maximum(*falls(high))
        before_it = np.maximum(*falls(np.maximum(high - 1, np.minimum(least, last))))
        return np.take_along_axis(np.minimum(at_cross, before_it), self.rank[rows], axis=1)


def _log_odds(share: Float64) -> Float64:
    share = np.clip(share, 1e-300, 1 - 1e-16)
    return np.asarray(np.log(share) - np.log1p(-share))
