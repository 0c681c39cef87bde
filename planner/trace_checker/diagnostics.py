"""What the checker says of a trace."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

__all__ = ["TraceDiagnostic", "TraceHits", "TraceVerification"]

Index = NDArray[np.integer]


@dataclass(frozen=True, slots=True, kw_only=True)
class TraceDiagnostic:
    """One breach of one rule; each is an error.

    Args:
        code: the rule's stable code, ``DT`` and three digits (docs/exact.md).
        sample: its place in the batch. number: of the pass within the sample. slot: a slot of the sequence. ``None``
            where it does not apply.
        message: expected A, got name=value.
        remedy: what to do.
    """

    code: str
    sample: int | None
    number: int | None
    slot: int | None
    message: str
    remedy: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TraceVerification:
    """The checker's report: the first diagnostics of every rule, and how many there are in all.

    Args:
        diagnostics: at most ``cap`` of each rule, in the order of the rules.
        counts: all breaches by code, the ones left out included.
    """

    diagnostics: tuple[TraceDiagnostic, ...]
    counts: Mapping[str, int]

    @property
    def errors(self) -> int:
        """All breaches, the ones left out included."""
        return sum(self.counts.values())

    @property
    def ok(self) -> bool:
        """Whether there is none."""
        return not self.counts


@dataclass(frozen=True, slots=True, kw_only=True)
class TraceHits:
    """Breaches of one rule: a message with fields, and one array entry a breach for where it is and what is shown.

    Args:
        text: a ``str.format`` template over ``sample``, ``number``, ``slot`` and ``values``.
        sample, number, slot: where, [n] each, or ``None`` where it does not apply.
        values: what else the message shows, [n] each.
    """

    text: str
    sample: Index | None = None
    number: Index | None = None
    slot: Index | None = None
    values: Mapping[str, Index] = field(default_factory=dict)

    def __len__(self) -> int:
        columns = [
            column for column in (self.sample, self.number, self.slot, *self.values.values()) if column is not None
        ]
        return len(columns[0]) if columns else 1
