"""What a document costs is counted before it is parsed, and real plans are far within the limits."""

import json

import pytest

from diagplan.planner.compiler import compile_plan
from diagplan.planner.errors import DocumentError
from diagplan.planner.layout import Layout
from diagplan.planner.plan import same_plan
from diagplan.planner.presets import PRESETS
from diagplan.planner.schedule import Diagonal, NextToken, Schedule
from diagplan.schemas import limits
from diagplan.schemas.files import plan_from_json, plan_to_json
from diagplan.schemas.limits import LIMITS, require_affordable
from tests.support.documents import EXPLICIT, FORMS, RULE


def test_lists_objects_keys_and_commas_have_their_price(monkeypatch: pytest.MonkeyPatch) -> None:
    text = '{"a":[1,2,{}],"b":"[,"}'
    cost = 200 * 4 + 200 * 2 + 50 * 4
    monkeypatch.setattr(limits, "MAX_COST", cost)
    require_affordable(text, "x.json")
    require_affordable(text.encode(), "x.json")
    monkeypatch.setattr(limits, "MAX_COST", cost - 1)
    for each in (text, text.encode()):
        with pytest.raises(DocumentError) as caught:
            require_affordable(each, "x.json")
        assert str(caught.value) == (
            f"expected 200 x (lists + objects) + 200 x keys + 50 x commas <= {cost - 1} in x.json, got "
            "4 lists and objects, 2 keys and 4 commas. Compile a plan of fewer frames, or a rollout of windows, "
            "and write it with masks='rule' (--masks rule)."
        )


def test_what_could_not_be_read_is_not_written(monkeypatch: pytest.MonkeyPatch) -> None:
    plan = plan_from_json(RULE)
    monkeypatch.setattr(limits, "MAX_BYTES", len(plan_to_json(plan, masks="rule")))
    plan_to_json(plan, masks="rule")
    with pytest.raises(DocumentError, match=r"^expected a text of at most \d+ bytes in the plan's document, got \d+\."):
        plan_to_json(plan)


def test_an_object_has_few_keys() -> None:
    value = json.loads(EXPLICIT)
    spare = limits.MAX_KEYS - len(value)
    for more, complaint in ((spare, f"got {spare} problem"), (spare + 1, f"an object has {limits.MAX_KEYS + 1} keys")):
        with pytest.raises(DocumentError, match=complaint):
            plan_from_json(json.dumps(value | {f"key{i}": 0 for i in range(more)}))


@pytest.mark.parametrize("name", PRESETS)
@pytest.mark.parametrize("schedule", [NextToken(), Diagonal(k=2, d=10)])
def test_every_preset_costs_a_small_part(name: str, schedule: Schedule, monkeypatch: pytest.MonkeyPatch) -> None:
    """In rule form a tenth of the limits. The explicit form of next-token prediction is the longest there is."""
    plan = compile_plan(PRESETS[name].layout, schedule)
    assert plan.feeds * plan.cache_slots <= limits.MAX_EXPLICIT_BITS // 2
    assert plan.feeds + plan.steps <= limits.MAX_EXPLICIT_ROWS // 2
    monkeypatch.setattr(limits, "MAX_COST", limits.MAX_COST // 10)
    monkeypatch.setattr(limits, "MAX_BYTES", limits.MAX_BYTES // 10)
    text = plan_to_json(plan, masks="rule")
    assert same_plan(plan_from_json(text), plan)


@pytest.mark.slow
@pytest.mark.parametrize("name", PRESETS)
@pytest.mark.parametrize("schedule", [NextToken(), Diagonal(k=2, d=10)])
def test_every_preset_is_read_in_both_forms(name: str, schedule: Schedule) -> None:
    plan = compile_plan(PRESETS[name].layout, schedule)
    for form in FORMS:
        assert same_plan(plan_from_json(plan_to_json(plan, masks=form)), plan)


@pytest.mark.slow
def test_a_million_tokens_are_read() -> None:
    plan = compile_plan(Layout(frames=390, rows=40, cols=64, prompt_frames=2), Diagonal(k=2, d=10))
    assert same_plan(plan_from_json(plan_to_json(plan, masks="rule")), plan)


def test_rows_of_the_table_name_constants() -> None:
    for row in LIMITS:
        assert row.constant is None or row.constant in limits.__all__
