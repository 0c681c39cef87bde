"""The layers of a model that is spread over ranks: what they add to a plain one is a sum or a join over the ranks.

A product that is cut by columns is followed by one that is cut by rows, whose partial results are summed; so each half
of a layer costs one sum of the stream. Without ranks every function here gives back what it was given.

NOTE: why not DTensor's parallelize_module? It rewrites torch modules of named projections. Our layers are functions
over joined or packed weights and a cache that is written in place; their cut weights are plain tensors, and the
collectives that the mathematics needs stand where they are needed.
"""

import torch.nn.functional as F  # noqa: N812
from torch import Tensor

from diagplan.adapters.contract import Ranks
from diagplan.adapters.linear import Linear
from diagplan.adapters.parallel_cuts import bounds

__all__ = ["joined", "look_up", "rank_of", "summed"]


class _Summed:
    """A product of which every rank has some columns of the weight, summed over the ranks."""

    def __init__(self, linear: Linear, ranks: Ranks) -> None:
        self.linear, self.ranks = linear, ranks

    def __call__(self, x: Tensor, added: Tensor | None = None) -> Tensor:
        """Apply the layer, plus ``added``, [..., out], if there is one: [..., in of this rank] -> [..., out]."""
        out: Tensor = self.ranks.sum(self.linear(x))
        return out if added is None else added + out


class _Joined:
    """A product of which every rank has some rows of the weight, its outputs joined."""

    def __init__(self, linear: Linear, ranks: Ranks, size: int) -> None:
        self.linear, self.ranks = linear, ranks
        self.sizes = [end - begin for begin, end in (bounds(size, rank, ranks.world) for rank in range(ranks.world))]

    def __call__(self, x: Tensor, added: Tensor | None = None) -> Tensor:
        """Apply the layer, plus ``added``, [..., out], if there is one: [..., in] -> [..., out]."""
        out: Tensor = self.ranks.join(self.linear(x), self.sizes)
        return out if added is None else added + out


def summed(linear: Linear, ranks: Ranks | None) -> Linear:
    """A layer whose weight is cut by columns, [out, in of this rank]: its outputs are summed over the ranks."""
    return linear if ranks is None else _Summed(linear, ranks)


def joined(linear: Linear, ranks: Ranks | None, size: int) -> Linear:
    """A layer whose weight is cut by rows, [out of this rank, in], of ``size`` in all: its outputs are joined."""
    return linear if ranks is None else _Joined(linear, ranks, size)


def look_up(ids: Tensor, table: Tensor, ranks: Ranks | None, size: int) -> Tensor:
    """Rows of a table [rows of this rank, width], of ``size`` in all, for ids int64 [B, n]: [B, n, width].

    An id has its row on one rank; the others give zeros to the sum, so it is exact.
    """
    if ranks is None:
        return F.embedding(ids, table)
    begin, end = bounds(size, ranks.rank, ranks.world)
    elsewhere = (ids < begin) | (ids >= end)
    x = F.embedding((ids - begin).masked_fill(elsewhere, 0), table).masked_fill(elsewhere[..., None], 0)
    total: Tensor = ranks.sum(x)
    return total


def rank_of(ranks: Ranks | None) -> tuple[str, ...]:
    """What the fingerprint of a rank's part says beside its weights; nothing of a whole model."""
    return () if ranks is None else (f"rank {ranks.rank} of {ranks.world}",)
