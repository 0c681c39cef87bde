"""Workers as processes: they answer, they are killed, they end with their driver."""

import os
import signal
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from diagplan.batch.jobs import Job
from diagplan.batch.messages import Finished, Lost, Opening, Ready, Reply
from diagplan.batch.processes import Processes
from diagplan.batch.recipe import Recipe
from tests.packaging.test_layering import ROOT
from tests.support.batch import STUB, worker_pids

JOB = Job(number=1, id="a", video=Path("v"))


@pytest.fixture
def pool(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Processes]:
    monkeypatch.syspath_prepend(str(ROOT))
    pool = Processes(Opening(opener=STUB, recipe=Recipe(), out=tmp_path), [{}, {"CUDA_VISIBLE_DEVICES": "1"}])
    yield pool
    pool.close()
    assert worker_pids() == []


def next_of(pool: Processes) -> tuple[int, Reply]:
    until = time.monotonic() + 60
    while time.monotonic() < until:
        for answer in pool.wait(1.0):
            return answer
    raise TimeoutError


def test_a_worker_that_is_killed_is_heard_of_and_replaced(pool: Processes) -> None:
    pool.start(0)
    assert next_of(pool) == (0, Ready(identity={"model": {"weights": "crafter-mini"}}))
    first = pool.pids[0]
    assert worker_pids() == [first]
    os.kill(first, signal.SIGKILL)
    assert next_of(pool) == (0, Lost(reason="ended by signal 9"))
    pool.start(0)
    assert isinstance(next_of(pool)[1], Ready)
    assert pool.pids[0] != first
    pool.send(0, [JOB])
    assert isinstance(next_of(pool)[1], Finished)


def test_workers_have_environments_of_their_own(pool: Processes) -> None:
    for number in (0, 1):
        pool.start(number)
    begun: set[int] = set()
    until = time.monotonic() + 60
    while begun != {0, 1} and time.monotonic() < until:  # both may be heard of at once
        begun |= {number for number, _ in pool.wait(1.0)}
    assert begun == {0, 1}
    own = Path(f"/proc/{pool.pids[1]}/environ")
    if not own.exists():
        pytest.skip("this system has no /proc")
    assert b"CUDA_VISIBLE_DEVICES=1" in own.read_bytes().split(b"\0")


def test_files_of_the_folder_are_not_taken_for_modules(
    pool: Processes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "numpy.py").write_text("raise SystemExit('another numpy')")
    monkeypatch.chdir(tmp_path)
    pool.start(0)
    assert isinstance(next_of(pool)[1], Ready)


def test_what_is_sent_to_a_dead_worker_is_no_error(pool: Processes) -> None:
    pool.start(0)
    next_of(pool)
    os.kill(pool.pids[0], signal.SIGKILL)
    os.waitid(os.P_PID, pool.pids[0], os.WEXITED | os.WNOWAIT)
    pool.send(0, [JOB])
    assert isinstance(next_of(pool)[1], Lost)


def test_a_wait_ends_when_it_is_woken(tmp_path: Path) -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        pool = Processes(Opening(opener=STUB, recipe=Recipe(), out=tmp_path), [{}], theirs)
        theirs.setblocking(False)
        assert pool.wait(0.01) == []
        ours.send(b"x")
        began = time.monotonic()
        assert pool.wait(30) == []
        assert time.monotonic() - began < 20
        pool.close()
