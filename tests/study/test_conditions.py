"""The conditions: all of them, which are chosen, and how they are called."""

import pytest

from diagplan import Layout, compile_plan, verify
from diagplan.planner.errors import SpecError
from diagplan.study.conditions import all_conditions, require_labels, select


def test_the_conditions_are_those_of_the_study() -> None:
    every = all_conditions(9, 12, ["tuned"])
    ids = [condition.id for condition in every]
    assert len(set(ids)) == len(ids) == 2 * 18 + 40
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
