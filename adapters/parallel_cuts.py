"""Tensor parallelism as integers: what of a weight, and of a model, is one rank's own."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from diagplan.adapters.contract import Ranks, Widths
from diagplan.planner.errors import SpecError

__all__ = ["Cut", "Part", "Traffic", "bounds", "cut_shapes", "pass_traffic", "require_whole"]


class Cut(NamedTuple):
    """What a rank holds of one weight.

    Attributes:
        axis: along which it is cut.
        ranges: half-open, of that axis; they lie one behind the other on the rank.
    """

    axis: int
    ranges: tuple[tuple[int, int], ...]

    @property
    def size(self) -> int:
        """Of the axis, on the rank."""
        return sum(end - begin for begin, end in self.ranges)

    def shape(self, whole: Sequence[int]) -> tuple[int, ...]:
        """The rank's shape of a weight of a whole one."""
        return (*whole[: self.axis], self.size, *whole[self.axis + 1 :])

    def of(self, tensor: Any) -> Any:
        """The rank's part of a tensor: a view, where it is one range."""
        parts = [tensor.narrow(self.axis, begin, end - begin) for begin, end in self.ranges]
        if len(parts) == 1:
            return parts[0]
        import torch

        return torch.cat(parts, dim=self.axis)


class Part(NamedTuple):
    """What a rank holds of a model.

    Attributes:
        heads, kv_heads: of queries, and of keys and values.
        mlp: share of the inner width of the feed-forward part: own and whole.
        cuts: by the names of weights; what is not named is whole.
    """

    heads: int
    kv_heads: int
    mlp: tuple[int, int]
    cuts: Mapping[str, Cut]

    def cache_shapes(self, whole: Sequence[tuple[int, int]]) -> tuple[tuple[int, int], ...]:
        """(heads, width) of each array of the cache."""
        return tuple((self.kv_heads, width) for _, width in whole)

    def widths(self, whole: Widths) -> Widths:
        """Of a layer."""
        own, inner = self.mlp
        return whole._replace(heads=self.heads, kv_heads=self.kv_heads, mlp=whole.mlp // inner * own)


def bounds(size: int, rank: int, world: int) -> tuple[int, int]:
    """The half-open range of ``size`` that is a rank's own: equal parts, or such that differ by one.

    >>> bounds(64, 1, 4), bounds(10, 1, 4)
    ((16, 32), (2, 5))
    """
    return size * rank // world, size * (rank + 1) // world


def cut_shapes(shapes: Mapping[str, tuple[int, ...]], cuts: Mapping[str, Cut]) -> dict[str, tuple[int, ...]]:
    """The shapes of a rank's weights, of those of whole ones."""
    return {name: cuts[name].shape(shape) if name in cuts else shape for name, shape in shapes.items()}


class Traffic(NamedTuple):
    """What the ranks tell each other in one pass.

    Attributes:
        sums, summed_bytes: how many sums, and the bytes of their tensors on one rank.
        joins, joined_bytes: of logits, and the bytes of the joined ones.
    """

    sums: int
    summed_bytes: int
    joins: int
    joined_bytes: int


def pass_traffic(
    *, layers: int, hidden: int, logits: int, feeds: int, targets: int, itemsize: int, reads_text: bool = False
) -> Traffic:
    """The traffic of one pass: a sum of the stream for the ids, and one for each half of a layer; logits of targets.

    Args:
        layers: of the model.
        hidden: width of the stream.
        logits: that the head computes for one target.
        feeds: of the pass, of all samples together.
        targets: of the pass, of all samples together.
        itemsize: bytes of a number.
        reads_text: whether every layer reads a text too, which is one sum more.

    >>> pass_traffic(layers=40, hidden=5120, logits=64_000, feeds=1, targets=1, itemsize=2)
    Traffic(sums=81, summed_bytes=829440, joins=1, joined_bytes=128000)
    """
    sums = 1 + layers * (3 if reads_text else 2)
    return Traffic(sums, sums * feeds * hidden * itemsize, int(targets > 0), targets * logits * itemsize)


def require_whole(ranks: Ranks | None, what: str) -> None:
    """Raise ``SpecError`` where a model that is spread over ranks is asked for what only a whole one can."""
    if ranks is not None:
        raise SpecError(
            f"expected a model that is whole in one process for {what}, got a part of one on {ranks.world} ranks. "
            "Load it without --tensor-parallel."
        )
