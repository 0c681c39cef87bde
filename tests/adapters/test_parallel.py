"""Models spread over processes: the tokens of the whole model, what passes between ranks, and who may begin."""

import re
from pathlib import Path

import pytest

pytest.importorskip("torch")

from diagplan.adapters.parallel import joined_ranks  # noqa: E402
from diagplan.planner.errors import SpecError  # noqa: E402
from tests.support.ranks import environment, free_port, run_ranks  # noqa: E402


def test_two_ranks_give_the_tokens_of_one_and_count_and_see_drift(tmp_path: Path) -> None:
    run_ranks(2, "tests.support.spread:two", tmp_path)


@pytest.mark.slow
def test_four_ranks_of_which_two_hold_the_same_keys(tmp_path: Path) -> None:
    run_ranks(4, "tests.support.spread:two", tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("world", [2, 4])
def test_golden_tokens(world: int, tmp_path: Path) -> None:
    run_ranks(world, "tests.support.spread:golden", tmp_path)


@pytest.mark.parametrize(
    ("changes", "device", "message"),
    [
        ({"RANK": ""}, "cpu", "expected --tensor-parallel under torchrun, got no RANK, WORLD_SIZE and LOCAL_RANK"),
        ({"WORLD_SIZE": "1"}, "cpu", "expected two ranks or more for --tensor-parallel, got WORLD_SIZE=1. "),
        ({}, "cuda:1", "expected device cpu or cuda with --tensor-parallel, got device='cuda:1'. "),
        ({"LOCAL_RANK": "99"}, "cuda", "expected a GPU for every rank, got "),
    ],
)
def test_who_cannot_begin(
    changes: dict[str, str], device: str, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in (environment(0, 2, free_port()) | changes).items():
        monkeypatch.setenv(name, value)
    with pytest.raises(SpecError, match=re.escape(message)), joined_ranks(device):
        pass
