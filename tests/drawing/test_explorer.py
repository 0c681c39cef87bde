"""The explorer's page: what it holds of a plan, what it refuses, and that nothing in a plan becomes markup."""

import base64
import json
import re
from dataclasses import fields, replace
from html import unescape
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from diagplan import Diagonal, Explorer, Layout, NextToken, Plan, SpecError, compile_plan, preset_layout, show
from diagplan.drawing.explorer import MOST_BYTES, varints
from diagplan.drawing.readout import read_out
from diagplan.planner.columns import MaskRows
from tests.support.strategies import plans

HOSTILE = "</script><script>alert(1)</script><img src=x onerror=alert(2)><!--"
LAYOUT = Layout(frames=2, rows=3, cols=4, prompt_frames=1, between_frames=2)


def column(text: str) -> list[int]:
    """What ``varints`` wrote, read as the page does."""
    values, value, unit, last = [], 0, 1, 0
    for byte in base64.b64decode(text):
        value += (byte & 127) * unit
        unit *= 128
        if byte < 128:
            last += -(value + 1) // 2 if value % 2 else value // 2
            values.append(last)
            value, unit = 0, 1
    return values


def data_of(page: str) -> Any:
    """The JSON of a page."""
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', page, re.DOTALL)
    assert found is not None
    return json.loads(found[1])


@given(st.lists(st.integers(-(2**31), 2**40)))
def test_varints_come_back(values: list[int]) -> None:
    assert column(varints(np.array(values, dtype=np.int64))) == values


@given(plans().map(lambda drawn: drawn[1]))
def test_the_page_holds_the_plan(plan: Plan) -> None:
    (held,) = data_of(show(plan).html())["plans"]
    for name in ("source", "position", "slot", "target"):
        assert column(held[name]) == getattr(plan, name).tolist()
    assert column(held["offsets"]) == plan.step_offsets.tolist()
    assert column(held["listed"]) == plan.listed.feed.tolist()
    assert column(held["runs"]) == plan.listed.runs.ravel().tolist()
    assert column(held["listedOffsets"]) == plan.listed.offsets.tolist()
    assert held["prefill"] == read_out(plan).prefill
    assert (held["cacheSlots"], held["positions"]) == (plan.cache_slots, plan.positions)
    assert held["hidden"] is (plan.policies.proxy_kv == "hidden")


def test_the_cosmos_plan_is_small() -> None:
    page = show(compile_plan(preset_layout("cosmos"), Diagonal(k=2, d=10))).html()
    assert len(page.encode()) < 150_000


def test_nothing_is_fetched() -> None:
    page = show(compile_plan(LAYOUT, Diagonal(k=1))).html()
    assert re.findall(r"(?:src|href)=|https?:|url\(|@import", page) == []
    assert "default-src 'none'" in page


def hostile_plans() -> list[tuple[str, Plan]]:
    """A plan for every text that it holds, with markup in its place."""
    plan = compile_plan(LAYOUT, Diagonal(k=1))
    found = []
    for part in ("schedule", "policies"):
        for field in fields(getattr(plan, part)):
            value = getattr(getattr(plan, part), field.name)
            if isinstance(value, str) or field.name == "label":
                changed = replace(getattr(plan, part))
                object.__setattr__(changed, field.name, HOSTILE)
                found.append((f"{part}.{field.name}", replace(plan, **{part: changed})))
    imported = replace(plan.schedule, name="custom", label=HOSTILE)
    found.append(("a custom label", replace(plan, schedule=imported)))
    found.append(("cache_initial", replace(plan, cache_initial=HOSTILE)))  # type: ignore[arg-type]
    return found


