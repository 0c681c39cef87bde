"""Plan files: read and written as .json, .json.gz or .json.zst, bounded, and never half-written."""

import gzip
import io
import json
import os
import zlib
from collections.abc import Callable, Iterator
from functools import cache
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

from diagplan.planner.arguments import require_kind
from diagplan.planner.errors import DocumentError, SpecError
from diagplan.planner.extras import missing_packages
from diagplan.planner.plan import Plan
from diagplan.schemas.atomic import write_atomically
from diagplan.schemas.convert import FORMAT, VERSION, MaskForm, document_parts, plan_from_document
from diagplan.schemas.limits import (
    MAX_BYTES,
    MAX_EXPANSION,
    MAX_ZSTD_WINDOW,
    SHORTER,
    SMALL_BYTES,
    require_affordable,
)
from diagplan.schemas.parsing import parsed, validated

if TYPE_CHECKING:
    from diagplan.schemas.document import PlanDocument

__all__ = [
    "CHAIN_FORMAT",
    "PLAN_AGAIN",
    "plan_document",
    "plan_from_json",
    "plan_to_json",
    "producer_version",
    "read_bytes",
    "read_document",
    "read_plan",
    "write_packed",
    "write_plan",
]

#: What stands under ``format`` in a document of several plans.
CHAIN_FORMAT = "diagplan-chain"
#: How to get a plan of this version.
PLAN_AGAIN = "compile the plan again"


@cache
def producer_version() -> str:
    """The version of diagplan that writes a file."""
    try:
        return version("diagplan")
    except PackageNotFoundError:
        return "unknown"


def plan_to_json(plan: Plan, *, masks: MaskForm = "explicit") -> str:
    """The plan as JSON text, one step a line.

    Args:
        plan: any plan, valid or not.
        masks: ``"explicit"`` writes every mask row as runs; ``"rule"`` only the rows that differ from the rule.

    Raises:
        DocumentError: the plan is too long for explicit rows, or for any document.
    """
    head, steps = document_parts(plan, masks, {"name": "diagplan", "version": producer_version()})
    lines = [f'"{key}":{_compact(value)}' for key, value in head.items()]
    body = ",\n".join(_compact(step) for step in steps)
    text = "{" + ",\n".join(lines) + ',\n"steps":[\n' + body + "\n]}\n"
    require_affordable(text, "the plan's document")
    return text


def _compact(value: object) -> str:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=True)


def plan_document(text: str | bytes, *, name: str = "plan") -> "PlanDocument":
    """Parse and validate a plan document.

    Args:
        text: JSON text, UTF-8 where bytes.
        name: what to call it in messages.

    Raises:
        DocumentError: not JSON, a repeated key, beyond the limits, or not a plan document of version 1; the message
            lists what is wrong.
    """
    from diagplan.schemas.document import PlanDocument

    what = "plan document"
    with parsed(text, name, what, SHORTER) as value:
        if isinstance(value, dict) and value.get("format") == CHAIN_FORMAT:
            raise DocumentError(
                f"expected one plan in {name}, got a chain of plans. read_chain reads it, run_chain runs it."
            )
        return validated(PlanDocument, value, FORMAT, name, what, version=VERSION, again=PLAN_AGAIN)


def plan_from_json(text: str | bytes, *, name: str = "plan") -> Plan:
    """The plan in a JSON text. It is not verified, and its digest is not compared: see ``diagplan.verify``.

    Raises:
        DocumentError: the text is not a valid plan document.
    """
    return plan_from_document(plan_document(text, name=name))


def read_document(path: str | Path) -> "PlanDocument":
    """Read a plan document from a .json, .json.gz or .json.zst file.

    Raises:
        DocumentError: the file cannot be read, is too large, or is not a valid plan document.
        MissingExtraError: a .zst file without the extra ``zstd``.
        SpecError: ``path`` is not a path.
    """
    require_kind("path", path, str | os.PathLike, "Give the name of a plan file.", what="a path")
    path = Path(path)
    return plan_document(read_bytes(path), name=path.name)


def read_plan(path: str | Path) -> Plan:
    """Read a plan from a .json, .json.gz or .json.zst file. It is not verified: see ``diagplan.verify``.

    Raises:
        DocumentError: the file cannot be read, is too large, or is not a valid plan document.
        MissingExtraError: a .zst file without the extra ``zstd``.

    >>> read_plan("plan.json")  # doctest: +SKIP
    <Plan diagonal(k=2, d=10) on 3 x 40 x 64: 162 steps, 7680 tokens, 12918 feeds>
    """
    return plan_from_document(read_document(path))


