"""Jobs through worker processes without a model: redone, batched; troubles that pass, and an end without a loss."""

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("fcntl")

from diagplan.batch.recipe import Recipe
from diagplan.batch.records import place_of
from diagplan.planner.errors import DocumentError
from diagplan.serve import engine as engine_module
from diagplan.serve.board import Entry
from diagplan.serve.service import Service
from diagplan.serve.settings import Settings
from diagplan.serve.spool import Spool, StoredJob
from tests.packaging.test_layering import ROOT
from tests.support.batch import worker_pids
from tests.support.serve import RECIPE, STUB, job, stub_tokens, wait_for


@pytest.fixture(autouse=True)
def _no_worker_stays(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.syspath_prepend(str(ROOT))
    yield
    assert worker_pids() == []


class Case:
    """A service without HTTP; ``end`` it."""

    def __init__(self, folder: Path, recipe: Recipe = RECIPE, **more: Any) -> None:
        self.service = Service(recipe, Spool(folder), Settings(), opener=STUB, **more)
        self.engine, self.folder = self.service.engine, folder

    def send(self, *texts: str | None, **more: Any) -> list[Entry]:
        return [self.service.accept(job(seed=n, text=text, **more), None)[0] for n, text in enumerate(texts)]

    def end(self) -> None:
        self.engine.drain()
        assert self.engine.join(30)
        self.service.close()

    def batches(self) -> list[int]:
        return [len(line.split()) for line in (self.folder / "batches").read_text().splitlines()]

    def tokens(self, entry: Entry) -> Any:
        return np.load(place_of(self.service.spool.results, entry.stored.id, ".npy")).tolist()


def states(entries: list[Entry]) -> list[str]:
    return [entry.stored.state for entry in entries]


def test_jobs_are_done_whatever_becomes_of_others(tmp_path: Path) -> None:
    case = Case(tmp_path, workers=2)
    entries = case.send(None, "wrong", None, "kill once", "kill", None)
    case.engine.start()
    wait_for(lambda: not set(states(entries)) & {"queued", "running"})
    assert states(entries) == ["done", "wrong", "done", "done", "wrong", "done"]
    assert entries[1].stored.error == "expected a clip in tokens."  # no path of the server
    assert "ended by signal 9" in entries[4].stored.error
    for seed in (0, 2, 3, 5):
        assert case.tokens(entries[seed]) == stub_tokens(seed)
        assert (entries[seed].shown, entries[seed].stored.tokens) == (2, 4)
    metrics = case.service.metrics
    wait_for(lambda: metrics.losses >= 3)
    assert (metrics.accepted, metrics.job_seconds.count, metrics.tokens) == (6, 6, 16)
    case.end()
    again = Case(tmp_path)
    assert [entry.stored.state for entry in again.service.board.old(0, None)].count("done") == 4
    assert again.service.board.queued == 0
    again.service.close()


def test_jobs_of_one_layout_wait_for_each_other(tmp_path: Path) -> None:
    case = Case(tmp_path, wait=0.5)
    case.engine.start()
    wait_for(lambda: case.engine.ready)
    entries = case.send(None) + case.send(None, frames=3) + case.send(None)
    wait_for(lambda: set(states(entries)) == {"done"})
    assert case.batches() == [2, 1]
    full = case.send(*[None] * 7)
    wait_for(lambda: set(states(full)) == {"done"})
    assert case.batches()[2:] == [3, 3, 1]
    assert case.service.metrics.batch_sizes.sum == 10
    case.end()


def test_a_trouble_of_all_workers_passes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine_module, "_RETRY", 0.05)
    case = Case(tmp_path)
    case.engine.start()
    wait_for(lambda: case.service.health()[0] == 200)
    entries = case.send(None, "full")
    status, document = wait_for(lambda: (told := case.service.health())[1]["state"] == "failing" and told)
    assert (status, document["error"]) == (503, "The disk is full.")
    (tmp_path / "room").touch()
    wait_for(lambda: set(states(entries)) == {"done"})
    wait_for(lambda: case.service.health()[0] == 200)
    case.end()


