"""Jobs are accepted once, refused with the right status, cancelled, and forgotten when they are old."""

import json
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("fcntl")

from diagplan.backends.errors import MismatchError
from diagplan.batch.recipe import Recipe
from diagplan.planner.errors import DocumentError
from diagplan.serve import spool as spool_module
from diagplan.serve.requests import RequestError
from diagplan.serve.service import Service
from diagplan.serve.settings import Settings
from diagplan.serve.spool import FullDiskError, Spool
from tests.support.serve import RECIPE, STUB, job


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    made = opened(tmp_path / "spool")
    yield made
    made.close()


def opened(folder: Path, recipe: Recipe = RECIPE, **settings: Any) -> Service:
    return Service(recipe, Spool(folder), Settings(**settings), opener=STUB)


def refused(service: Service, status: int, message: str, body: bytes, key: str | None = None) -> None:
    with pytest.raises(RequestError, match=re.escape(message)) as caught:
        service.accept(body, key)
    assert caught.value.status == status


def test_the_same_request_is_one_job(service: Service, tmp_path: Path) -> None:
    first, fresh = service.accept(job(), "order 17")
    assert fresh
    assert service.accept(job(), "order 17") == (first, False)
    assert service.accept(job(), None)[0] is not first
    refused(service, 422, "expected a new Idempotency-Key for a new job", job(seed=6), "order 17")
    named, fresh = service.accept(job(id="mine"), None)
    assert (named.stored.id, fresh) == ("mine", True)
    assert service.accept(job(id="mine"), None) == (named, False)
    refused(service, 409, "expected a new id for a new job", job(id="mine", seed=6))
    refused(service, 400, "expected an id or an Idempotency-Key, got both", job(id="mine"), "key")
    assert service.board.queued == 3
    service.close()
    again = opened(tmp_path / "spool")
    assert again.board.queued == 3
    known, fresh = again.accept(job(), "order 17")
    assert (known.stored.id, fresh) == (first.stored.id, False)
    again.close()


def test_what_is_refused(tmp_path: Path) -> None:
    service = opened(tmp_path, queue=2, max_frames=3)
    refused(service, 400, "expected at most 3 frames, got 4. Cut the clip", job(frames=4))
    refused(service, 400, "expected at most 3 frames, got 4", job(frames=None, actions=[{}] * 4))
    refused(
        service, 400, "expected frames in a job whose actions are no JSON lines", job(frames=None, actions="UEsDBA==")
    )
    service.accept(job(), "a")
    service.accept(job(), "b")
    refused(service, 429, "expected at most 2 jobs that wait, got more", job(), "c")
    assert not service.accept(job(), "b")[1]  # one that is there needs no room
    assert int(service.retry_after(429)["retry-after"]) >= 1
    service.engine.draining = True
    refused(service, 503, "expected a service that goes on", job(), "c")
    assert not service.accept(job(), "b")[1]
    assert service.health()[1]["state"] == "draining"
    assert service.retry_after(200) == {}
    service.close()


def test_a_full_disk_is_told_and_forgotten_when_there_is_room(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any) -> None:
        raise FullDiskError("expected room on the disk of the service, got none.")

    monkeypatch.setattr(Spool, "_write", full)
    refused(service, 507, "expected room on the disk", job(), "a")
    status, document = service.health()
    assert (status, document["state"], document["queued"]) == (503, "failing", 0)
    assert "expected room on the disk" in document["error"]
    monkeypatch.undo()
    service._probed = 0.0
    assert service.health()[1]["state"] == "loading"
    assert service.accept(job(), "a")[1]


def test_another_fault_of_the_disk(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    def closed(*_: Any) -> None:
        raise DocumentError("expected to write a file, got path=/secret: Permission denied.")

    monkeypatch.setattr(spool_module, "write_atomically", closed)
    refused(service, 503, "expected a disk that can be written to, got none.", job(), "a")
    assert service.board.queued == 0


def test_cancelling_and_forgetting(service: Service) -> None:
    first, second = service.accept(job(), "a")[0], service.accept(job(), "b")[0]
    assert service.cancel(first)
    document = json.loads((service.spool.jobs / f"{first.stored.id}.json").read_text())
    assert (first.stored.state, document["state"]) == ("cancelled", "cancelled")
    assert not service.cancel(first)  # it has ended: it is forgotten
    assert service.board.get(first.stored.id) is None
    assert service.accept(job(), "a")[1]
    (running,), _ = service.board.take(1, 0.0)
    assert running is second
    assert service.cancel(second)
    assert service.cancel(second)  # as long as a worker has it, it stays
    assert service.board.get(second.stored.id) is second


def test_old_jobs_are_forgotten(tmp_path: Path) -> None:
    service = opened(tmp_path, keep_results=2, keep_hours=1.0)
    entries = [service.accept(job(), name)[0] for name in "abcd"]
    for age, entry in zip((3000.0, 2000.0, 5000.0, 10.0), entries, strict=True):
        service.cancel(entry)
        entry.stored.ended = time.time() - age
    service.tidy()
    kept = {entry.stored.id for entry in entries if service.board.get(entry.stored.id)}
    assert kept == {entries[3].stored.id}
    assert {path.name.partition(".")[0] for path in service.spool.jobs.iterdir()} == kept
    service.close()


def test_a_spool_of_another_plan_is_refused(tmp_path: Path) -> None:
    service = opened(tmp_path)
    service.engine._on_ready({"model": {"weights": "stub"}})
    service.close()
    with pytest.raises(MismatchError, match=r"with recipe.frames=null, not 3"):
        opened(tmp_path, Recipe(model="stub", batch=3, frames=3))
