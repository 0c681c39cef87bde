"""From options to a study."""

from pathlib import Path

import pytest

from diagplan.planner.errors import SpecError
from diagplan.study.setup import parse_tuned


def test_tuned_models_by_label() -> None:
    assert parse_tuned(["a=x", "b=y=z"]) == {"a": Path("x"), "b": Path("y=z")}
    for wrong in (["a"], ["a="], ["a=x", "a=y"]):
        with pytest.raises(SpecError):
            parse_tuned(wrong)
