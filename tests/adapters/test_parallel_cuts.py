"""A part of a tensor: its shape, its numbers, and that no other is needed."""

import itertools
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from diagplan.adapters.contract import Widths
from diagplan.adapters.parallel_cuts import Cut, Part, bounds, cut_shapes, pass_traffic, require_whole
from diagplan.planner.errors import SpecError


@pytest.mark.parametrize(("size", "world"), [(64, 4), (10, 4), (3, 4), (1, 1), (8262, 8)])
def test_bounds_cover_all_and_differ_by_one(size: int, world: int) -> None:
    ranges = [bounds(size, rank, world) for rank in range(world)]
    assert (ranges[0][0], ranges[-1][1]) == (0, size)
    assert all(one[1] == two[0] for one, two in itertools.pairwise(ranges))
    sizes = [end - begin for begin, end in ranges]
    assert max(sizes) - min(sizes) <= 1


def test_a_cut_is_a_view_or_a_few_rows_together() -> None:
    torch = pytest.importorskip("torch")
    whole = torch.arange(24).view(6, 4)
    one, two = Cut(1, ((1, 3),)), Cut(0, ((0, 1), (4, 6)))
    assert one.of(whole).data_ptr() == whole.data_ptr() + 8
    np.testing.assert_array_equal(one.of(whole), whole[:, 1:3])
    np.testing.assert_array_equal(two.of(whole), whole[[0, 4, 5]])
    assert (one.shape((6, 4)), two.shape((6, 4)), two.size) == ((6, 2), (3, 4), 3)
    assert cut_shapes({"a": (6, 4), "b": (4,)}, {"a": two}) == {"a": (3, 4), "b": (4,)}


def test_a_part_of_a_layer() -> None:
    part = Part(2, 1, (5, 10), {})
    assert part.cache_shapes([(4, 64), (4, 64)]) == ((1, 64), (1, 64))
    assert part.widths(Widths(256, 8, 4, 64, 20)) == Widths(256, 2, 1, 64, 10)


def test_what_only_a_whole_model_can() -> None:
    ranks: Any = SimpleNamespace(rank=1, world=2)
    require_whole(None, "an export")
    message = (
        "expected a model that is whole in one process for an export, got a part of one on 2 ranks. Load it without"
    )
    with pytest.raises(SpecError, match=message):
        require_whole(ranks, "an export")


def test_traffic_of_a_pass() -> None:
    plain = pass_traffic(layers=2, hidden=8, logits=10, feeds=6, targets=3, itemsize=4)
    assert plain == (5, 5 * 6 * 8 * 4, 1, 3 * 10 * 4)
    text = pass_traffic(layers=2, hidden=8, logits=10, feeds=6, targets=0, itemsize=4, reads_text=True)
    assert text == (7, 7 * 6 * 8 * 4, 0, 0)
