"""What is said about a job, state by state."""

from pathlib import Path

import pytest

pytest.importorskip("fcntl")

from diagplan.batch.recipe import file_digest
from diagplan.batch.records import place_of
from diagplan.serve.board import Board
from diagplan.serve.documents import brief, whole
from diagplan.serve.requests import parse_job
from diagplan.serve.spool import Spool
from tests.support.serve import RECIPE, StubServed, job


def test_state_by_state(tmp_path: Path) -> None:
    spool, board = Spool(tmp_path), Board()
    stored = spool.accept(parse_job(job()), "a", 1, 1000.0)
    entry = board.add(stored)
    assert brief(entry, board) == {"id": "a", "state": "queued", "frames": 0, "place": 1}
    board.take(1, 0.0)
    entry.passes, entry.of, entry.shown = 3, 6, 1
    assert brief(entry, board) == {"id": "a", "state": "running", "frames": 1, "passes": 3, "of": 6}
    assert whole(entry, board, spool)["links"] == {"self": "/jobs/a", "events": "/jobs/a/events"}
    StubServed(RECIPE, spool.results).do([stored.job(spool.jobs)])
    board.settle("a")
    stored.state, stored.ended = "done", 1002.5
    document = whole(entry, board, spool)
    assert (document["seconds"], document["seed"], document["tokens"]) == (2.5, 5, 4)
    assert document["outputs"] == {".npy": file_digest(place_of(spool.results, "a", ".npy"))}
    assert set(document["inputs"]) == {"tokens"}
    assert document["links"]["npy"] == "/jobs/a/result.npy"
    assert "mp4" not in document["links"]
    stored.state, stored.error = "wrong", "expected b"
    assert whole(entry, board, spool)["error"] == "expected b"
    assert "place" not in whole(entry, board, spool)
