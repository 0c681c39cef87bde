"""What policies and fine-tuning do, from figures made by hand."""

import pytest

from diagplan.planner.policy import Policies
from diagplan.study.conditions import all_conditions
from diagplan.study.effects import policy_effects, tuning_effects
from diagplan.study.tables import markdown, rows_of
from tests.support.study import result


def test_what_each_policy_does_is_averaged_over_the_others() -> None:
    """A loss that is a sum of one part for each policy: the effects are those parts."""
    parts = {"previous-frame": 0.0, "above": 0.3, "keep": 0.2, "hidden": 0.0, "visible": 0.05, "causal": 0.01}
    found = {"base/k=2": result("base/k=2", loss=1.0)}
    crossed = [c for c in all_conditions(9, 12) if c.group == "policies"]
    for condition in crossed:
        values = [getattr(condition.policies, name) for name in Policies.__dataclass_fields__]
        loss = 1 + sum(parts.get(value, 0.0) for value in values)
        found[condition.id] = result(condition.id, loss=loss, policies=condition.policies)
    said = {level: one.mean for _, level, one in policy_effects(found)}
    assert said["above"] == pytest.approx(0.3)
    assert said["keep"] == pytest.approx(0.2)
    assert said["visible"] == pytest.approx(0.05)
    assert said["causal"] == pytest.approx(0.01)
    assert said["hidden"] == said["written"] == said["refresh"] == said["previous-frame"] == 0
    proxies = {id_: one for id_, one in found.items() if id_.endswith(",refresh,hidden,written")}
    assert {factor for factor, _, _ in policy_effects(proxies)} == {"proxy"}  # one policy alone is a cross too
    assert policy_effects({crossed[0].id: found[crossed[0].id]}) == []  # without the default
    del found[crossed[0].id]
    assert policy_effects(found) == []  # an incomplete cross would compare unlike things


def test_what_fine_tuning_does_is_told_from_what_more_training_does() -> None:
    """More training takes 0.1 off whatever the plan; under k = 2 fine-tuning takes off 0.2 more."""
    losses = {"base/ntp": 1.0, "base/k=2": 1.5, "base/k=4": 1.1, "t/ntp": 0.9, "t/k=2": 1.2, "t/zork": 3.0}
    found = {id_: result(id_, loss=loss) for id_, loss in losses.items()}
    made = {(one.id, one.figure): one for one in tuning_effects(found)}
    assert [id_ for id_, figure in made if figure == "loss"] == ["t/ntp", "t/k=2"]  # under plans that both had
    one = made["t/k=2", "loss"]
    means = (one.over_base.mean, one.base_gap.mean, one.tuned_gap.mean, one.change.mean)
    assert means == pytest.approx((-0.3, 0.5, 0.3, -0.2))
    assert one.change.high == pytest.approx(-0.2)  # clip by clip: their spread is gone
    assert made["t/ntp", "loss"].change.mean == 0
    text = markdown(rows_of(found), {}, [], tuning_effects(found), clips=3)
    assert "| `t/k=2` | -0.3000 [-0.3000, -0.3000] | 0.5000 [" in text
    assert "### % tokens as recorded" in text
    assert tuning_effects({"base/ntp": found["base/ntp"]}) == []
