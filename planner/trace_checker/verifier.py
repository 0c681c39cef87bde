"""Walk the table of rules over a trace."""

from collections.abc import Iterator
from itertools import islice

from diagplan.planner.layout import require_int
from diagplan.planner.plan import Plan
from diagplan.planner.trace import Trace
from diagplan.planner.trace_checker.diagnostics import TraceDiagnostic, TraceHits, TraceVerification
from diagplan.planner.trace_checker.facts import TraceFacts
from diagplan.planner.trace_checker.rules import TRACE_RULES, TraceRule

__all__ = ["check_trace"]


def check_trace(plan: Plan, trace: Trace, *, cap: int = 20) -> TraceVerification:
    """Check a trace by every rule, from plan and trace alone, in about linear time.

    Args:
        plan: a valid plan (``diagplan.verify``); whether the trace is of this one, its digest says, which is not asked.
        trace: any trace, also a damaged one.
        cap: the largest number of diagnostics kept of one rule; all are counted.

    Raises:
        SpecError: ``cap`` is not an integer of at least 1.
    """
    cap = require_int("cap", cap, 1)
    facts = TraceFacts(plan, trace)
    diagnostics: list[TraceDiagnostic] = []
    counts: dict[str, int] = {}
    tier = 0
    for rule in sorted(TRACE_RULES, key=lambda rule: rule.tier):
        if rule.tier > tier and counts:
            break
        tier = rule.tier
        room = cap
        for hits in rule.find(facts):
            if not len(hits):
                continue
            counts[rule.code] = counts.get(rule.code, 0) + len(hits)
            diagnostics.extend(islice(_spell_out(rule, hits), room))
            room = max(0, room - len(hits))
    diagnostics.sort(key=lambda diagnostic: diagnostic.code)
    return TraceVerification(diagnostics=tuple(diagnostics), counts=counts)


def _spell_out(rule: TraceRule, hits: TraceHits) -> Iterator[TraceDiagnostic]:
    for i in range(len(hits)):
        where = {
            name: None if column is None else int(column[i])
            for name, column in (("sample", hits.sample), ("number", hits.number), ("slot", hits.slot))
        }
        values = {name: int(column[i]) for name, column in hits.values.items()}
        message = hits.text.format(**where, **values) + "."
        yield TraceDiagnostic(code=rule.code, message=message, remedy=rule.remedy, **where)
