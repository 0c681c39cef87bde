"""Layers over ranks, two of which are played one after the other: sums and joins give the whole layer's numbers."""

from collections.abc import Sequence
from functools import partial
from typing import Any

import pytest

torch = pytest.importorskip("torch")

from diagplan.adapters.linear import PlainLinear  # noqa: E402
from diagplan.adapters.parallel_cuts import Cut, bounds  # noqa: E402
from diagplan.adapters.parallel_layers import joined, look_up, rank_of, summed  # noqa: E402

SIZE, WORLD = 7, 2


class Played:
    """Rank 1 of two; what rank 0 has told is known."""

    def __init__(self, rank: int, other: Any = None) -> None:
        self.rank, self.world, self.other, self.told = rank, WORLD, other, None

    def sum(self, x: Any) -> Any:
        self.told = x.clone()
        return x if self.other is None else self.other + x

    def join(self, x: Any, sizes: Sequence[int]) -> Any:
        self.told = x.clone()
        assert x.shape[-1] == sizes[self.rank]
        return x if self.other is None else torch.cat([self.other, x], dim=-1)

    def numbers(self, number: int) -> list[int]:
        return [number] * WORLD


def played(layer: Any, x: Sequence[Any], *rest: Any) -> Any:
    """What rank 1 gets of a layer of (ranks), of each rank's x."""
    first = Played(0)
    layer(first)(x[0])
    return layer(Played(1, first.told))(x[1], *rest)


def test_columns_are_summed_and_rows_joined() -> None:
    torch.manual_seed(0)
    weight, x, added = torch.randn(SIZE, 6), torch.randn(2, 3, 6), torch.randn(2, 3, SIZE)
    whole = PlainLinear(weight)
    columns = [Cut(1, (bounds(6, rank, WORLD),)) for rank in range(WORLD)]
    parts = [Cut(2, cut.ranges).of(x) for cut in columns]
    got = played(lambda ranks: summed(PlainLinear(columns[ranks.rank].of(weight)), ranks), parts, added)
    torch.testing.assert_close(got, whole(x, added))
    rows = [Cut(0, (bounds(SIZE, rank, WORLD),)) for rank in range(WORLD)]
    got = played(lambda ranks: joined(PlainLinear(rows[ranks.rank].of(weight)), ranks, SIZE), [x, x], added)
    torch.testing.assert_close(got, whole(x, added))


def test_an_id_has_its_row_on_one_rank() -> None:
    table, ids = torch.randn(SIZE, 4), torch.tensor([[0, 2, 3, 6], [5, 5, 1, 3]])
    cuts = [Cut(0, (bounds(SIZE, rank, WORLD),)) for rank in range(WORLD)]
    got = played(lambda ranks: partial(look_up, table=cuts[ranks.rank].of(table), ranks=ranks, size=SIZE), [ids, ids])
    assert torch.equal(got, table[ids])
    assert torch.equal(look_up(ids, table, None, SIZE), table[ids])


def test_without_ranks_a_layer_is_itself() -> None:
    layer = PlainLinear(torch.ones(2, 2))
    assert summed(layer, None) is layer
    assert joined(layer, None, 2) is layer
    assert rank_of(None) == ()
    assert rank_of(Played(1)) == ("rank 1 of 2",)
