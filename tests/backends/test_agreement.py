"""What ranks must agree on; the checks over real processes are in tests/adapters/test_parallel.py."""

import re
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from diagplan.backends.agreement import require_agreement, slowest_rank
from diagplan.planner.errors import RanksError


def spread(*others: int) -> Any:
    """A model on ranks of which the others tell these numbers, or, for 0, the same."""
    ranks = SimpleNamespace(
        rank=0, world=1 + len(others), numbers=lambda number: [number, *(other or number for other in others)]
    )
    return SimpleNamespace(ranks=ranks)


def test_the_same_on_all_ranks_and_without_ranks() -> None:
    require_agreement(spread(0, 0), "tokens of frame 0", np.arange(4))
    require_agreement(SimpleNamespace(), "tokens of frame 0", np.arange(4))


def test_others_are_named() -> None:
    message = (
        "expected the same tokens of frame 3 on all 4 ranks, got others than rank 0's on rank(s) 2, 3. All draw from "
        "the same logits by the same noise. Use one kind of device and one version of torch on all ranks, and start "
        "anew."
    )
    with pytest.raises(RanksError, match=re.escape(message)):
        require_agreement(spread(0, 5, 7), "tokens of frame 3", np.arange(4))


def test_order_and_every_array_count() -> None:
    told: list[int] = []

    def numbers(number: int) -> list[int]:
        told.append(number)
        return [0, 0]

    model: Any = SimpleNamespace(ranks=SimpleNamespace(rank=0, world=2, numbers=numbers))
    for arrays in ([[1, 2], [3]], [[2, 1], [3]], [[1, 2], [4]], [[1, 2]]):
        require_agreement(model, "ids", *(np.array(array, dtype=np.int64) for array in arrays))
    assert len(set(told)) == 4


def test_the_slowest_rank_decides() -> None:
    assert slowest_rank(spread(3_000_000, 0), 2.0) == 3.0
    assert slowest_rank(SimpleNamespace(), 0.1234567) == 0.1234567
