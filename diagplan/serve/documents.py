"""What a service says about a job, as JSON."""

import time
from typing import Any

from diagplan.batch.records import read_record
from diagplan.serve.board import Board, Entry
from diagplan.serve.spool import Spool

__all__ = ["MEDIA_TYPES", "brief", "whole"]

#: What can be asked for of a clip that was made, and its media type.
MEDIA_TYPES = {"npy": "application/octet-stream", "mp4": "video/mp4", "json": "application/json"}


def brief(entry: Entry, board: Board) -> dict[str, Any]:
    """The state of a job, from memory alone."""
    job = entry.stored
    document: dict[str, Any] = {"id": job.id, "state": job.state, "frames": entry.shown}
    match job.state:
        case "queued":
            document["place"] = board.place(job.id)
        case "running":
            document |= {"passes": entry.passes, "of": entry.of or None}
        case "wrong":
            document["error"] = job.error
        case _:
            pass
    return document


def whole(entry: Entry, board: Board, spool: Spool, root: str = "") -> dict[str, Any]:
    """All about a job; of one that is done its record is read, with digests.

    Args:
        entry: the job.
        board: the jobs.
        spool: where its results lie.
        root: what stands before all paths, where a proxy puts something there.
    """
    job = entry.stored
    document = brief(entry, board) | {
        "accepted": job.accepted,
        "seconds": round((job.ended or time.time()) - job.accepted, 3),
        "links": {"self": f"{root}/jobs/{job.id}", "events": f"{root}/jobs/{job.id}/events"},
    }
    if job.state != "done":
        return document
    record = read_record(spool.results, job.id) or {}
    document |= {key: record.get(key) for key in ("seed", "plan", "steps", "tokens", "digest", "outputs")}
    document["inputs"] = (record.get("made_from") or {}).get("inputs")
    endings = [*(record.get("outputs") or {}), ".json"]
    document["links"] |= {ending.removeprefix("."): f"{root}/jobs/{job.id}/result{ending}" for ending in endings}
    return document
