"""The conditions: all of them, which are chosen, and how they are called."""

import pytest

from diagplan import Layout, NextToken, Speculation, compile_plan, verify
from diagplan.planner.errors import SpecError
from diagplan.study.conditions import (
    all_conditions,
    exact_condition,
    is_exact,
    named_speculation,
    require_labels,
    select,
    speculations_of,
)


def test_the_conditions_are_those_of_the_study() -> None:
    every = all_conditions(9, 12, ["tuned"])
    ids = [condition.id for condition in every]
    assert len(set(ids)) == len(ids) == 2 * 20 + 40
    assert {"base/exact=36", "base/exact=108", "tuned/exact=36"} <= set(ids)
    assert {"base/ntp", "tuned/ntp", "base/k=1", "base/k=2", "base/k=4", "base/k=1,d=9"} <= set(ids)
    assert {"base/zipar-w=2", "base/zipar-release-w=2", "policies/above,keep,visible,causal"} <= set(ids)
    assert len({condition.policies for condition in every if condition.group == "policies"}) == 5 * 2 * 2 * 2


def test_every_condition_is_a_valid_plan() -> None:
    layout = Layout(frames=2, rows=3, cols=5, prompt_frames=1, between_frames=2)
    for condition in all_conditions(3, 5):
        report = verify(compile_plan(layout, condition.schedule, condition.policies))
        assert report.ok, condition.id


def test_what_is_chosen_brings_what_it_is_compared_with() -> None:
    every = all_conditions(9, 12, ["tuned"])
    assert [c.id for c in select(every, ["tuned/k=2"])] == ["base/ntp", "tuned/ntp", "tuned/k=2"]
    assert next(c.id for c in select(every, ["policies/above,keep,*"])) == "base/ntp"
    assert len(select(every)) == len(every)
    with pytest.raises(SpecError, match="expected --only to name conditions"):
        select(every, ["k=2"])


@pytest.mark.parametrize("label", ["", "base", "policies", "a/b", "..", "x" * 61, "ü"])
def test_labels_are_file_names(label: str) -> None:
    with pytest.raises(SpecError, match="expected a label"):
        require_labels([label])


def test_exact_conditions_are_next_token_prediction_by_other_ways() -> None:
    every = all_conditions(9, 12, ["tuned"], ["auto", *speculations_of([24], ["left", "previous-frame"])])
    exact = [c for c in every if is_exact(c.id)]
    names = ["exact", "exact=24,left", "exact=24"]
    assert [c.id for c in exact] == [f"{label}/{name}" for label in ("base", "tuned") for name in names]
    assert all(c.schedule == NextToken() for c in exact)
    assert [c.speculation for c in exact[:3]] == ["auto", *speculations_of([24], ["left", "previous-frame"])]
    assert [c.id for c in every if c.speculation is None] == [c.id for c in all_conditions(9, 12, ["tuned"], [])]
    assert [named_speculation(c.name) for c in exact[:3]] == [c.speculation for c in exact[:3]]
    assert exact_condition("base", Speculation(window=8)).name == "exact=8"


@pytest.mark.parametrize("name", ["ntp", "exact=", "exact=0", "exact=x", "exact=36,zork", "exact=036", "exact=36,"])
def test_names_that_say_no_speculation(name: str) -> None:
    assert named_speculation(name) is None


@pytest.mark.parametrize(
    ("windows", "drafts", "said"),
    [([0], [], "window >= 1"), ([8], ["zork"], "draft to be one of"), ([8, 8], [], "got exact=8 twice")],
)
def test_windows_and_drafts_that_there_are_not(windows: list[int], drafts: list[str], said: str) -> None:
    with pytest.raises(SpecError, match=said):
        speculations_of(windows, drafts)
