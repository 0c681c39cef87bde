"""Predicates on the kinds of a plan's fields: what all other rules take for granted, so this is asked before them."""

from collections.abc import Iterator
from typing import Any, get_args

import numpy as np

from diagplan.planner.checker.diagnostics import Hits
from diagplan.planner.checker.facts import Facts
from diagplan.planner.layout import Layout
from diagplan.planner.plan import CacheInitial, MaskRows
from diagplan.planner.policy import Policies
from diagplan.planner.schedule import MAX_LABEL, ScheduleName, ScheduleRecord
from diagplan.planner.shown import shown

__all__ = ["fields_malformed"]

_LARGEST = 2**31 - 1  # of a plan document


def fields_malformed(facts: Facts) -> Iterator[Hits]:
    """DP100: fields of another kind or shape than a plan's, and offsets that do not divide what they should."""
    plan = facts.plan
    wrong = [
        *_parts(plan),
        *_numbers(plan, {"positions": 1, "cache_slots": 1}),
        *_numbers(plan, {"trash_slot": 0, "max_width": 1}, optional=True),
        *_names(plan, "cache_initial", get_args(CacheInitial)),
        *_columns(plan),
    ]
    if isinstance(plan.schedule, ScheduleRecord):
        wrong += _schedule(plan.schedule)
    if isinstance(plan.listed, MaskRows):
        wrong += _listed(plan.listed)
    if not wrong:
        for name, offsets, end in (
            ("step_offsets", plan.step_offsets, plan.feeds),
            ("listed.offsets", plan.listed.offsets, len(plan.listed.runs)),
        ):
            # Compared, not subtracted: a difference of two int64 may run over.
            is_rising = bool((offsets[1:] >= offsets[:-1]).all())
            if not (is_rising and offsets[0] == 0 and offsets[-1] == end):
                ends = f"{offsets[:4].tolist()}{' ...' if len(offsets) > 4 else ''} to {offsets[-1]}"
                wrong.append(f"expected {name} to rise from 0 to {end}, got {ends}")
    for text in wrong:
        yield Hits(text=text.replace("{", "{{").replace("}", "}}"))  # a template, and values are anybody's


def _got(name: str, value: object, what: str) -> str:
    seen = f"{value.dtype.name:.60} {list(value.shape)}" if isinstance(value, np.ndarray) else shown(value)
    return f"expected {name} to be {what}, got {name}={seen}"


def _parts(plan: Any) -> Iterator[str]:
    for name, kind in (("layout", Layout), ("schedule", ScheduleRecord), ("policies", Policies), ("listed", MaskRows)):
        if not isinstance(value := getattr(plan, name), kind):
            yield _got(name, value, f"a {kind.__name__}")


def _numbers(owner: Any, smallest: dict[str, int], *, of: str = "", optional: bool = False) -> Iterator[str]:
    """Fields that are no plain integers from their smallest value on."""
    for name, low in smallest.items():
        value = getattr(owner, name)
        if not (_is_whole(value, low) or (optional and value is None)):
            yield _got(of + name, value, f"a whole number from {low} to {_LARGEST}{' or None' * optional}")


def _is_whole(value: object, low: int) -> bool:
    return type(value) is int and low <= value <= _LARGEST  # no bool, and no subclass with a mind of its own


def _names(owner: Any, name: str, choices: tuple[str, ...], *, of: str = "") -> Iterator[str]:
    value = getattr(owner, name)
    if not (type(value) is str and value in choices):
        yield _got(of + name, value, f"one of {', '.join(choices)}")


def _is_column(value: object, dtype: type[np.generic], *shape: int | None) -> bool:
    return (
        isinstance(value, np.ndarray)
        and value.dtype == dtype
        and value.ndim == len(shape)
        and all(want is None or size == want for size, want in zip(value.shape, shape, strict=True))
    )


def _columns(plan: Any) -> Iterator[str]:
    if not _is_column(plan.given, np.int32, None, 2):
        yield _got("given", plan.given, "runs, int32 [G, 2]")
    if not _is_column(plan.step_offsets, np.int64, None) or len(plan.step_offsets) < 2:
        yield _got("step_offsets", plan.step_offsets, "int64 [steps + 1] of at least one step")
    feeds = len(plan.source) if _is_column(plan.source, np.int32, None) else None
    for name in ("source", "position", "slot", "target"):
        if not _is_column(getattr(plan, name), np.int32, feeds):
            size = "feeds" if feeds is None else f"{feeds}"
            yield _got(name, getattr(plan, name), f"int32 [{size}]" + " as source is" * (feeds is not None))


def _listed(rows: Any) -> Iterator[str]:
    count = len(rows.feed) if _is_column(rows.feed, np.int64, None) else None
    if count is None:
        yield _got("listed.feed", rows.feed, "int64 [rows]")
    elif not _is_column(rows.offsets, np.int64, count + 1):
        yield _got("listed.offsets", rows.offsets, f"int64 [{count + 1}]")
    if not _is_column(rows.runs, np.int32, None, 2):
        yield _got("listed.runs", rows.runs, "int32 [runs, 2]")


def _schedule(record: Any) -> Iterator[str]:
    own = "schedule."
    yield from _names(record, "name", get_args(ScheduleName), of=own)
    yield from _numbers(record, {"steps": 1}, of=own)
    yield from _numbers(record, dict.fromkeys(("k", "d", "k_in_force", "d_in_force"), 1), of=own, optional=True)
    label, order = record.label, record.order
    if label is not None and not (type(label) is str and len(label) <= MAX_LABEL and label.isprintable()):
        yield _got(f"{own}label", label, f"printable text of at most {MAX_LABEL} characters or None")
    if order is not None and not (type(order) is tuple and all(_is_whole(step, 0) for step in order)):
        yield _got(f"{own}order", order, f"a tuple of whole numbers from 0 to {_LARGEST} or None")
