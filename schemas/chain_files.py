"""Chains as documents and files: the plans' own documents, one after the other, and what is kept between them."""

import hashlib
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from diagplan.planner.arguments import require_kind
from diagplan.planner.chain import Chain
from diagplan.planner.checker.chains import chain_malformed
from diagplan.planner.errors import DocumentError, InvalidPlanError
from diagplan.planner.plan import Plan
from diagplan.planner.shown import shown
from diagplan.schemas.convert import FORMAT, VERSION, MaskForm, plan_digest, plan_from_document
from diagplan.schemas.files import (
    CHAIN_FORMAT,
    PLAN_AGAIN,
    plan_to_json,
    producer_version,
    read_bytes,
    write_packed,
)
from diagplan.schemas.limits import MAX_EXPLICIT_BITS, MAX_EXPLICIT_ROWS, SHORTER, require_affordable
from diagplan.schemas.parsing import parsed, validated

if TYPE_CHECKING:
    from diagplan.schemas.chain_document import ChainDocument
    from diagplan.schemas.document import PlanDocument

__all__ = [
    "CHAIN_FORMAT",
    "any_document",
    "chain_digest",
    "chain_from_document",
    "chain_from_json",
    "chain_to_json",
    "read_any_document",
    "read_chain",
    "read_plan_or_chain",
    "write_chain",
]

_WHAT, _AGAIN = "chain document", "compile the chain again"


def chain_digest(chain: Chain) -> str:
    """``sha256:`` and the SHA-256 of the canonical JSON (RFC 8785) of the chain's facts.

    The facts are ``format``, ``version``, ``kept``, and under ``plans`` the digests of the plans.

    Raises:
        SpecError: the argument is not a chain.
        InvalidPlanError: fields of a plan or of the chain are not of their kinds (rules DP100, DP700).
    """
    require_kind("chain", chain, Chain, "Compile one: compile_chain(layouts, schedules).")
    wrong = next(chain_malformed(chain), None)
    if wrong is not None:
        raise InvalidPlanError(f"{wrong}. It has no document; `diagplan.verify` says all (DP700).")
    facts = {
        "format": CHAIN_FORMAT,
        "kept": [[list(run) for run in runs] for runs in chain.kept],
        "plans": [plan_digest(plan) for plan in chain.plans],
        "version": VERSION,
    }
    return "sha256:" + hashlib.sha256(_compact(facts).encode()).hexdigest()


def _compact(value: object) -> str:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True)


def chain_to_json(chain: Chain, *, masks: MaskForm = "explicit") -> str:
    """The chain as JSON text: its plans' documents stand in it as ``plan_to_json`` writes them.

    Args:
        chain: any chain, valid or not.
        masks: as for ``plan_to_json``.

    Raises:
        DocumentError: a plan is too long for explicit rows, or all together for a document.
    """
    digest = chain_digest(chain)  # refuses what has no document
    if masks == "explicit":
        _require_rows_possible((plan.feeds, plan.steps, plan.cache_slots) for plan in chain.plans)
    head = {
        "format": CHAIN_FORMAT,
        "version": VERSION,
        "producer": {"name": "diagplan", "version": producer_version()},
        "kept": chain.kept,
        "digest": digest,
    }
    lines = [f"{json.dumps(key)}:{json.dumps(value, separators=(',', ':'))}" for key, value in head.items()]
    plans = ",\n".join(plan_to_json(plan, masks=masks).rstrip() for plan in chain.plans)
    text = "{" + ",\n".join(lines) + ',\n"plans":[\n' + plans + "\n]}\n"
    require_affordable(text, "the chain's document")
    return text


def _require_rows_possible(sizes: Iterator[tuple[int, int, int]]) -> None:
    """What one plan's explicit rows may cost, all plans' may: their rows, steps and cache slots."""
    bits = rows = 0
    for count, steps, slots in sizes:
        bits += count * slots
        rows += count + steps
    if bits > MAX_EXPLICIT_BITS or rows > MAX_EXPLICIT_ROWS:
        raise DocumentError(
            f"expected mask rows x cache slots <= {MAX_EXPLICIT_BITS} and rows + steps <= {MAX_EXPLICIT_ROWS} in all "
            f"plans together, got {shown(bits)} and {shown(rows)}. Write the chain with masks='rule' (--masks rule)."
        )


