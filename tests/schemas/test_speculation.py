"""Speculation documents: what is written is read again; what anybody may have written gets one kind of error."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from diagplan import Diagonal, Layout, Speculation, compile_plan
from diagplan.planner.errors import DiagplanError, DocumentError, SpecError
from diagplan.schemas.speculation import (
    read_speculation,
    speculation_from_json,
    speculation_to_json,
    write_speculation,
)

DRAFTS = ["previous-frame", "above", "left", "nearest", "proxies", "none", "plan:k=1", "plan:k=2,d=7", "plan:zipar=3"]
GOOD = json.loads(speculation_to_json(Speculation(window=36, draft="plan:k=1", adaptive=True)))


@given(
    window=st.integers(1, 1 << 25),
    draft=st.sampled_from(DRAFTS),
    across_frames=st.booleans(),
    adaptive=st.booleans(),
)
def test_what_is_written_is_read_again(window: int, draft: str, across_frames: bool, adaptive: bool) -> None:
    one = Speculation(window=window, draft=draft, across_frames=across_frames, adaptive=adaptive)
    assert speculation_from_json(speculation_to_json(one)) == one


def test_files(tmp_path: Path) -> None:
    one = Speculation(window=36, across_frames=False)
    write_speculation(one, tmp_path / "s.json")
    assert read_speculation(tmp_path / "s.json") == one
    with pytest.raises(SpecError, match=r"\.json"):
        write_speculation(one, tmp_path / "s.txt")
    with pytest.raises(DocumentError, match="cannot read"):
        read_speculation(tmp_path / "none.json")
    with pytest.raises(SpecError, match="a path"):
        read_speculation(3)  # type: ignore[arg-type]
    with pytest.raises(SpecError, match="expected speculation"):
        write_speculation("auto", tmp_path / "s.json")  # type: ignore[arg-type]


def test_few_fields_are_enough() -> None:
    few = {key: GOOD[key] for key in ("format", "version", "producer", "window")}
    assert speculation_from_json(json.dumps(few)) == Speculation(window=36)


def test_a_plan_without_a_name_is_no_document() -> None:
    plan = compile_plan(Layout(frames=1, rows=3, cols=3, lead=1), Diagonal(k=1))
    with pytest.raises(SpecError, match="expected a draft by name for a document, got a plan"):
        speculation_to_json(Speculation(window=4, draft=plan))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"window": 0}, "window"),
        ({"window": 1 << 26}, "window"),
        ({"window": 8.5}, "window"),
        ({"window": True}, "window"),
        ({"window": "36"}, "window"),
        ({"draft": "zork"}, "expected draft to be one of"),
        ({"draft": "plan:k=0"}, "k"),
        ({"draft": "plan:zipar=1,d=3"}, "expected a draft's plan such as"),
        ({"draft": "plan:" + "9" * 150}, "expected a draft's plan such as"),
        ({"draft": "x" * 10_000}, "draft"),
        ({"draft": None}, "draft"),
        ({"draft": {"plan": 1}}, "draft"),
        ({"adaptive": 1}, "adaptive"),
        ({"across_frames": "yes"}, "across_frames"),
        ({"more": 1}, "more"),
        ({"version": 2}, "expected version 1"),
        ({"format": "diagplan-plan"}, "expected a speculation document"),
        ({"producer": []}, "producer"),
    ],
)
def test_one_error_that_names_the_field(change: dict[str, Any], said: str) -> None:
    with pytest.raises(DocumentError, match=re.escape(said)) as caught:
        speculation_from_json(json.dumps(GOOD | change), name="s.json")
    assert "s.json" in str(caught.value)
    assert len(str(caught.value)) < 1500


@pytest.mark.parametrize(
    "text",
    ["", "[]", "null", "{" * 100_000, '{"format": "diagplan-speculation", "format": 1}', b"\xff\xfe", "1e999", "NaN"],
)
def test_texts_that_are_no_document(text: str | bytes) -> None:
    with pytest.raises(DocumentError):
        speculation_from_json(text)


@given(
    st.dictionaries(
        st.sampled_from(sorted(GOOD)),
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=30) | st.lists(st.integers()),
    )
)
def test_hostile_values_give_a_speculation_or_one_error(change: dict[str, Any]) -> None:
    text = json.dumps(GOOD | change)
    try:
        read = speculation_from_json(text)
    except DiagplanError as error:
        assert "\n" not in str(error)  # noqa: PT017
    else:
        assert isinstance(read, Speculation)
