"""What one predicate of the checker finds in a plan, asked by itself and not through the table of rules."""

from collections.abc import Callable, Iterator
from typing import NamedTuple

from diagplan.planner.checker.diagnostics import Hits, Severity
from diagplan.planner.checker.facts import Facts
from diagplan.planner.plan import Plan

__all__ = ["Finding", "findings"]


class Finding(NamedTuple):
    """One breach: where it is, what is said of it, and the severity if the predicate overrides the rule's."""

    feed: int | None
    step: int | None
    slot: int | None
    text: str
    severity: Severity | None


def findings(predicate: Callable[[Facts], Iterator[Hits]], plan: Plan) -> list[Finding]:
    """Every breach that a predicate finds, in its order; the step only where the predicate itself gives one."""
    breaches = []
    for hits in predicate(Facts(plan)):
        for i in range(len(hits)):
            feed, step, slot = (
                None if column is None else int(column[i]) for column in (hits.feed, hits.step, hits.slot)
            )
            values = {name: int(column[i]) for name, column in hits.values.items()}
            # A step that only the verifier adds must not be wanting in the text here.
            shown = int(Facts(plan).step[feed]) if step is None and feed is not None else step
            text = hits.text.format(feed=feed, step=shown, slot=slot, **values)
            breaches.append(Finding(feed, step, slot, text, hits.severity))
    return breaches
