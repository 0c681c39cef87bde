"""The study's results, tables and effects, from figures made by hand."""

import re
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from diagplan.planner.errors import DocumentError
from diagplan.planner.policy import Policies
from diagplan.study.conditions import all_conditions
from diagplan.study.effects import policy_effects, tuning_effects
from diagplan.study.results import Result, StudyFolder
from diagplan.study.tables import csv_text, markdown, rows_of


def result(id_: str, *, loss: float, policies: Policies | None = None) -> Result:
    chosen = policies or Policies()
    curve = [[loss, loss + 0.1], [loss + 0.2, loss + 0.3], [loss, loss]]
    plan = {"steps": 10, "tokens": 20, "frames": 2, "digest": id_}
    plan |= {"policies": {name: getattr(chosen, name) for name in Policies.__dataclass_fields__}}
    return Result(
        id=id_, bound={"seed": 0}, plan=plan, seconds={"single": [1.0, 2.0, 4.0], "batched": 3.0, "batch": 2},
        curves=dict.fromkeys(("loss", "equal_truth", "equal_ntp", "error", "ssim"), curve),
        counted=[2, 0, 2], followed=[1, 0, 2], single={"frechet_tokenizer": 0.5},
        extra={"fvd": {"of": "x", "value": 7.0}},
    )  # fmt: skip


def test_rows_are_means_over_clips() -> None:
    rows = rows_of({"base/ntp": result("base/ntp", loss=1.0), "base/k=2": result("base/k=2", loss=1.5)})
    row = rows[1]
    assert (row.step, row.seconds, row.fps, row.tp, row.faster) == (10, 2.0, 1.0, 10.0, 1.0)
    assert row.figures["loss"].mean == pytest.approx(1.5 + (0.05 + 0.25 + 0) / 3)
    more = row.figures["loss_more"]
    assert (more.low, more.mean, more.high) == pytest.approx((0.5, 0.5, 0.5))  # paired: the clips' spread is gone
    assert row.figures["followed"].mean == 0.75  # of all moves, not the mean of shares
    assert row.single == {"frechet_tokenizer": 0.5, "fvd": 7.0}
    text = markdown(rows, {"model": "m"}, [], [], clips=3)
    assert re.search(r"^\| `k=2` \| 10 \| 2\.000 \| 1\.00 \| 10 \|", text, re.MULTILINE)
    lines = csv_text(rows).splitlines()
    assert len({line.count(",") for line in lines}) == 1
    assert lines[0].endswith("frechet_tokenizer,fvd")


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


def test_results_come_back_and_strangers_are_refused(tmp_path: Path) -> None:
    folder = StudyFolder(tmp_path / "s", {"seed": 0, "tuned": {}})
    one = result("base/k=2", loss=1.0)
    assert folder.read("base/k=2", {"seed": 0}) is None
    folder.write(one)
    assert folder.read("base/k=2", {"seed": 0}) == one
    with pytest.raises(DocumentError, match="with other seed"):
        folder.read("base/k=2", {"seed": 1})
    path = tmp_path / "s" / "conditions" / "base" / "k=2.json"
    shutil.copy(path, path.with_name("k=4.json"))
    with pytest.raises(DocumentError, match="with other id"):
        folder.read("base/k=4", {"seed": 0})
    for text, said in (("{", "a JSON object"), ("{}", "Remove it to run the condition")):
        path.write_text(text)
        with pytest.raises(DocumentError, match=said):
            folder.read("base/k=2", {"seed": 0})
    with pytest.raises(DocumentError, match="cannot read the tokens"):
        folder.read_tokens("base/k=2")
    tokens = np.arange(24).reshape(1, 2, 3, 4)
    folder.write_tokens("base/k=2", tokens)
    np.testing.assert_array_equal(folder.read_tokens("base/k=2"), tokens)
    assert replace(one, id="x") != one
