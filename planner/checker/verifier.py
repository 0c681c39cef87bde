"""Walk the table of rules over a plan."""

from collections.abc import Iterator
from itertools import islice

import numpy as np

from diagplan.planner.checker.diagnostics import Diagnostic, Hits, Severity, Verification
from diagplan.planner.checker.facts import Facts
from diagplan.planner.checker.rules import RULES, Rule
from diagplan.planner.layout import require_int
from diagplan.planner.plan import Plan

__all__ = ["verify_plan"]


def verify_plan(plan: Plan, *, cap: int = 20) -> Verification:
    """Check a plan by every rule, from the plan alone.

    Args:
        plan: any plan, also a foreign or damaged one.
        cap: the largest number of diagnostics kept of one rule; all are counted.

    Raises:
        SpecError: ``cap`` is not an integer of at least 1.
    """
    cap = require_int("cap", cap, 1)
    facts = Facts(plan)
    diagnostics: list[Diagnostic] = []
    counts: dict[str, int] = {}
    totals: dict[Severity, int] = {"error": 0, "warning": 0}
    tier = 0
    for rule in sorted(RULES, key=lambda rule: rule.tier):
        if rule.tier > tier and totals["error"]:
            break
        tier = rule.tier
        room = cap
        for hits in rule.find(facts):
            if not len(hits):
                continue
            severity = hits.severity or rule.severity
            counts[rule.code] = counts.get(rule.code, 0) + len(hits)
            totals[severity] += len(hits)
            diagnostics.extend(islice(_spell_out(rule, severity, hits, facts), room))
            room = max(0, room - len(hits))
    diagnostics.sort(key=lambda diagnostic: diagnostic.code)
    return Verification(
        diagnostics=tuple(diagnostics), counts=counts, errors=totals["error"], warnings=totals["warning"]
    )


def _spell_out(rule: Rule, severity: Severity, hits: Hits, facts: Facts) -> Iterator[Diagnostic]:
    for i in range(len(hits)):
        where = {
            name: None if column is None else int(column[i])
            for name, column in (("feed", hits.feed), ("step", hits.step), ("slot", hits.slot))
        }
        if where["step"] is None and where["feed"] is not None:
            where["step"] = int(np.searchsorted(facts.plan.step_offsets, where["feed"], side="right")) - 1
        values = {name: int(column[i]) for name, column in hits.values.items()}
        yield Diagnostic(
            code=rule.code,
            severity=severity,
            message=hits.text.format(**where, **values) + ".",
            remedy=rule.remedy,
            **where,
        )
