"""The checker's rules as a table: one rule is one stable code, one sentence, one predicate, one remedy.

Tier 0 makes sure that every field is of its kind, tier 1 that numbers can be used as indices, tier 2 that the plan is
one of its layout with every token chosen once; the rules of a tier are asked only if those of the tiers before found
no error.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from diagplan.planner.checker import feeds, fields, masks, names
from diagplan.planner.checker.diagnostics import Hits, Severity
from diagplan.planner.checker.facts import Facts

__all__ = ["RULES", "Rule"]


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule of the checker; ``find`` gives its breaches."""

    code: str
    tier: int
    severity: Severity
    sentence: str
    remedy: str
    find: Callable[[Facts], Iterator[Hits]]


_COMPILE = "Compile the plan again, or correct the named feed."
_NAME = "Name the schedule and policies that the feeds follow, or 'custom' if none does."

#: Every rule, in the order in which they are reported. Codes are never reused (docs/checker-rules.md).
RULES = (
    Rule(
        "DP100",
        0,
        "error",
        "Every field is of its kind, columns are of one length, and offsets rise from 0 to the end of their column.",
        "Compile the plan again, or correct the field.",
        fields.fields_malformed,
    ),
    Rule("DP101", 1, "error", "Every number is in range.", _COMPILE, feeds.numbers_in_range),
    Rule(
        "DP102",
        1,
        "error",
        "Positions and given slots follow from the layout.",
        "Correct the layout, or positions and given.",
        feeds.layout_disagrees,
    ),
    Rule("DP103", 2, "error", "Every step has a feed.", "Leave the step out.", feeds.empty_steps),
    Rule(
        "DP104",
        2,
        "error",
        "Padding writes the trash slot, chooses no token, and nothing else writes there.",
        "Pad with source=-1, target=-1 and slot=trash.",
        feeds.padding_misused,
    ),
    Rule("DP105", 2, "error", "Runs of a mask row are in order and in range.", _COMPILE, masks.runs_malformed),
    Rule("DP201", 2, "error", "Every generated slot is some feed's target.", "Add a feed for it.", feeds.never_emitted),
    Rule("DP202", 2, "error", "No slot is a target twice.", "Drop one of the two feeds.", feeds.emitted_twice),
    Rule("DP203", 2, "error", "A given slot is no target.", "Drop the target.", feeds.given_emitted),
    Rule(
        "DP204",
        3,
        "error",
        "A source is known before the step that feeds it.",
        "Feed it in a later step, or another source.",
        feeds.source_unknown,
    ),
    Rule(
        "DP205",
        3,
        "error",
        "A query's position is the target's predecessor: the position embedding decides what is predicted.",
        "Set position = target - 1.",
        feeds.position_not_predecessor,
    ),
    Rule(
        "DP206",
        3,
        "error",
        "A feed without target carries its position's own token.",
        "Set source = position, or drop the feed.",
        feeds.cache_only_source,
    ),
    Rule(
        "DP301",
        3,
        "error",
        "No slot is written twice in one pass: the result would be undefined.",
        "Move one of the feeds to another step.",
        feeds.written_twice,
    ),
    Rule(
        "DP302",
        3,
        "error",
        "A cache slot holds one position only; under visibility=causal its own.",
        "Give each position a cache slot of its own.",
        feeds.shared_slots,
    ),
    Rule(
        "DP303",
        3,
        "error",
        "No query reads a slot that was never written (a warning where the cache starts as zeros).",
        "Compile with visibility=written, or start the cache as zeros if you reproduce such a release.",
        masks.unwritten_reads,
    ),
    Rule(
        "DP304",
        3,
        "warning",
        "No slot keeps a proxy's keys and values to the end.",
        "Compile with row_end=refresh, unless you reproduce a release that keeps them.",
        feeds.kept_proxies,
    ),
    Rule(
        "DP305",
        3,
        "warning",
        "Every token that is known before the last step enters the cache.",
        "Compile with row_end=refresh, unless you reproduce a release that leaves them out.",
        feeds.never_fed,
    ),
    Rule("DP401", 3, "error", "Every query sees its own slot.", "Add the slot to the row.", masks.own_unseen),
    Rule(
        "DP402", 3, "error", "No query sees its own future.", "End the row at the query's position.", masks.future_seen
    ),
    Rule(
        "DP403",
        3,
        "error",
        "Under proxy_kv=hidden only the proxy's own query sees it.",
        "Take the slot out of the row, or compile with proxy_kv=visible.",
        masks.hidden_seen,
    ),
    Rule(
        "DP404",
        3,
        "error",
        "A row shows the newest write of a position, never an older one.",
        "Take the older slot out of the row.",
        masks.stale_seen,
    ),
    Rule(
        "DP405",
        3,
        "error",
        "Padding sees the trash slot and nothing else, and nothing else sees it.",
        "Correct the row.",
        masks.trash_misread,
    ),
    Rule(
        "DP406",
        3,
        "error",
        "A row is what the named visibility and proxy_kv say.",
        "Correct the row, or say visibility=listed if rows follow no rule.",
        masks.rule_broken,
    ),
    Rule(
        "DP407",
        3,
        "error",
        "Under visibility=listed every feed has a row.",
        "List the row, or name the rule that gives it.",
        masks.not_listed,
    ),
    Rule(
        "DP501",
        2,
        "error",
        "The delays in force are stated and follow from the schedule's and the grid (k' = min(k, w), d' = min(d, F)).",
        _NAME,
        names.delays_wrong,
    ),
    Rule(
        "DP502",
        3,
        "error",
        "The number of steps is the schedule's closed form, (T-1) d' + (h-1) k' + w.",
        _NAME,
        names.total_differs,
    ),
    Rule("DP503", 3, "error", "Every token comes in its schedule's step.", _NAME, names.steps_differ),
    Rule(
        "DP504", 3, "error", "A feed's source is its position's token, or the named proxy.", _NAME, names.sources_differ
    ),
    Rule("DP505", 3, "error", "Tokens are fed alone as row_end says.", _NAME, names.feeds_differ),
    Rule(
        "DP506",
        3,
        "error",
        "No step is wider than declared, the prompt's prefill not counted.",
        "Compile with that max_width, or declare a larger one.",
        feeds.too_wide,
    ),
)
