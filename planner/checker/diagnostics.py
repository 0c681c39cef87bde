"""What the checker says of a plan."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray

__all__ = ["Diagnostic", "Hits", "Severity", "Verification"]

Index = NDArray[np.integer]

Severity = Literal["error", "warning"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Diagnostic:
    """One breach of one rule.

    Args:
        code: the rule's stable code, ``DP`` and three digits (docs/checker-rules.md).
        severity: ``"error"``: replay would be wrong or undefined; ``"warning"``: a named policy's known weakness.
        step, feed, slot: where; the feed is counted over the whole plan, the slot is a position or a cache slot
            as the message says; ``None`` where it does not apply.
        message: expected A, got name=value.
        remedy: what to do.
        plan: number of the plan in a chain, from 0; ``None`` where there is one plan, or all are meant.
    """

    code: str
    severity: Severity
    step: int | None
    feed: int | None
    slot: int | None
    message: str
    remedy: str
    plan: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Verification:
    """The checker's report: the first diagnostics of every rule, and how many there are in all.

    Args:
        diagnostics: at most ``cap`` of each rule, in the order of the rules.
        counts: all breaches by code, the ones left out included.
        errors, warnings: all breaches by severity, the ones left out included.
    """

    diagnostics: tuple[Diagnostic, ...]
    counts: Mapping[str, int]
    errors: int
    warnings: int

    @property
    def ok(self) -> bool:
        """Whether there is no error; warnings are allowed."""
        return self.errors == 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Hits:
    """Breaches of one rule: a message with fields, and one array entry a breach for where it is and the fields' values.

    Args:
        text: a ``str.format`` template over ``values``, ``feed``, ``step`` and ``slot``.
        feed, step, slot: where, [n] each, or ``None`` where it does not apply. The step follows from the feed.
        values: what else the message shows, [n] each.
        severity: overrides the rule's.
    """

    text: str
    feed: Index | None = None
    step: Index | None = None
    slot: Index | None = None
    values: Mapping[str, Index] = field(default_factory=dict)
    severity: Severity | None = None

    def __len__(self) -> int:
        columns = [column for column in (self.feed, self.step, self.slot, *self.values.values()) if column is not None]
        return len(columns[0]) if columns else 1
