"""Predicates that hold a plan against the schedule and policies it names."""

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from diagplan.planner.checker import schedules
from diagplan.planner.checker.diagnostics import Hits
from diagplan.planner.checker.expected import ExpectedFeeds
from diagplan.planner.checker.facts import Facts

__all__ = ["delays_wrong", "feeds_differ", "sources_differ", "steps_differ", "total_differs"]


def delays_wrong(facts: Facts) -> Iterator[Hits]:
    """DP501: delays in force other than those asked for, clamped to the grid."""
    schedule = facts.plan.schedule
    if schedule.name == "custom":
        return
    for name in schedules.fields_absent(facts.plan):
        value = getattr(schedule, name)
        if value is not None:
            yield Hits(text=f"expected no {name} beside the schedule {schedule.name}, got {name}={value}")
    if schedule.name == "imported":
        generated = int(np.count_nonzero(~facts.given))
        if schedule.order is None or len(schedule.order) != generated:
            count = "none" if schedule.order is None else f"{len(schedule.order)}"
            yield Hits(text=f"expected the step of each of {generated} cells in the order, got {count}")
            return
        used = np.unique(schedule.order)
        gap = np.flatnonzero(used != np.arange(len(used)))
        if len(gap):
            yield Hits(text=f"expected every step of the order to have a cell, got none in step {gap[0]}")
        return
    if schedule.order is not None:
        yield Hits(text=f"expected no order beside the schedule {schedule.name}, got {len(schedule.order)} steps")
    if schedule.k is None and "k" not in schedules.fields_absent(facts.plan):
        yield Hits(text=f"expected a row delay k for the schedule {schedule.name}, got none")
        return
    asked = schedules.named_delays(facts.plan)
    in_force = schedule.k_in_force, schedule.d_in_force
    if in_force != asked:
        text = f"expected the delays (k, d) = {asked} in force on this grid, got {in_force}"
        if None in in_force:
            text += f": the schedule {schedule.name} needs both k_in_force and d_in_force"
        yield Hits(text=text)


def total_differs(facts: Facts) -> Iterator[Hits]:
    """DP502: a number of steps other than the schedule's closed form."""
    plan, schedule = facts.plan, facts.plan.schedule
    law = schedules.closed_form(plan)
    if schedule.steps != law:
        yield Hits(text=f"expected steps={law} by the closed form of {schedule.name}, got steps={schedule.steps} named")
    if not facts.steps_named:
        return
    capped = facts.expected["step"] if facts.expected is not None and facts.capped else None
    want = law if capped is None else int(capped.max()) + 1
    if plan.steps != want:
        cap = "" if capped is None else f" under max_width={plan.max_width}"
        yield Hits(text=f"expected {want} steps by the closed form of {schedule.name}{cap}, got {plan.steps}")


def _predictors(facts: Facts) -> tuple[ExpectedFeeds, dict[str, NDArray[np.integer[Any]]]] | None:
    """The expected and the actual feeds with a target, both in the order of targets."""
    if facts.expected is None:
        return None
    plan = facts.plan
    feed = np.flatnonzero(plan.target >= 0)
    feed = feed[np.argsort(plan.target[feed])]
    actual: dict[str, NDArray[np.integer[Any]]] = {
        "feed": feed,
        "step": facts.step[feed],
        "source": plan.source[feed],
        "target": plan.target[feed],
    }
    wanted = np.flatnonzero(facts.expected["target"] >= 0)
    wanted = wanted[np.argsort(facts.expected["target"][wanted])]
    return {name: column[wanted] for name, column in facts.expected.items()}, actual


def steps_differ(facts: Facts) -> Iterator[Hits]:
    """DP503: tokens in another step than the schedule's."""
    pair = _predictors(facts)
    if pair is not None and facts.steps_named:
        expected, actual = pair
        at = np.flatnonzero(expected["step"] != actual["step"])
        yield Hits(
            text=f"expected token {{slot}} in step {{want}} by {facts.plan.schedule.name}, got step {{step}}",
            feed=actual["feed"][at],
            slot=actual["target"][at],
            values={"want": expected["step"][at]},
        )


def sources_differ(facts: Facts) -> Iterator[Hits]:
    """DP504: sources other than the own token or the named proxy."""
    pair = _predictors(facts)
    delayed_unknown = facts.plan.schedule.name == "custom" and facts.plan.max_width is not None
    if pair is not None and not delayed_unknown:  # a cap keeps the sources of the schedule it delays
        expected, actual = pair
        named = facts.plan.policies.proxy != "custom"
        proxied = expected["source"] != expected["position"]
        at = np.flatnonzero((expected["source"] != actual["source"]) & (named | ~proxied))
        yield Hits(
            text="expected source={want} for token {target} "
            f"(proxy={facts.plan.policies.proxy}), got source={{slot}}",
            feed=actual["feed"][at],
            slot=actual["source"][at],
            values={"want": expected["source"][at], "target": actual["target"][at]},
        )


def feeds_differ(facts: Facts) -> Iterator[Hits]:
    """DP505: feeds without a target, compared as sets of (position, step)."""
    if facts.expected is None or not facts.steps_named or facts.plan.policies.row_end == "custom":
        return
    plan = facts.plan
    row_end = plan.policies.row_end
    wanted = facts.expected["target"] < 0
    want = facts.expected["position"][wanted] * plan.steps + facts.expected["step"][wanted]
    feed = np.flatnonzero(facts.real & (plan.target < 0))
    got = plan.position[feed].astype(np.int64) * plan.steps + facts.step[feed]
    missing = np.setdiff1d(want, got)
    yield Hits(
        text=f"expected a feed of token {{slot}} in step {{step}} (row_end={row_end}), got none",
        step=missing % plan.steps,
        slot=missing // plan.steps,
    )
    extra = feed[~np.isin(got, want)]
    yield Hits(
        text=f"expected no feed of token {{slot}} alone in step {{step}} (row_end={row_end}), got one",
        feed=extra,
        slot=plan.position[extra],
    )
