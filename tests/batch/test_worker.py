"""A worker's answers, and a worker as a process of its own."""

import socket
import subprocess
import sys
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np
import pytest

from diagplan.batch.jobs import Job
from diagplan.batch.messages import Failed, Finished, Lost, Opening, Ready, Told
from diagplan.batch.recipe import Recipe
from diagplan.batch.worker import Station
from tests.packaging.test_layering import ROOT
from tests.support.batch import STUB
from tests.support.serve import STUB as SERVED_STUB


def jobs(*texts: str | None) -> list[Job]:
    return [Job(number=i, id=f"j{i}", video=Path("v"), text=text) for i, text in enumerate(texts)]


def test_a_station_opens_once_and_answers(tmp_path: Path) -> None:
    station = Station()
    opening = Opening(opener=STUB, recipe=Recipe(model="m"), out=tmp_path)
    assert station.answer(opening) == Ready(identity={"model": {"weights": "m"}})
    done = station.answer(jobs(None, "wrong"))
    assert isinstance(done, Finished)
    assert [one.state for one in done.outcomes] == ["done", "wrong"]
    assert station.answer(jobs("full")) == Failed(kind="DocumentError", message="The disk is full.")
    lost = station.answer(jobs("raise"))
    assert isinstance(lost, Lost)
    assert lost.reason.startswith("LookupError: a fault (line ")


def test_a_station_passes_on_what_work_tells(tmp_path: Path) -> None:
    opening = Opening(opener=SERVED_STUB, recipe=Recipe(model="m"), out=tmp_path / "results")
    np.save(tmp_path / "t.npy", np.array([[[1]]]))
    (tmp_path / "results").mkdir()
    told: list[Told] = []
    for station in (Station(told.append), Station()):
        station.answer(opening)
        answer = station.answer([Job(number=1, id="a", tokens=tmp_path / "t.npy", frames=2)])
        assert isinstance(answer, Finished)
    assert [(one.id, one.frames) for one in told] == [("a", 1), ("a", 2)]


def test_a_model_that_cannot_be_loaded(tmp_path: Path) -> None:
    answer = Station().answer(Opening(opener=STUB, recipe=Recipe(model="broken"), out=tmp_path))
    assert answer == Failed(kind="DocumentError", message="expected a checkpoint, got none.")


@pytest.mark.parametrize("last", ["raise", None])
def test_a_worker_ends_with_its_driver_or_with_a_fault(tmp_path: Path, last: str | None) -> None:
    ours, theirs = socket.socketpair()
    command = [sys.executable, "-m", "diagplan.batch.worker", str(theirs.fileno())]
    process = subprocess.Popen(command, pass_fds=[theirs.fileno()], cwd=ROOT)
    theirs.close()
    with Connection(ours.detach()) as driver:
        driver.send(Opening(opener=STUB, recipe=Recipe(), out=tmp_path))
        assert isinstance(driver.recv(), Ready)
        driver.send(jobs(last))
        assert isinstance(driver.recv(), Lost if last else Finished)
        if last:  # it is of no more use, though its driver is there
            assert process.wait(60) == 0
    assert process.wait(60) == 0