def any_document(text: str | bytes, *, name: str = "plan") -> "PlanDocument | ChainDocument":
    """Parse and validate the document of a plan or of a chain.

    Args:
        text: JSON text, UTF-8 where bytes.
        name: what to call it in messages.

    Raises:
        DocumentError: neither.
    """
    from diagplan.schemas.chain_document import ChainDocument
    from diagplan.schemas.document import PlanDocument

    with parsed(text, name, "plan document", SHORTER) as value:
        if isinstance(value, dict) and value.get("format") == CHAIN_FORMAT:
            return validated(ChainDocument, value, CHAIN_FORMAT, name, _WHAT, version=VERSION, again=_AGAIN)
        return validated(PlanDocument, value, FORMAT, name, "plan document", version=VERSION, again=PLAN_AGAIN)


def chain_from_document(document: "ChainDocument") -> Chain:
    """The chain that a validated document describes. Digests are not checked here (see ``diagplan.verify``).

    Raises:
        DocumentError: a layout is impossible, or the plans are too long for explicit mask rows.
    """
    _require_rows_possible(
        (_rows_of(plan), len(plan.steps) * (plan.masks.listed is None), plan.cache.slots) for plan in document.plans
    )
    kept = tuple(tuple((start, end) for start, end in runs) for runs in document.kept)
    return Chain(plans=tuple(plan_from_document(plan) for plan in document.plans), kept=kept)


def _rows_of(plan: "PlanDocument") -> int:
    listed = plan.masks.listed
    return sum(len(step.source) for step in plan.steps) if listed is None else len(listed)


def chain_from_json(text: str | bytes, *, name: str = "chain") -> Chain:
    """The chain in a JSON text. It is not verified, and no digest is compared: see ``diagplan.verify``.

    Raises:
        DocumentError: the text is not a valid chain document.
    """
    from diagplan.schemas.chain_document import ChainDocument

    with parsed(text, name, _WHAT, SHORTER) as value:
        document = validated(ChainDocument, value, CHAIN_FORMAT, name, _WHAT, version=VERSION, again=_AGAIN)
    return chain_from_document(document)


def read_any_document(path: str | Path) -> "PlanDocument | ChainDocument":
    """Read the document of a plan or of a chain from a .json, .json.gz or .json.zst file.

    Raises:
        DocumentError: the file cannot be read, is too large, or is neither.
        MissingExtraError: a .zst file without the extra ``zstd``.
        SpecError: ``path`` is not a path.
    """
    path = _path(path)
    return any_document(read_bytes(path), name=path.name)


def read_plan_or_chain(path: str | Path) -> Plan | Chain:
    """Read a plan or a chain; arguments and errors as for ``read_any_document``. It is not verified."""
    from diagplan.schemas.document import PlanDocument

    document = read_any_document(path)
    return plan_from_document(document) if isinstance(document, PlanDocument) else chain_from_document(document)


def read_chain(path: str | Path) -> Chain:
    """Read a chain from a .json, .json.gz or .json.zst file. It is not verified: see ``diagplan.verify``.

    Raises:
        DocumentError: the file cannot be read, is too large, or is not a valid chain document.
        MissingExtraError: a .zst file without the extra ``zstd``.
        SpecError: ``path`` is not a path.

    >>> read_chain("chain.json").cost()  # doctest: +SKIP
    ChainCost(plans=2, passes=140, prefill_tokens=63, kept_tokens=319, tokens=1280)
    """
    path = _path(path)
    return chain_from_json(read_bytes(path), name=path.name)


def _path(path: str | Path) -> Path:
    require_kind("path", path, str | os.PathLike, "Give the name of a chain's file.", what="a path")
    return Path(path)


def write_chain(chain: Chain, path: str | Path, *, masks: MaskForm = "explicit") -> None:
    """Write a chain as JSON, compressed where the name ends in .gz or .zst; the file appears whole or not at all.

    Args:
        chain: the chain.
        path: where to; an existing file is replaced.
        masks: ``"explicit"`` or ``"rule"``, see ``chain_to_json``.

    Raises:
        DocumentError: the file cannot be written, or the chain is too long for explicit rows, or for any document.
        MissingExtraError: a .zst file without the extra ``zstd``.
        SpecError: another ending of the name, or ``chain`` is not a chain.
    """
    require_kind("chain", chain, Chain, "The chain comes first: write_chain(chain, path).")
    write_packed(_path(path), lambda: chain_to_json(chain, masks=masks))