def test_a_model_that_cannot_be_loaded_ends_it(tmp_path: Path) -> None:
    case = Case(tmp_path, Recipe(model="broken"))
    told = threading.Event()
    case.engine.on_end = told.set
    case.engine.start()
    assert told.wait(30)
    assert isinstance(case.engine.failed, DocumentError)
    assert case.service.health()[1] == {
        "state": "failed", "workers": 0, "queued": 0, "running": 0, "error": "expected a checkpoint, got none."
    }  # fmt: skip
    case.service.close()


def test_draining_finishes_what_is_in_hand_and_keeps_what_waits(tmp_path: Path) -> None:
    case = Case(tmp_path, Recipe(model="stub", batch=1))
    entries = case.send("block", None, None)
    case.engine.start()
    wait_for(lambda: states(entries)[0] == "running")
    case.engine.drain()
    assert not case.engine.join(0.3)
    (tmp_path / "release").touch()
    assert case.engine.join(30)
    assert states(entries) == ["done", "queued", "queued"]
    case.service.close()
    assert [one.state for one in Spool(tmp_path).load()] == ["done", "queued", "queued"]


@pytest.mark.parametrize("model", ["stub", "late"])
def test_draining_without_work_and_while_loading(tmp_path: Path, model: str) -> None:
    case = Case(tmp_path, Recipe(model=model))
    case.send(*([None] if model == "late" else []))
    case.engine.start()
    if model == "stub":
        wait_for(lambda: case.engine.ready)
    case.end()
    assert case.engine.failed is None
    assert case.service.board.queued == (model == "late")


def test_without_pictures_there_are_no_frames(tmp_path: Path) -> None:
    case = Case(tmp_path, Recipe(model="stub", pictures=False))
    (entry,) = case.send(None)
    case.engine.start()
    wait_for(lambda: states([entry]) == ["done"])
    case.end()
    assert (entry.shown, entry.stored.frames) == (0, 2)


def test_what_is_abandoned_is_done_by_the_next(tmp_path: Path) -> None:
    case = Case(tmp_path)
    entries = case.send("block", "block")
    case.engine.start()
    wait_for(lambda: states(entries) == ["running", "running"])
    case.engine.abandon()
    assert case.engine.join(10)
    assert states(entries) == ["queued", "queued"]
    case.service.close()


def test_a_job_that_is_cancelled_in_hand_leaves_nothing(tmp_path: Path) -> None:
    case = Case(tmp_path)
    first, second = case.send("block", None)
    case.engine.start()
    wait_for(lambda: states([first]) == ["running"])
    assert case.service.cancel(first)
    (tmp_path / "release").touch()
    wait_for(lambda: states([second]) == ["done"])
    case.end()
    assert first.stored.state == "cancelled"
    assert not place_of(case.service.spool.results, first.stored.id, ".npy").exists()
    assert not case.service.spool.frame(first.stored.id, 1).exists()


def test_a_job_that_is_cancelled_while_its_end_is_written_stays_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    case = Case(tmp_path)
    (entry,) = case.send(None)
    save = Spool.save

    def cancelling(spool: Spool, stored: StoredJob) -> None:
        save(spool, stored)
        if stored.state == "done":
            assert case.service.cancel(entry)

    monkeypatch.setattr(Spool, "save", cancelling)
    case.engine.start()
    wait_for(lambda: entry.stored.state == "cancelled")
    case.end()
    assert [one.state for one in Spool(tmp_path).load()] == ["cancelled"]
    assert not place_of(case.service.spool.results, entry.stored.id, ".npy").exists()


def test_a_job_that_is_deleted_twice_while_its_end_is_written_does_not_come_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    case = Case(tmp_path)
    (entry,) = case.send(None)
    save, answers = Spool.save, list[bool]()

    def deleting(spool: Spool, stored: StoredJob) -> None:
        if stored.state == "done" and not answers:
            answers.append(case.service.cancel(entry))
            answers.append(case.service.cancel(entry))
        save(spool, stored)

    monkeypatch.setattr(Spool, "save", deleting)
    case.engine.start()
    wait_for(lambda: case.service.board.running == 0 and answers)
    assert answers == [True, True]
    assert not case.service.cancel(entry)  # nobody has it in hand any more: forgotten
    case.end()
    assert Spool(tmp_path).load() == []
