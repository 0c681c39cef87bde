"""Predicates on mask rows. Rows that follow the rule are judged from the rule, listed rows bit by bit."""

from collections.abc import Callable, Iterator

import numpy as np

from diagplan.planner.checker.diagnostics import Hits, Severity
from diagplan.planner.checker.facts import Facts

__all__ = [
    "future_seen",
    "hidden_seen",
    "not_listed",
    "own_unseen",
    "rule_broken",
    "runs_malformed",
    "stale_seen",
    "trash_misread",
    "unwritten_reads",
]

_NONE = np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.int64)


def runs_malformed(facts: Facts) -> Iterator[Hits]:
    """DP105: runs must be non-empty, in range, in rising order, and apart from each other."""
    plan, rows = facts.plan, facts.plan.listed
    start, end = rows.runs.T.astype(np.int64)
    row = np.repeat(np.arange(len(rows)), np.diff(rows.offsets))
    first_of_row = np.ones(len(row), dtype=np.bool_)
    first_of_row[1:] = row[1:] != row[:-1]
    before = np.append(-1, end[:-1])
    before[first_of_row] = -1
    bad = np.flatnonzero((start >= end) | (end > plan.cache_slots) | (start < 0) | (start <= before))
    yield Hits(
        text=f"expected runs in rising order and apart, from 0 to {plan.cache_slots}, got {{start}} to {{end}} "
        "after a run that ends at {before}",
        feed=rows.feed[row[bad]],
        slot=start[bad],
        values={"start": start[bad], "end": end[bad], "before": np.maximum(before[bad], 0)},
    )
    disorder = np.flatnonzero(rows.feed[1:] <= rows.feed[:-1]) + 1
    yield Hits(
        text="expected listed rows in rising order of feeds, got feed {feed} again or late", feed=rows.feed[disorder]
    )


def not_listed(facts: Facts) -> Iterator[Hits]:
    """DP407: feeds without a row where rows follow no rule."""
    plan = facts.plan
    if plan.policies.visibility == "listed":
        missing = np.ones(plan.feeds, dtype=np.bool_)
        missing[plan.listed.feed] = False
        yield Hits(text="expected a mask row under visibility=listed, got none", feed=np.flatnonzero(missing))


def unwritten_reads(facts: Facts) -> Iterator[Hits]:
    """DP303: rows that follow the rule read unwritten slots only under ``causal``, which shows all up to their own."""
    plan = facts.plan
    text = f"expected reads of written slots only, got one of slot {{slot}} (the cache starts as {plan.cache_initial})"
    severity: Severity = "warning" if plan.cache_initial == "zeros" else "error"
    if plan.policies.visibility == "causal":
        # The position up to each one that is written last of all; what comes after the query's step is unwritten.
        latest = np.maximum.accumulate(facts.first_write)
        changes = np.append(True, latest[1:] != latest[:-1])
        last_written = np.maximum.accumulate(np.where(changes, np.arange(plan.positions), 0))
        reads = facts.real & (latest[plan.position] > facts.step)
        reads[plan.listed.feed] = False
        feed = np.flatnonzero(reads)
        yield Hits(text=text, feed=feed, slot=last_written[plan.position[feed]], severity=severity)
    feed, slot = facts.listed.get("unwritten", _NONE)
    yield Hits(text=text, feed=feed, slot=slot, severity=severity)


def _listed(kind: str, code: str, text: str) -> Callable[[Facts], Iterator[Hits]]:
    def predicate(facts: Facts) -> Iterator[Hits]:
        feed, slot = facts.listed.get(kind, _NONE)
        yield Hits(text=text, feed=feed, slot=slot, values={"position": facts.plan.position[feed]})

    predicate.__doc__ = f"{code}: {text.partition(', got ')[2]}."
    return predicate


own_unseen = _listed("self", "DP401", "expected the query to see its own cache slot {slot}, got a row without it")
future_seen = _listed(
    "future", "DP402", "expected cache slots up to position {position}, got a row that sees slot {slot} ahead of it"
)
hidden_seen = _listed(
    "hidden", "DP403", "expected proxies to be hidden, got a row that sees the proxy in cache slot {slot}"
)
stale_seen = _listed(
    "stale", "DP404", "expected the newest write of a position, got a row that sees an older one in cache slot {slot}"
)
trash_misread = _listed(
    "trash", "DP405", "expected the trash slot for padding only, and only it, got a row that sees slot {slot}"
)
rule_broken = _listed(
    "rule", "DP406", "expected the row of the named policies, got one that differs from cache slot {slot} on"
)
