"""Plan <-> plan document, and the canonical digest."""

import hashlib
import json
from dataclasses import asdict, replace
from itertools import chain, pairwise
from operator import attrgetter
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from diagplan.planner.arguments import require_kind
from diagplan.planner.checker.facts import Facts
from diagplan.planner.checker.fields import fields_malformed
from diagplan.planner.errors import DocumentError, InvalidPlanError, SpecError
from diagplan.planner.layout import Layout
from diagplan.planner.masks import follow_rule, iter_masks, to_runs
from diagplan.planner.plan import MaskRows, Plan, well_formed
from diagplan.planner.policy import Policies
from diagplan.planner.schedule import ScheduleRecord
from diagplan.planner.shown import shown
from diagplan.schemas.limits import MAX_EXPLICIT_BITS, MAX_EXPLICIT_ROWS, MAX_EXPLICIT_RUNS

if TYPE_CHECKING:
    from diagplan.schemas.document import PlanDocument, ScheduleNames

__all__ = [
    "FORMAT",
    "VERSION",
    "MaskForm",
    "document_parts",
    "plan_digest",
    "plan_from_document",
]

FORMAT = "diagplan-plan"
VERSION = 1

MaskForm = Literal["explicit", "rule"]


def _header(plan: Plan) -> dict[str, Any]:
    return {
        "format": FORMAT,
        "version": VERSION,
        "layout": asdict(plan.layout),
        "positions": plan.positions,
        "given": plan.given.tolist(),
        "cache": {"slots": plan.cache_slots, "initial": plan.cache_initial, "trash": plan.trash_slot},
        "max_width": plan.max_width,
    }


def _masks(plan: Plan) -> dict[str, Any]:
    listed = [
        {"feed": feed, "runs": plan.listed.row(j).ravel().tolist()} for j, feed in enumerate(plan.listed.feed.tolist())
    ]
    return {"visibility": plan.policies.visibility, "proxy_kv": plan.policies.proxy_kv, "listed": listed}


def _steps(plan: Plan) -> list[dict[str, Any]]:
    columns = {name: getattr(plan, name).tolist() for name in ("source", "position", "slot", "target")}
    offsets = plan.step_offsets.tolist()
    return [{name: column[first:last] for name, column in columns.items()} for first, last in pairwise(offsets)]


def _canonical(value: object) -> bytes:
    """RFC 8785 form; the facts hold integers, short ASCII strings and null only, so sorting and separators suffice."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True).encode()


def plan_digest(plan: Plan) -> str:
    """``sha256:`` and the SHA-256 of the canonical JSON (RFC 8785) of the plan's facts.

    The facts are the document without ``producer``, ``names`` and ``digest``, its mask rows as the rule and the
    rows that differ from it, so that a document with explicit rows and one without have the same digest.

    Raises:
        SpecError: the argument is not a plan.
        InvalidPlanError: a plan whose fields are not of their kinds (rule DP100).
    """
    require_kind("plan", plan, Plan, "Read a file first: plan_digest(read_plan(path)).")
    _require_fields(plan)
    facts = _header(plan) | {"masks": _masks(plan), "steps": _steps(plan)}
    return "sha256:" + hashlib.sha256(_canonical(facts)).hexdigest()


def _require_fields(plan: Plan) -> None:
    wrong = next(fields_malformed(Facts(plan)), None)
    if wrong is not None:
        raise InvalidPlanError(f"{wrong.text.format()}. It has no document; `diagplan.verify` says all (DP100).")


def _require_rows_possible(plan: Plan, rows: int) -> None:
    slots = plan.cache_slots
    if rows * slots > MAX_EXPLICIT_BITS or rows + plan.steps > MAX_EXPLICIT_ROWS:
        raise DocumentError(
            f"expected mask rows x cache slots <= {MAX_EXPLICIT_BITS} and rows + steps <= {MAX_EXPLICIT_ROWS}, got "
            f"{rows} rows, {slots} cache slots and {plan.steps} steps. Rows of a plan this long would fill gigabytes. "
            "Write it with masks='rule' (--masks rule)."
        )


def document_parts(
    plan: Plan, masks: MaskForm, producer: dict[str, str]
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """The document of a plan as JSON-ready values: everything but the steps, and the steps.

    Raises:
        DocumentError: explicit rows are asked for and the plan is too long for them.
        SpecError: ``masks`` is neither of its two values.
        InvalidPlanError: a plan whose fields are not of their kinds (rule DP100).
    """
    digest = plan_digest(plan)  # refuses what has no document
    if masks not in ("explicit", "rule"):
        raise SpecError(f"expected masks to be 'explicit' or 'rule', got masks={shown(masks)}.")
    names = {
        "version": 1,
        "schedule": asdict(plan.schedule),
        "policies": {"proxy": plan.policies.proxy, "row_end": plan.policies.row_end},
    }
    head: dict[str, Any] = {"format": FORMAT, "version": VERSION, "producer": producer, "names": names} | _header(plan)
    head |= {"masks": _masks(plan), "digest": digest}
    steps = _steps(plan)
    if masks == "explicit":
        _require_rows_possible(plan, plan.feeds)
        head["masks"]["listed"] = None
        rows = _explicit_rows(plan)
        offsets = plan.step_offsets.tolist()
        for step, first, last in zip(steps, offsets[:-1], offsets[1:], strict=True):
            step["rows"] = rows[first:last]
    return head, steps


def _explicit_rows(plan: Plan) -> list[list[int]]:
    """Each feed's mask row as a flat list start, end, start, end, ...; listed rows as they stand."""
    listed = len(np.unique(plan.listed.feed))
    if plan.policies.visibility == "listed" and listed < plan.feeds:
        raise DocumentError(
            f"expected a listed row of every feed under visibility='listed', got {listed} of {plan.feeds}. No rule "
            "says what the others see. Write the plan with masks='rule' (--masks rule)."
        )
    rows: list[list[int]] = []
    if well_formed(plan):
        total = 0
        for _, mask in iter_masks(plan, listed=False):
            counts, runs = to_runs(mask)
            total += len(runs)
            if total > MAX_EXPLICIT_RUNS:
                raise DocumentError(
                    f"expected at most {MAX_EXPLICIT_RUNS} runs in explicit mask rows, got more. "
                    "Write the plan with masks='rule' (--masks rule)."
                )
            flat = runs.ravel().tolist()
            ends = (2 * np.cumsum(counts)).tolist()
            rows.extend(flat[first:last] for first, last in zip([0, *ends[:-1]], ends, strict=True))
    else:
        rows = [[]] * plan.feeds
    for j, feed in enumerate(plan.listed.feed.tolist()):
        rows[feed] = plan.listed.row(j).ravel().tolist()
    return rows


