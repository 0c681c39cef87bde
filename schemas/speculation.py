"""Speculations as documents: how a plan is replayed in fewer passes, to keep beside the plan (docs/exact.md)."""

import json
import os
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from diagplan.planner.arguments import require_kind
from diagplan.planner.errors import DocumentError, SpecError
from diagplan.planner.plan import Plan
from diagplan.planner.speculation import Speculation
from diagplan.schemas.atomic import require_ending, write_atomically
from diagplan.schemas.document import Label, Positive, Producer, StrictDocument, Version
from diagplan.schemas.files import producer_version, read_bytes
from diagplan.schemas.parsing import parse_document

__all__ = [
    "SPECULATION_FORMAT",
    "SPECULATION_VERSION",
    "SpeculationDocument",
    "read_speculation",
    "speculation_from_json",
    "speculation_to_json",
    "write_speculation",
]

SPECULATION_FORMAT = "diagplan-speculation"
SPECULATION_VERSION = 1
#: Bytes of a document, which is a few lines.
_MOST = 1 << 16


class SpeculationDocument(StrictDocument):
    """How a plan is replayed speculatively, as JSON: the fields of ``diagplan.Speculation``, drafts by name."""

    format: Literal["diagplan-speculation"]
    version: Version
    producer: Producer
    window: Annotated[Positive, Field(description="The most entries of a pass, the prompt's not counted.")]
    draft: Annotated[Label, Field(description="What gives first guesses, by name, such as above or plan:k=1.")] = (
        "previous-frame"
    )
    across_frames: bool = True
    adaptive: bool = False


def speculation_to_json(speculation: Speculation) -> str:
    """The speculation as JSON text.

    Raises:
        SpecError: no speculation, or one whose draft is a plan that has no name.
    """
    require_kind("speculation", speculation, Speculation, "Give Speculation(window=...).")
    if isinstance(speculation.draft, Plan):
        raise SpecError(
            "expected a draft by name for a document, got a plan. Name it where it has a name, such as plan:k=1."
        )
    document = {
        "format": SPECULATION_FORMAT,
        "version": SPECULATION_VERSION,
        "producer": {"name": "diagplan", "version": producer_version()},
        "window": speculation.window,
        "draft": speculation.draft,
        "across_frames": speculation.across_frames,
        "adaptive": speculation.adaptive,
    }
    return json.dumps(document, indent=1) + "\n"


def speculation_from_json(text: str | bytes, *, name: str = "speculation") -> Speculation:
    """The speculation in a JSON text.

    Args:
        text: JSON text, UTF-8 where bytes.
        name: what to call it in messages.

    Raises:
        DocumentError: not a valid speculation document of version 1, beyond the limits, or a draft that there is not.
    """
    document = parse_document(
        SpeculationDocument,
        text,
        name=name,
        what="speculation document",
        form=SPECULATION_FORMAT,
        version=SPECULATION_VERSION,
        again="write it again",
        shorter="It has a few lines.",
    )
    try:
        return Speculation(
            window=document.window,
            draft=document.draft,
            across_frames=document.across_frames,
            adaptive=document.adaptive,
        )
    except SpecError as error:
        raise DocumentError(f"cannot take the speculation in {name}: {error}") from None


def read_speculation(path: str | Path) -> Speculation:
    """Read a speculation from a .json file.

    Raises:
        DocumentError: the file cannot be read, is too large, or is not a valid speculation document.
        SpecError: ``path`` is not a path.

    >>> read_speculation("speculation.json").window  # doctest: +SKIP
    36
    """
    require_kind("path", path, str | os.PathLike, "Give the name of a speculation's file.", what="a path")
    path = Path(path)
    return speculation_from_json(read_bytes(path, _MOST), name=path.name)


def write_speculation(speculation: Speculation, path: str | Path) -> None:
    """Write a speculation as JSON, whole or not at all.

    Args:
        speculation: the speculation.
        path: where to; an existing file is replaced.

    Raises:
        DocumentError: the file cannot be written.
        SpecError: no speculation, one whose draft has no name, or another ending than .json.
    """
    text = speculation_to_json(speculation)
    require_kind("path", path, str | os.PathLike, "Give the name of the file to write.", what="a path")
    require_ending("the speculation", path, (".json", ""))
    write_atomically(path, text.encode())