def write_plan(plan: Plan, path: str | Path, *, masks: MaskForm = "explicit") -> None:
    """Write a plan as JSON, compressed where the name ends in .gz or .zst; the file appears whole or not at all.

    Args:
        plan: the plan.
        path: where to; an existing file is replaced.
        masks: ``"explicit"`` or ``"rule"``, see ``plan_to_json``.

    Raises:
        DocumentError: the file cannot be written, or the plan is too long for explicit rows, or for any document.
        MissingExtraError: a .zst file without the extra ``zstd``.
        SpecError: another ending of the name, or ``plan`` is not a plan.
    """
    require_kind("plan", plan, Plan, "The plan comes first: write_plan(plan, path).")
    require_kind("path", path, str | os.PathLike, "Give the name of the file to write.", what="a path")
    write_packed(path, lambda: plan_to_json(plan, masks=masks))


def write_packed(path: str | Path, text: Callable[[], str]) -> None:
    """Write a document's text, compressed where the name ends in .gz or .zst; the file appears whole or not at all.

    Args:
        path: where to; an existing file is replaced.
        text: gives it; asked once the name is known to do.

    Raises:
        DocumentError: the file cannot be written.
        MissingExtraError: a .zst file without the extra ``zstd``.
        SpecError: another ending of the name.
    """
    path = Path(path)
    if path.suffix not in ("", ".json", ".gz", ".zst"):
        raise SpecError(f"expected a name ending in .json, .json.gz or .json.zst, got {path.name}. Choose one of them.")
    data = text().encode()
    if path.suffix == ".gz":
        data = gzip.compress(data, mtime=0)
    elif path.suffix == ".zst":
        data = _zstandard().ZstdCompressor(level=9).compress(data)
    write_atomically(path, data)


def _zstandard() -> ModuleType:
    try:
        return import_module("zstandard")
    except ImportError:
        raise missing_packages(".zst files", ["zstandard"], instead="Or use .json.gz.") from None


def read_bytes(path: Path, most: int = MAX_BYTES) -> bytes:
    """The bytes of a file, unpacked where its name ends in .gz or .zst: ``most`` at most.

    Raises:
        DocumentError: the file cannot be read, is too large, or its packing is broken.
        MissingExtraError: a .zst file without the extra ``zstd``.
    """
    try:
        packed = b"".join(_pieces(path, most))
    except (OSError, ValueError) as error:  # ValueError: a name that no file can have
        reason = error.strerror if isinstance(error, OSError) else error
        raise DocumentError(f"cannot read {path}: {reason}. Check the name and the permissions.") from None
    if len(packed) > most:
        raise DocumentError(f"expected a file of at most {most} bytes, got {path} with more.")
    if path.suffix not in (".gz", ".zst"):
        return packed
    limit = min(most, max(SMALL_BYTES, MAX_EXPANSION * len(packed)))
    pieces: list[bytes] = []
    size = 0
    for piece in _unpack_gzip(packed, path) if path.suffix == ".gz" else _unpack_zstd(packed, path):
        size += len(piece)
        if size > limit:
            raise DocumentError(f"expected {path.name} to unpack to at most {limit} bytes, got more.")
        pieces.append(piece)
    return b"".join(pieces)


def _pieces(path: Path, most: int) -> Iterator[bytes]:
    """The bytes of a file or a pipe in pieces, some past ``most`` at most."""
    left = most + 1
    with path.open("rb") as file:
        while left > 0 and (piece := file.read(_PIECE)):
            left -= len(piece)
            yield piece


_PIECE = 1 << 20
_SIP = 1 << 8  # zstd may unpack 4 bytes to 128 KiB at once


def _unpack_gzip(packed: bytes, path: Path) -> Iterator[bytes]:
    try:
        with gzip.GzipFile(fileobj=io.BytesIO(packed)) as stream:
            while piece := stream.read(_PIECE):
                yield piece
    except (OSError, EOFError, zlib.error) as error:
        raise DocumentError(f"expected gzip data in {path.name}, got a broken file: {error}.") from None


def _unpack_zstd(packed: bytes, path: Path) -> Iterator[bytes]:
    zstandard = _zstandard()
    try:
        unpacker = zstandard.ZstdDecompressor(max_window_size=MAX_ZSTD_WINDOW).decompressobj()
        for start in range(0, len(packed), _SIP):
            yield unpacker.decompress(packed[start : start + _SIP])
        if not unpacker.eof:
            raise DocumentError(f"expected zstd data in {path.name}, got a file that ends early.")
    except zstandard.ZstdError as error:
        raise DocumentError(f"expected zstd data in {path.name}, got a broken file: {error}.") from None
