"""Models spread over processes: the tokens of the whole model, what passes between ranks, and who may begin."""

import re
from pathlib import Path

import pytest

pytest.importorskip("torch")

from diagplan.adapters.parallel import Started, joined_ranks
from diagplan.planner.errors import SpecError
from tests.support.ranks import environment, free_port, run_ranks


def test_two_ranks_give_the_tokens_of_one_and_count_and_see_drift(tmp_path: Path) -> None:
    run_ranks(2, "tests.support.spread:quick", tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("world", [2, 4])  # of four, two hold the same keys and values
def test_every_kind_of_model_in_every_way(world: int, tmp_path: Path) -> None:
    run_ranks(world, "tests.support.spread:whole", tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("world", [2, 4])
def test_golden_tokens(world: int, tmp_path: Path) -> None:
    run_ranks(world, "tests.support.spread:golden", tmp_path)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"RANK": ""}, "expected --tensor-parallel under torchrun, got no RANK, WORLD_SIZE and LOCAL_RANK"),
        ({"WORLD_SIZE": "1"}, "expected two ranks or more for --tensor-parallel, got WORLD_SIZE=1. "),
    ],
)
def test_who_cannot_begin(changes: dict[str, str], message: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (environment(0, 2, free_port()) | changes).items():
        monkeypatch.setenv(name, value)
    with pytest.raises(SpecError, match=re.escape(message)), joined_ranks("cpu"):
        pass


@pytest.mark.parametrize(
    ("local", "device", "message"),
    [
        (0, "cuda:1", "expected device cpu or cuda with --tensor-parallel, got device='cuda:1'. "),
        (99, "cuda", "expected a GPU for every rank, got "),
    ],
)
def test_devices_that_ranks_cannot_have(local: int, device: str, message: str) -> None:
    with pytest.raises(SpecError, match=re.escape(message)):
        Started(local, 100, local, None).meet(device)
