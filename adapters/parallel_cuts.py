"""Tensor parallelism as integers: what of a weight, and of a model, is one rank's own."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from diagplan.adapters.contract import Widths

__all__ = ["Cut", "Part", "bounds", "cut_shapes"]


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
