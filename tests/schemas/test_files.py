"""Plan files and their texts: round trips, endings, one text in every process."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from diagplan.planner.compiler import compile_plan
from diagplan.planner.errors import MissingExtraError
from diagplan.planner.layout import Layout
from diagplan.planner.plan import Plan, same_plan
from diagplan.planner.schedule import Diagonal
from diagplan.schemas.convert import MaskForm, plan_digest
from diagplan.schemas.files import plan_from_json, plan_to_json, read_plan, write_plan
from diagplan.schemas.verify import verify
from tests.support.documents import FORMS, value_of
from tests.support.strategies import Request, plans

LAYOUT = Layout(frames=2, rows=2, cols=3, prompt_frames=1, between_frames=1)
PLAN = compile_plan(LAYOUT, Diagonal(k=1, d=2), max_width=4, pad=(2, 4))


@pytest.mark.parametrize("form", FORMS)
@given(case=plans(frames=3, side=5))
def test_round_trip(form: MaskForm, case: tuple[Request, Plan]) -> None:
    _, plan = case
    text = plan_to_json(plan, masks=form)
    back = plan_from_json(text)
    assert same_plan(back, plan)
    assert plan_to_json(back, masks=form) == text
    assert same_plan(plan_from_json(text.encode()), plan)


@given(plans(frames=2, side=3), st.randoms(use_true_random=False))
def test_key_order_and_whitespace_do_not_matter(case: tuple[Request, Plan], random: Any) -> None:
    _, plan = case

    def shuffled(value: Any) -> Any:
        if isinstance(value, list):
            return [shuffled(entry) for entry in value]
        if not isinstance(value, dict):
            return value
        keys = list(value)
        random.shuffle(keys)
        return {key: shuffled(value[key]) for key in keys}

    text = json.dumps(shuffled(value_of(plan)), indent=random.choice((None, 0, 3, "\t")), ensure_ascii=False)
    back = plan_from_json(text)
    assert same_plan(back, plan)
    assert plan_digest(back) == plan_digest(plan)


SCRIPT = """
from diagplan.planner.compiler import compile_plan
from diagplan.planner.layout import Layout
from diagplan.planner.schedule import Diagonal
from diagplan.schemas.files import plan_to_json
layout = Layout(frames=2, rows=2, cols=3, prompt_frames=1, between_frames=1)
plan = compile_plan(layout, Diagonal(k=1, d=2), max_width=4, pad=(2, 4))
print(plan_to_json(plan), plan_to_json(plan, masks="rule"), plan.schedule)
"""


def test_texts_and_digests_are_the_same_in_every_process() -> None:
    outputs = {
        subprocess.run(
            [sys.executable, "-c", SCRIPT],
            env=os.environ | {"PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("0", "1", "4242")
    }
    assert outputs == {f"{plan_to_json(PLAN)} {plan_to_json(PLAN, masks='rule')} {PLAN.schedule}\n"}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("suffix", [".json", ".json.gz", ".json.zst"])
def test_files(tmp_path: Path, suffix: str, form: MaskForm) -> None:
    if suffix == ".json.zst":
        pytest.importorskip("zstandard")
    path = tmp_path / f"plan{suffix}"
    write_plan(PLAN, path, masks=form)
    first = path.read_bytes()
    assert same_plan(read_plan(path), PLAN)
    assert same_plan(read_plan(str(path)), PLAN)
    assert verify(path).ok
    write_plan(PLAN, path, masks=form)
    assert path.read_bytes() == first
    assert [entry.name for entry in tmp_path.iterdir()] == [path.name]
    assert first[:2] == {".json": b'{"', ".json.gz": b"\x1f\x8b", ".json.zst": b"\x28\xb5"}[suffix]


NO_ZSTD = r"^expected zstandard for \.zst files, got none\. .*Or use \.json\.gz\.$"


def test_zst_without_the_library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "zstandard", None)
    path = tmp_path / "plan.json.zst"
    with pytest.raises(MissingExtraError, match=NO_ZSTD):
        write_plan(PLAN, path)
    assert not path.exists()
    path.write_bytes(b"")
    with pytest.raises(MissingExtraError, match=NO_ZSTD):
        read_plan(path)