def plan_from_document(document: "PlanDocument") -> Plan:
    """The plan that a validated document describes. The digest is not checked here (see ``diagplan.verify``).

    Raises:
        DocumentError: the layout is impossible, or the plan is too long for explicit mask rows.
    """
    try:
        layout = Layout(**document.layout.model_dump())
        policies = Policies(
            **document.names.policies.model_dump(),
            visibility=document.masks.visibility,
            proxy_kv=document.masks.proxy_kv,
        )
    except SpecError as error:
        raise DocumentError(f"the plan's layout is not valid: {error}") from None
    widths = [len(step.source) for step in document.steps]

    def column(name: str) -> NDArray[np.int32]:
        return np.fromiter(chain.from_iterable(map(attrgetter(name), document.steps)), np.int32, sum(widths))

    plan = Plan(
        layout=layout,
        schedule=_schedule_record(document.names.schedule),
        policies=policies,
        positions=document.positions,
        given=np.array(document.given, dtype=np.int32).reshape(-1, 2),
        step_offsets=np.concatenate([[0], np.cumsum(widths)]),
        source=column("source"),
        position=column("position"),
        slot=column("slot"),
        target=column("target"),
        cache_slots=document.cache.slots,
        cache_initial=document.cache.initial,
        trash_slot=document.cache.trash,
        max_width=document.max_width,
    )
    if document.masks.listed is None:
        rows = list(enumerate(row for step in document.steps for row in step.rows or ()))
    else:
        rows = [(row.feed, row.runs) for row in document.masks.listed]
    return replace(plan, listed=_exceptions(plan, _mask_rows(plan, rows))) if rows else plan


def _schedule_record(names: "ScheduleNames") -> ScheduleRecord:
    order = None if names.order is None else tuple(names.order)
    return ScheduleRecord(**names.model_dump(exclude={"order"}), order=order)


def _mask_rows(plan: Plan, rows: list[tuple[int, list[int]]]) -> MaskRows:
    for feed, runs in rows:
        if len(runs) % 2:
            raise DocumentError(
                f"expected an even count of numbers (start, end, ...), got {len(runs)} in row of feed {feed}."
            )
    if any(feed >= plan.feeds for feed, _ in rows):
        raise DocumentError(f"expected listed rows of feeds below {plan.feeds}, got a larger feed number.")
    if any(a >= b for (a, _), (b, _) in pairwise(rows)):
        raise DocumentError("expected masks.listed in rising order of feeds, got another order.")
    counts = [len(runs) for _, runs in rows]
    return MaskRows(
        feed=np.array([feed for feed, _ in rows]),
        offsets=np.concatenate([[0], np.cumsum(counts) // 2]),
        runs=np.fromiter(chain.from_iterable(runs for _, runs in rows), np.int32, sum(counts)),
    )


def _exceptions(plan: Plan, rows: MaskRows) -> MaskRows:
    """The rows that differ from the rule: so a plan has one form in memory, and one digest, whatever was listed."""
    _require_rows_possible(plan, len(rows))
    if plan.policies.visibility == "listed" or not well_formed(plan):
        return rows
    differs = ~follow_rule(plan, rows)
    counts = np.diff(rows.offsets)
    return MaskRows(
        feed=rows.feed[differs],
        offsets=np.concatenate([[0], np.cumsum(counts[differs])]),
        runs=rows.runs[np.repeat(differs, counts)],
    )