@pytest.mark.parametrize(("field", "plan"), hostile_plans(), ids=lambda value: value if isinstance(value, str) else "")
def test_markup_in_a_plan_stays_text(field: str, plan: Plan) -> None:
    clean = show(compile_plan(LAYOUT, Diagonal(k=1)))
    for dirty in (show(plan), Explorer(plan=plan, names=(HOSTILE,)), show(plan, plan, names=(HOSTILE, HOSTILE))):
        page = dirty.html()
        for tag in ("<script", "</script", "<img", "<!--"):
            assert page.lower().count(tag) == clean.html().lower().count(tag), f"{tag} of {field}"
        framed = dirty._repr_html_()
        assert framed.count("<") == 4, "a paragraph and a frame"
        data_of(page)


def test_the_label_is_shown() -> None:
    plan = compile_plan(LAYOUT, Diagonal(k=1))
    plan = replace(plan, schedule=replace(plan.schedule, name="custom", label="<b>mine</b>"))
    page = show(plan).html()
    assert data_of(page)["title"].startswith("order <b>mine</b>")
    assert "<title>order &lt;b&gt;mine" in page


def test_a_name_that_is_no_text() -> None:
    page = show(compile_plan(LAYOUT, Diagonal(k=1)), names=("a\udcff.json",)).html()
    page.encode()


def test_two_plans() -> None:
    one, other = compile_plan(LAYOUT, Diagonal(k=1)), compile_plan(LAYOUT, NextToken())
    data = data_of(show(one, other, names=("a.json", "b.json")).html())
    assert [plan["title"] for plan in data["plans"]] == [
        "a.json: diagonal decoding, k=1, frames in sequence",
        "b.json: next-token decoding",
    ]
    with pytest.raises(SpecError, match="expected plans of one layout side by side"):
        show(one, compile_plan(replace(LAYOUT, frames=1), NextToken()))


def test_a_notebook_shows_a_plan() -> None:
    plan = compile_plan(LAYOUT, Diagonal(k=1))
    shown = plan._repr_html_()
    assert "&lt;Plan diagonal(k=1)" in shown
    assert 'sandbox="allow-scripts"' in shown
    page = unescape(shown.split('srcdoc="')[1].rpartition('"')[0])
    assert page == show(plan).html(small=True)
    assert data_of(page)["small"] is True


def test_what_is_too_large_says_what_to_do() -> None:
    plan = compile_plan(preset_layout("mc-ar", frames=120), NextToken())
    with pytest.raises(
        SpecError, match=r"expected a plan of at most 40,000 slots for an explorer.* Compile fewer"
    ) as e:
        show(plan)
    assert "diagplan show PLAN --frame 0" in str(e.value)
    assert "Compile fewer" in plan._repr_html_()
    small = compile_plan(LAYOUT, NextToken())
    many = np.arange(1_200_000, dtype=np.int64).reshape(-1, 2) % 1000 * 3
    listed = MaskRows(feed=np.array([0]), offsets=np.array([0, len(many)]), runs=many.astype(np.int32))
    with pytest.raises(SpecError, match=f"expected a page of at most {MOST_BYTES:,} bytes"):
        show(replace(small, listed=listed))


def test_arguments_of_other_kinds(tmp_path: Path) -> None:
    plan = compile_plan(LAYOUT, NextToken())
    for call in (
        lambda: show("plan.json"),  # type: ignore[arg-type]
        lambda: show(plan, "b.json"),  # type: ignore[arg-type]
        lambda: show(plan, names="ab"),  # type: ignore[arg-type]
        lambda: show(plan).save(tmp_path / "plan.svg"),
    ):
        with pytest.raises(SpecError, match="expected"):
            call()
    show(plan).save(tmp_path / "plan.html")
    assert (tmp_path / "plan.html").read_text().startswith("<!doctype html>")


def test_a_damaged_plan_is_shown_too() -> None:
    plan = compile_plan(LAYOUT, Diagonal(k=1))
    offsets = plan.step_offsets.copy()
    offsets[[2, 3]] = offsets[[3, 2]]
    damaged = replace(plan, target=np.full_like(plan.target, 10**6), step_offsets=offsets)
    assert "cells are never generated" in show(damaged).html()
