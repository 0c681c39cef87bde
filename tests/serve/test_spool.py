"""Jobs on the disk: what was accepted is there again, what was not is gone, and no second service has the folder."""

import errno
import json
import os
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest

from diagplan.planner.errors import DocumentError, SpecError
from diagplan.schemas import atomic
from diagplan.serve import spool as spool_module
from diagplan.serve.requests import parse_job
from diagplan.serve.spool import FullDiskError, Spool, StoredJob
from tests.support.serve import RECIPE as STUB_RECIPE
from tests.support.serve import StubServed, job

pytest.importorskip("fcntl")


def accepted(spool: Spool, name: str, number: int = 1, **more: Any) -> StoredJob:
    return spool.accept(parse_job(job(**more)), name, number, 1000.0)


def test_what_was_accepted_is_there_again(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "spool")
    second, first = accepted(spool, "b.x", 2), accepted(spool, "a", 1, actions=[{"action": "left"}], text="slow")
    assert spool.load() == [first, second]
    made = first.job(spool.jobs)
    assert (made.number, made.id, made.seed, made.frames, made.text) == (1, "a", 5, 2, "slow")
    assert sorted(made.files()) == ["actions", "tokens"]
    assert all(path.is_file() and path.parent == spool.jobs for path in made.files().values())
    first.state = "running"
    spool.save(first)
    second.state, second.error, second.ended = "wrong", "expected b", 7.0
    spool.save(second)
    spool.close()
    states = {one.id: (one.state, one.error) for one in Spool(tmp_path / "spool").load()}
    assert states == {"a": ("queued", ""), "b.x": ("wrong", "expected b")}


def test_what_no_job_owns_is_removed(tmp_path: Path) -> None:
    spool = Spool(tmp_path)
    stored = accepted(spool, "a")
    (outcome,) = StubServed(STUB_RECIPE, spool.results).do([stored.job(spool.jobs)])
    assert outcome.state == "done"
    kept = {path for path in tmp_path.rglob("*") if path.is_file()}
    (spool.jobs / "b.tokens.npy").write_bytes(b"of a request that was cut off")
    for place in (spool.results / "clips" / "abc" / "gone.npy", spool.frame("gone", 1)):
        place.parent.mkdir(parents=True)
        place.write_bytes(b"x")
    assert [one.id for one in spool.load()] == ["a"]
    assert {path for path in tmp_path.rglob("*") if path.is_file()} == kept
    spool.remove(stored)
    assert spool.load() == []
    assert [path.name for path in spool.jobs.iterdir()] == []
    assert [path.name for path in spool.results.rglob("*") if path.is_file()] == []


def test_a_job_whose_results_are_gone_is_queued_again(tmp_path: Path) -> None:
    spool = Spool(tmp_path)
    stored = accepted(spool, "a")
    StubServed(STUB_RECIPE, spool.results).do([stored.job(spool.jobs)])
    stored.state, stored.ended = "done", 5.0
    spool.save(stored)
    assert spool.load()[0].state == "done"
    spool.discard(stored)
    assert (spool.load()[0].state, spool.load()[0].ended) == ("queued", None)


def test_one_service_at_a_time_and_no_other_folder(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "spool")
    with pytest.raises(SpecError, match="expected a spool that no other service uses"):
        Spool(tmp_path / "spool")
    spool.close()
    Spool(tmp_path / "spool").close()
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "thesis.txt").write_text("words")
    with pytest.raises(SpecError, match="expected an empty folder or a spool"):
        Spool(tmp_path / "other")
    assert [path.name for path in (tmp_path / "other").iterdir()] == ["thesis.txt"]


@pytest.mark.parametrize("text", ["{", "[]", '{"format": "other"}', '{"format": "diagplan-served-job/1", "id": "a"}'])
def test_a_damaged_job_is_named(tmp_path: Path, text: str) -> None:
    spool = Spool(tmp_path)
    (spool.jobs / "a.json").write_text(text)
    with pytest.raises(DocumentError, match=r"cannot read the job .*a\.json"):
        spool.load()


def test_a_job_that_names_another_file_is_no_job(tmp_path: Path) -> None:
    spool = Spool(tmp_path)
    stored = accepted(spool, "a")
    document = json.loads((spool.jobs / "a.json").read_text())
    (spool.jobs / "a.json").write_text(json.dumps(document | {"id": "b"}))
    with pytest.raises(DocumentError, match="cannot read the job"):
        spool.load()
    assert stored.id == "a"


def test_a_full_disk_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spool = Spool(tmp_path)
    write, written = os.write, list[int]()

    def full(handle: int, data: Any) -> int:
        written.append(handle)
        if len(written) > 1:  # the input fits, the job does not
            raise OSError(errno.ENOSPC, "No space left on device")
        return write(handle, data)

    monkeypatch.setattr(os, "write", full)
    with pytest.raises(FullDiskError, match="expected room on the disk of the service, got none"):
        accepted(spool, "a")
    with pytest.raises(FullDiskError):
        spool.probe()
    monkeypatch.undo()
    assert list(spool.jobs.iterdir()) == []
    spool.probe()
    assert spool.free() > 0


@pytest.mark.parametrize("after", range(5))
def test_a_job_is_whole_or_not_there_wherever_a_kill_comes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, after: int
) -> None:
    spool = Spool(tmp_path)
    write, done = atomic.write_atomically, list[str]()

    def killed(path: Any, data: bytes) -> None:
        if len(done) == after:
            raise SystemExit  # nothing after it is done, as after a kill
        write(path, data)
        done.append(Path(path).name)

    monkeypatch.setattr(spool_module, "write_atomically", killed)
    whole = after >= 3
    with nullcontext() if whole else pytest.raises(SystemExit):
        accepted(spool, "a", actions=[{}])
    monkeypatch.undo()
    assert done == ["a.tokens.npy", "a.actions.jsonl", "a.json"][:after]
    assert [one.id for one in spool.load()] == ["a"] * whole
    assert len(list(spool.jobs.iterdir())) == 3 * whole
