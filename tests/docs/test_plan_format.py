"""docs/plan-format.md is enough for a producer: its formulas, feeds, required fields and limits are the code's."""

import json
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from diagplan.planner.checker import verify_plan
from diagplan.planner.compiler import compile_plan
from diagplan.planner.layout import Layout
from diagplan.planner.plan import CacheInitial, Plan, same_plan
from diagplan.planner.policy import Policies, ProxyPolicy
from diagplan.planner.schedule import Diagonal, Imported, NextToken, Schedule, ScheduleName, ZipAR, cell_steps, record
from diagplan.schemas.convert import plan_digest
from diagplan.schemas.document import PlanDocument
from diagplan.schemas.files import plan_from_json, plan_to_json
from docs.make_limits import limits_table, with_table
from tests.support.strategies import PROXIES, Request, layouts, plans, schedules

Document = dict[str, Any]
PAGE = (Path(__file__).resolve().parents[2] / "docs" / "plan-format.md").read_text(encoding="utf-8")
SMALL = Layout(frames=2, rows=2, cols=3, lead=1)


def document_of(plan: Plan) -> Document:
    document: Document = json.loads(plan_to_json(plan, masks="rule"))
    return document


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What the page's python blocks define, beside the file of its sample."""
    (sample,) = re.findall(r"^```json\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    folder = tmp_path_factory.mktemp("page")
    (folder / "tiny.json").write_text(sample, encoding="utf-8")
    names: dict[str, Any] = {"__name__": "page"}
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        for block in re.findall(r"^```python\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL):
            exec(block, names)
    return names


@given(st.data())
def test_the_formulas_give_the_delays_and_the_step_of_every_cell(page: dict[str, Any], data: st.DataObject) -> None:
    layout = data.draw(layouts())
    schedule: Schedule = data.draw(schedules(layout))
    names = record(schedule, layout)
    fields = {"layout": {name: getattr(layout, name) for name in Layout.__slots__}}
    asked = {"name": names.name, "k": names.k, "d": names.d, "order": names.order}
    k, d, steps = page["schedule_steps"](fields | {"names": {"schedule": asked}})
    assert (k, d) == (names.k_in_force, names.d_in_force)
    want = cell_steps(schedule, layout)
    assert steps == {(f, r, c): want[f, r, c] for f, r, c in steps}
    assert len(steps) == want.size
    if k is not None:  # the closed form as the page writes it: F is d' where frames are in sequence
        frames = page["schedule_steps"](fields | {"names": {"schedule": asked | {"d": None}}})[1]
        assert names.steps == (layout.frames - 1) * d + frames


@given(plans(frames=3, side=5))
def test_the_names_promise_the_compilers_feeds(page: dict[str, Any], case: tuple[Request, Plan]) -> None:
    require_promised(page, case[1])


@pytest.mark.parametrize("proxy", PROXIES)
@pytest.mark.parametrize("between", [0, 2])
def test_orders_without_order_have_the_promised_feeds(page: dict[str, Any], proxy: ProxyPolicy, between: int) -> None:
    """Orders in which a row's cells come neither from the left nor before those below: every clause has work to do."""
    layout = Layout(frames=2, rows=3, cols=3, prompt_frames=2, between_frames=between, between_rows=between // 2)
    random = np.random.default_rng(0)
    for width in (None, None, None, 3) * 10:
        steps = np.unique(random.integers(0, 9, (2, 3, 3)), return_inverse=True)[1].reshape(2, 3, 3)
        policies = Policies(proxy=proxy, row_end="keep" if steps[0, 0, 0] % 2 else "refresh")
        require_promised(page, compile_plan(layout, Imported(steps=steps), policies, max_width=width))


def require_promised(page: dict[str, Any], plan: Plan) -> None:
    document = document_of(plan)
    promised: Callable[[Document], list[list[tuple[int, int, int]]]] = page["promised"]
    rows = [zip(step["source"], step["position"], step["target"], strict=True) for step in document["steps"]]
    assert promised(document) == [[feed for feed in row if feed[0] != -1] for row in rows]


# Which fields of a schedule a valid plan has, as the page's table says.

SCHEDULES: dict[str, Schedule] = {
    "next-token": NextToken(),
    "diagonal": Diagonal(k=1, d=2),
    "zipar": ZipAR(window=2),
    "zipar-llamagen": ZipAR(window=2, variant="llamagen"),
    "imported": Imported(steps=[[[0, 1, 2], [1, 2, 3]], [[2, 3, 4], [3, 4, 5]]]),
}


def table_of_fields() -> dict[str, dict[str, str]]:
    rows = re.findall(r'^\| `"([a-z-]+)"` \| ([a-z ]+) \| ([a-z ]+) \| ([a-z ]+) \| ([a-z ]+) \|$', PAGE, re.MULTILINE)
    return {
        name: {"k": k, "d": d, "k_in_force": force, "d_in_force": force, "order": order}
        for name, k, d, force, order in rows
    }


def test_the_table_names_every_schedule() -> None:
    assert list(table_of_fields()) == list(get_args(ScheduleName))


@pytest.mark.parametrize(("name", "field"), [(name, field) for name in SCHEDULES for field in table_of_fields()[name]])
def test_the_checker_demands_the_fields_that_the_page_calls_required(name: str, field: str) -> None:
    document = document_of(compile_plan(SMALL, SCHEDULES[name]))
    names = document["names"]["schedule"]
    assert verify_plan(plan_from_json(json.dumps(document))).ok
    word = table_of_fields()[name][field]
    present = names[field] is not None
    assert present == (word in ("required", "optional"))
    if word == "required":
        names[field] = None
        without = verify_plan(plan_from_json(json.dumps(document))).counts
        del names[field]  # absent means null
        assert dict(without) == dict(verify_plan(plan_from_json(json.dumps(document))).counts) == {"DP501": 1}
    elif word == "none":
        names[field] = [0] if field == "order" else 1
        assert set(verify_plan(plan_from_json(json.dumps(document))).counts) == {"DP501"}


def test_a_custom_schedule_may_have_any_fields() -> None:
    document = document_of(compile_plan(SMALL, Diagonal(k=1)))
    steps = len(document["steps"])
    for fields in ({}, {"k": 7}, {"k_in_force": 9, "d_in_force": 1}, {"order": [5], "d": 3, "label": "mine"}):
        document["names"]["schedule"] = {"name": "custom", "steps": steps} | fields
        assert verify_plan(plan_from_json(json.dumps(document))).ok
    document["names"]["schedule"] = {"name": "custom", "steps": steps + 1}
    assert set(verify_plan(plan_from_json(json.dumps(document))).counts) == {"DP502"}


def test_fields_that_may_be_absent_are_those_with_a_default() -> None:
    absent = set(re.findall(r"^\| (`[^|]*`) \|[^|]*may be absent[^|]*\|", PAGE, re.MULTILINE))
    fields = {name for row in absent for name in re.findall(r"`(\w+)`", row)}
    optional: set[str] = set()
    pending: list[Any] = [PlanDocument]
    while pending:
        model = pending.pop()
        for name, field in model.model_fields.items():
            optional |= set() if field.is_required() else {name}
            pending += [part for part in parts_of(field.annotation) if hasattr(part, "model_fields")]
    assert fields - {"masks"} == optional  # `masks`.`listed` may be absent, not masks


def parts_of(annotation: Any) -> list[Any]:
    """The types inside an annotation."""
    inner = [part for argument in get_args(annotation) for part in parts_of(argument)]
    return [annotation, *inner]


# What the cache must hold under each visibility.


@pytest.mark.parametrize(
    ("schedule", "visibility", "initial", "says"),
    [
        (Diagonal(k=1), "written", "undefined", None),
        (Diagonal(k=1), "written", "zeros", None),
        (Diagonal(k=1), "causal", "undefined", "error"),
        (Diagonal(k=1), "causal", "zeros", "warning"),
        (NextToken(), "causal", "undefined", None),
        (NextToken(), "causal", "zeros", None),
    ],
)
def test_causal_rows_that_read_unwritten_slots_need_zeros(
    schedule: Schedule, visibility: Any, initial: CacheInitial, says: str | None
) -> None:
    plan = compile_plan(SMALL, schedule, Policies(visibility=visibility))
    assert plan.cache_initial == ("zeros" if visibility == "causal" else "undefined")
    document = document_of(plan)
    document["cache"]["initial"] = initial
    report = verify_plan(plan_from_json(json.dumps(document)))
    assert {diagnostic.severity for diagnostic in report.diagnostics} == ({says} if says else set())
    assert set(report.counts) == ({"DP303"} if says else set())


def test_the_table_of_limits_is_the_codes() -> None:
    assert with_table(PAGE) == PAGE, "run: make docs"
    assert limits_table() in PAGE
    assert with_table(PAGE.replace("= 2^26", "= 5")) == PAGE
    for number, power in re.findall(r"(\d{4,})(?: bytes)? = 2\^(\d+)", limits_table()):
        assert int(number) in (2 ** int(power), 2 ** int(power) - 1)


@pytest.mark.parametrize("listed", [[0], [2, 4], range(7)])
def test_a_listed_row_that_equals_the_rules_says_nothing_new(page: dict[str, Any], listed: Sequence[int]) -> None:
    plan = compile_plan(SMALL, Diagonal(k=1))
    document = document_of(plan)
    rows = page["rule_rows"](document)
    document["masks"]["listed"] = [{"feed": feed, "runs": rows[feed]} for feed in listed]
    read = plan_from_json(json.dumps(document))
    assert same_plan(read, plan)
    assert page["digest"](document) == document["digest"] == plan_digest(read)
    document["masks"]["listed"][0]["runs"] = [0, 1, 3, 4]
    other = plan_from_json(json.dumps(document))
    assert page["digest"](document) == plan_digest(other) != document["digest"]
    assert other.listed.feed.tolist() == [listed[0]]
