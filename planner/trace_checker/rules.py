"""The rules of a trace as a table: one rule is one stable code, one sentence, one predicate, one remedy.

The rules of a tier are asked only if those of the tiers before found nothing. They see the books alone: that
the ids are the model's is for ``diagplan.backends.teacher_check``.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from diagplan.planner.trace_checker import passes
from diagplan.planner.trace_checker.diagnostics import TraceHits
from diagplan.planner.trace_checker.facts import TraceFacts

__all__ = ["TRACE_RULES", "TraceRule"]


@dataclass(frozen=True, slots=True)
class TraceRule:
    """One rule of the checker; ``find`` gives its breaches."""

    code: str
    tier: int
    sentence: str
    remedy: str
    find: Callable[[TraceFacts], Iterator[TraceHits]]


_REPLAY = "Replay again with a trace: what wrote this one did not keep its books."

#: Every rule, in the order in which they are reported. Codes are never reused (docs/exact.md).
TRACE_RULES = (
    TraceRule(
        "DT100",
        0,
        "Columns are of one length, slots are the plan's and stand once in a pass, ids are not negative.",
        "Give the plan that was replayed, or replay again with a trace.",
        passes.columns_malformed,
    ),
    TraceRule("DT101", 1, "A pass begins with the first entry that is not accepted.", _REPLAY, passes.first_wrong),
    TraceRule(
        "DT102",
        1,
        "A pass feeds something, and at most width entries, the prompt's apart.",
        _REPLAY,
        passes.width_wrong,
    ),
    TraceRule(
        "DT103", 3, "Guesses are for the fed sources that are not known, and no others.", _REPLAY, passes.guessed_wrong
    ),
    TraceRule("DT104", 2, "What is chosen are the fed entries' targets, and no others.", _REPLAY, passes.chosen_wrong),
    TraceRule(
        "DT105",
        4,
        "Accepted are the entries before the first that was fed a wrong id; with advance=slowest the batch's least.",
        _REPLAY,
        passes.accepted_wrong,
    ),
    TraceRule(
        "DT106",
        2,
        "A pass completes the first step that is not, or else accepts as many entries as a window has.",
        _REPLAY,
        passes.no_progress,
    ),
    TraceRule(
        "DT107",
        2,
        "All entries are accepted at the end, in at most the sum of (entries / width) over the steps.",
        "Replay to the end with a trace.",
        passes.not_done,
    ),
    TraceRule("DT108", 4, "Tokens are what the passes chose that accepted them.", _REPLAY, passes.tokens_differ),
)
