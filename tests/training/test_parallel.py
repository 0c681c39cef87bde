"""Data parallel workers: equal shares, means, and meeting under torchrun."""

import os
import socket
from multiprocessing import get_context
from multiprocessing.queues import Queue
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

torch = pytest.importorskip("torch")

from diagplan.planner.errors import SpecError  # noqa: E402
from diagplan.training.parallel import ALONE, Workers, joined  # noqa: E402


@given(st.integers(1, 5), st.integers(1, 6))
def test_the_shares_are_equal_and_make_the_batch(count: int, each: int) -> None:
    batch = torch.arange(count * each)
    shares = [Workers(rank=rank, count=count).share(batch) for rank in range(count)]
    assert {len(share) for share in shares} == {each}
    assert torch.equal(torch.cat(shares), batch)
    assert [Workers(rank=rank, count=count).first for rank in range(count)] == [rank == 0 for rank in range(count)]


def test_a_batch_without_equal_shares() -> None:
    with pytest.raises(SpecError, match=r"that 3 processes can share, got batch=4\. Give a multiple of 3\."):
        Workers(rank=0, count=3).share(torch.arange(4))


def test_alone_there_is_nothing_to_wait_for(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("WORLD_SIZE", "RANK"):
        monkeypatch.delenv(name, raising=False)
    with joined("cpu") as (workers, device):
        assert (workers, device) == (ALONE, "cpu")
        one = torch.tensor([3.0])
        workers.average([one, None])
        workers.wait()
        assert one.item() == 3.0


def test_torchrun_without_an_address(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("MASTER_ADDR", "MASTER_PORT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("RANK", "0")
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(SpecError, match=r"expected to meet the other processes of torchrun.*unset RANK"), joined("cpu"):
        pass
    assert not torch.distributed.is_initialized()


def work(rank: int, port: int, results: "Queue[Any]") -> None:
    os.environ |= {"RANK": str(rank), "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    with joined("cpu") as (workers, device):
        mean = torch.full((2,), 10.0 * rank)
        workers.average([mean, None])
        workers.wait()
        results.put((workers.rank, workers.count, device, mean.tolist()))
    results.put(torch.distributed.is_initialized())


def test_two_processes_meet_and_agree_on_the_mean() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    context = get_context("spawn")
    results: Any = context.Queue()
    crew = [context.Process(target=work, args=(rank, port, results), daemon=True) for rank in range(2)]
    for process in crew:
        process.start()
    said = [results.get(timeout=120) for _ in range(4)]
    for process in crew:
        process.join(timeout=60)
        assert process.exitcode == 0
    assert said.count(False) == 2  # the group is left
    assert sorted(entry for entry in said if entry) == [(0, 2, "cpu", [5.0, 5.0]), (1, 2, "cpu", [5.0, 5.0])]
