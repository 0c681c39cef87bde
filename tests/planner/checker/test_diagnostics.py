"""What the checker says: how many breaches a set of hits holds, and what makes a report good."""

from dataclasses import FrozenInstanceError
from types import MappingProxyType
from typing import Any

import numpy as np
import pytest

from diagplan.planner.checker.diagnostics import Diagnostic, Hits, Verification


@pytest.mark.parametrize(
    ("columns", "breaches"),
    [
        ({}, 1),  # a breach of the plan as a whole
        ({"feed": np.array([4, 7, 9])}, 3),
        ({"step": np.array([2, 3])}, 2),
        ({"slot": np.zeros(0, dtype=np.int64)}, 0),
        ({"values": {"want": np.array([5])}}, 1),
        ({"feed": np.zeros(0, dtype=np.int64), "values": {}}, 0),
    ],
)
def test_hits_count_their_breaches(columns: dict[str, Any], breaches: int) -> None:
    assert len(Hits(text="expected a, got b", **columns)) == breaches


@pytest.mark.parametrize(("errors", "warnings", "ok"), [(0, 0, True), (0, 3, True), (1, 0, False), (2, 2, False)])
def test_a_report_is_good_without_errors(errors: int, warnings: int, ok: bool) -> None:
    report = Verification(diagnostics=(), counts=MappingProxyType({}), errors=errors, warnings=warnings)
    assert report.ok is ok


def test_diagnostics_are_values() -> None:
    fields: dict[str, Any] = {"code": "DP101", "severity": "error", "step": 1, "feed": 2, "slot": None}
    one, other = (Diagnostic(message="m.", remedy="r.", **fields) for _ in range(2))
    assert one == other
    assert len({one, other}) == 1
    with pytest.raises(FrozenInstanceError):
        one.code = "DP102"  # type: ignore[misc]
