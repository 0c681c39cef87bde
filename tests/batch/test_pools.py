"""Which workers a call gets: shares of CPUs and GPUs, and what is refused; none is started."""

import socket
from pathlib import Path
from typing import Any

import pytest

from diagplan.backends.threads import usable_cpus
from diagplan.batch.messages import Opening
from diagplan.batch.pools import local_workers, open_pool, require_crew
from diagplan.batch.processes import Processes
from diagplan.planner.errors import SpecError

OPENING = Opening(opener="m:f", recipe=None, out=Path("out"))


def environments(workers: int, **more: Any) -> list[Any]:
    pool = open_pool(OPENING, workers, None, **more)
    assert isinstance(pool, Processes)
    return list(pool._environments)


def test_workers_share_the_cpus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    share = {"OMP_NUM_THREADS": str(max(1, usable_cpus() // 2))}
    assert environments(2) == environments(2, threads="auto") == [share, share]
    assert environments(1) == [{}]
    assert environments(2, threads=3) == [{}, {}]
    monkeypatch.setenv("OMP_NUM_THREADS", "5")
    assert environments(2) == [{}, {}]


def test_workers_on_gpus_have_some_of_their_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4, 7")
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    visible = [one["CUDA_VISIBLE_DEVICES"] for one in environments(3, device="cuda")]
    assert visible == ["4", "7", "4"]
    assert [one["CUDA_VISIBLE_DEVICES"] for one in environments(3, device="cuda", gpus_per_worker=0.5)] == [
        "4", "4", "7",
    ]  # fmt: skip
    assert environments(1, device="cuda:1") == [{}]
    with pytest.raises(SpecError, match=r"expected device='cuda' for several workers, got device='cuda:1'\. Each gets"):
        environments(2, device="cuda:1")


def test_a_socket_may_end_a_wait() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        pool = local_workers(OPENING, 1, wake=ours)
        theirs.send(b"x")
        assert pool.wait(60) == []


def test_numbers_that_cannot_be() -> None:
    assert require_crew(3, 0.5) == 3
    for workers, gpus in ((0, 1), (100_001, 1), (1, 0), (1, float("nan")), ("2", 1), (2, "1")):
        with pytest.raises(SpecError, match="expected"):
            require_crew(workers, gpus)  # type: ignore[arg-type]
