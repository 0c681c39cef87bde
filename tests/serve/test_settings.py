"""Limits out of range are refused."""

from typing import Any

import pytest

from diagplan.planner.errors import SpecError
from diagplan.serve.settings import Settings


@pytest.mark.parametrize(
    "wrong",
    [
        {"queue": 0}, {"keep_results": 0}, {"max_body": 0}, {"max_frames": 0}, {"keep_hours": 0}, {"rate": -1.0},
        {"rate": float("nan")}, {"body_seconds": 0}, {"queue": "many"},
    ],
)  # fmt: skip
def test_limits(wrong: Any) -> None:
    with pytest.raises(SpecError, match=f"expected {next(iter(wrong))}"):
        Settings(**wrong)


def test_left_out() -> None:
    assert (Settings().queue, Settings().rate, Settings().token) == (1000, None, None)
