"""A recipe: what is refused, which part of it decides about tokens, digests."""

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from diagplan import Diagonal, Layout, SpecError
from diagplan.adapters.options import LoadOptions
from diagplan.batch.recipe import Recipe, digest_of, file_digest
from diagplan.planner.errors import DocumentError
from diagplan.planner.policy import Policies
from diagplan.planner.speculation import Speculation

LAYOUT = Layout(frames=2, rows=14, cols=24, prompt_frames=1)


@pytest.mark.parametrize(
    "changes",
    [
        {"schedule": Diagonal(k=2)}, {"policies": Policies(proxy="above")}, {"frames": 3}, {"keep": 2}, {"seed": 1},
        {"sampling": {"temperature": 2.0}}, {"speculation": "auto"}, {"pictures": False}, {"fps": 3},
        {"options": LoadOptions(dtype="bfloat16")}, {"options": LoadOptions(context=np.ones((2, 3)))},
    ],
)  # fmt: skip
def test_what_decides_is_in_the_identity(changes: Any) -> None:
    assert Recipe(**changes).identity() != Recipe().identity()


@pytest.mark.parametrize("changes", [{"batch": 9}, {"options": LoadOptions(threads=2, device="cpu")}])
def test_what_does_not_decide_is_not(changes: Any) -> None:
    assert Recipe(**changes).identity() == Recipe().identity()
    exact = Recipe(speculation="auto")
    assert replace(exact, speculation=Speculation(window=9)).identity() == exact.identity()


def test_the_bundle_says_the_frame_delay() -> None:
    assert Recipe(schedule=Diagonal(k=2), bundle="mineworld-video").schedule_for(LAYOUT) == Diagonal(k=2, d=28)
    assert Recipe(schedule=Diagonal(k=2, d=3), bundle="mineworld-video").schedule_for(LAYOUT) == Diagonal(k=2, d=3)
    assert Recipe(schedule=Diagonal(k=2)).schedule_for(LAYOUT) == Diagonal(k=2)


@pytest.mark.parametrize("wrong", [{"batch": 0}, {"frames": 0}, {"seed": -1}, {"model": 3}, {"options": None}])
def test_values_out_of_range(wrong: Any) -> None:
    with pytest.raises(SpecError, match="expected"):
        Recipe(**wrong)


def test_a_plan_file_says_the_rest(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match=re.escape("expected plan or frames, got both.")):
        Recipe(plan=tmp_path / "plan.json", frames=3)
    with pytest.raises(DocumentError, match="cannot read"):
        Recipe(plan=tmp_path / "plan.json").identity()
    (tmp_path / "plan.json").write_bytes(b"a plan")
    assert Recipe(plan=tmp_path / "plan.json").identity()["plan"] == file_digest(tmp_path / "plan.json")


def test_digests(tmp_path: Path) -> None:
    assert digest_of({"a": [1, None]}) != digest_of({"a": [1, 0]})
    (tmp_path / "inner").mkdir()
    (tmp_path / "inner" / "file").write_bytes(b"1")
    before = file_digest(tmp_path)
    (tmp_path / "inner" / "file").rename(tmp_path / "inner" / "other")
    assert file_digest(tmp_path) != before
