"""What stands beside the outputs of a clip: from what they were made, and their digests."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from diagplan.batch.recipe import digest_of, file_digest
from diagplan.planner.errors import DocumentError
from diagplan.schemas.atomic import write_atomically

__all__ = ["FORMAT", "finished", "folder_of", "place_of", "read_record", "write_record"]

#: The name of the form of a record.
FORMAT = "diagplan-clip/1"
#: Bytes of a record; more is none.
_BYTES = 1 << 20


def folder_of(out: Path, name: str) -> Path:
    """The folder of a clip's outputs: one of 4,096 by its name, so that none of them grows long."""
    return out / "clips" / digest_of(name)[:3]


def place_of(out: Path, name: str, ending: str) -> Path:
    """The file of a clip, such as ``place_of(out, "a", ".npy")``."""
    return folder_of(out, name) / f"{name}{ending}"


def read_record(out: Path, name: str) -> dict[str, Any] | None:
    """The record of a clip; ``None``: there is none that can be read."""
    try:
        with place_of(out, name, ".json").open("rb") as file:
            record = json.loads(file.read(_BYTES))
    except (OSError, ValueError, RecursionError):
        return None
    return record if isinstance(record, dict) and record.get("format") == FORMAT else None


def write_record(
    out: Path, name: str, made_from: Mapping[str, Any], facts: Mapping[str, Any], endings: list[str]
) -> None:
    """Write the record of outputs that are there; it comes last, so that a clip with a record is whole.

    Args:
        out: the batch's folder.
        name: of the job.
        made_from: all that decides about the clip; JSON.
        facts: more to tell.
        endings: of the outputs.

    Raises:
        DocumentError: it cannot be written.
    """
    outputs = {ending: file_digest(place_of(out, name, ending)) for ending in endings}
    record = {"format": FORMAT, "id": name, "digest": digest_of(made_from), "made_from": made_from}
    text = json.dumps(record | dict(facts) | {"outputs": outputs}, indent=1)
    write_atomically(place_of(out, name, ".json"), f"{text}\n".encode())


def finished(out: Path, name: str, record: Mapping[str, Any] | None, made_from: Mapping[str, Any]) -> bool:
    """Whether a clip is there, made from the same: its digest, and that of every output, are asked for.

    Args:
        out: the batch's folder.
        name: of the job.
        record: of the clip.
        made_from: what it would be made from now.
    """
    if record is None or record.get("digest") != digest_of(made_from) or not isinstance(record.get("outputs"), dict):
        return False
    try:
        return all(file_digest(place_of(out, name, end)) == digest for end, digest in record["outputs"].items())
    except DocumentError:  # an output is missing
        return False
