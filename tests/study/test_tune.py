"""From a budget to a verified plan."""

from pathlib import Path
from typing import Any

import pytest

from diagplan.planner.budget import parse_budget
from diagplan.planner.checker import verify_plan
from diagplan.planner.cost import plan_cost
from diagplan.planner.errors import DocumentError, SpecError
from diagplan.planner.layout import Layout
from diagplan.planner.policy import Policies
from diagplan.planner.tuning import Accepted
from diagplan.schemas.curve import curve_of
from diagplan.study.tune import tune_plan
from tests.support.curves import document, judged_row, seconds_of_pass, write_study

LAYOUT = Layout(frames=7, rows=9, cols=12, prompt_frames=1, between_frames=3)
STUDY = [
    judged_row("base/ntp", 0.0, 0.0, 0.0),
    judged_row("base/k=4", 0.001, 0.0, 0.002),
    judged_row("base/k=2", 0.004, 0.001, 0.008),
    judged_row("base/k=1", 0.009, 0.004, 0.02),
]


def test_the_plan_is_within_the_budget_and_verified() -> None:
    tuned = tune_plan(LAYOUT, document(), parse_budget("30 fps"))
    best = tuned.choice.best
    assert best is not None
    assert tuned.plan is not None
    assert verify_plan(tuned.plan).ok
    assert plan_cost(tuned.plan, curve_of(document())) == best.cost
    assert best.cost.seconds <= 7 / 30
    within = [one for one in tuned.priced if one.cost.seconds <= 7 / 30]
    assert best.cost.passes == max(one.cost.passes for one in within)
    assert best in tuned.front
    assert tuned.losses is None


def test_a_study_decides_within_its_plans(tmp_path: Path) -> None:
    folder = write_study(tmp_path, STUDY)
    limits: list[tuple[str, float | None, str]] = [
        ("9 s/clip", None, "next-token"), ("0.6 s/clip", None, "k=4"), ("fastest", 0.01, "k=2"),
        ("fastest", 0.02, "k=1"),
    ]  # fmt: skip
    for budget, most, name in limits:
        tuned = tune_plan(LAYOUT, document(), parse_budget(budget), study=folder, max_loss=most)
        assert tuned.choice.best is not None
        assert tuned.choice.best.candidate.name == name
    tuned = tune_plan(LAYOUT, document(), parse_budget("fastest"), study=folder)
    assert [one.candidate.name for one in tuned.front] == ["k=1", "k=2", "k=4", "next-token"]
    none = tune_plan(LAYOUT, document(), parse_budget("0.4 s/clip"), study=folder, max_loss=0.003)
    assert none.plan is None
    assert none.choice.limits.startswith("Quality limits")


def test_a_study_of_another_model_is_refused(tmp_path: Path) -> None:
    from diagplan.worlds import SHIPPED

    world = SHIPPED["crafter-mini"]
    committed = Path(__file__).parents[2] / "docs" / "study"
    assert tune_plan(LAYOUT, document(), parse_budget("1 fps"), study=committed, world=world).plan is not None
    with pytest.raises(DocumentError, match="expected a study of the same model, got one of crafter-mini with other"):
        tune_plan(LAYOUT, document(), parse_budget("1 fps"), study=write_study(tmp_path, STUDY), world=world)


def test_where_feeds_cost_a_width_cap_can_win() -> None:
    def steep(width: int, length: int) -> float:  # beyond 8 feeds each costs a hundred times as much
        return seconds_of_pass(width, length, launch=1e-3, feed=1e-5) + 1e-3 * max(0, width - 8)

    tuned = tune_plan(LAYOUT, document(steep), parse_budget("fastest"))
    assert tuned.choice.best is not None
    assert tuned.choice.best.candidate.max_width is not None
    flat = tune_plan(LAYOUT, document(lambda *shape: 1e-3 + 1e-9 * shape[0]), parse_budget("fastest"))
    assert flat.choice.best is not None
    assert flat.choice.best.candidate.max_width is None


def test_several_policies_are_tried() -> None:
    keep = Policies(row_end="keep")
    tuned = tune_plan(LAYOUT, document(), parse_budget("9 s/clip"), policies=[Policies(), keep])
    alone = tune_plan(LAYOUT, document(), parse_budget("9 s/clip"))
    assert {one.candidate.policies for one in tuned.priced} == {Policies(), keep}
    assert len(tuned.priced) > len(alone.priced)


def test_policies_speculation_and_latency() -> None:
    keep = Policies(row_end="keep")
    exact = tune_plan(
        LAYOUT, document(), parse_budget("9 s/clip"), policies=keep, accepted=[Accepted(window=36, mean=30)]
    )  # fmt: skip
    assert exact.choice.best is not None
    assert exact.choice.best.candidate.speculation is not None
    assert exact.plan is not None
    assert exact.plan.schedule.name == "next-token"
    first = tune_plan(LAYOUT, document(), parse_budget("9 s/clip"), policies=keep, latency="first-frame")
    assert first.choice.best is not None
    assert first.choice.best.cost.first_frame_seconds == min(one.cost.first_frame_seconds for one in first.priced)
    assert {one.candidate.policies for one in first.priced} == {keep}


def test_what_contradicts_itself_is_refused() -> None:
    wrong: Any = "curve.json"
    with pytest.raises(SpecError, match="expected document to be a CurveDocument"):
        tune_plan(LAYOUT, wrong, parse_budget("1 fps"))
    with pytest.raises(SpecError, match="expected budget to be a Budget"):
        tune_plan(LAYOUT, document(), wrong)
    with pytest.raises(SpecError, match="expected latency to be clip or first-frame"):
        tune_plan(LAYOUT, document(), parse_budget("1 fps"), latency=wrong)
    with pytest.raises(SpecError, match="expected a study with max_loss"):
        tune_plan(LAYOUT, document(), parse_budget("1 fps"), max_loss=0.1)
    with pytest.raises(DocumentError, match="1024 positions where"):
        tune_plan(Layout(frames=9, rows=14, cols=24, prompt_frames=1), document(), parse_budget("1 fps"))
