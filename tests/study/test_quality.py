"""What a study says of plans, read from its folder."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from diagplan.planner.errors import DocumentError
from diagplan.planner.front import Loss
from diagplan.planner.layout import Layout
from diagplan.planner.policy import Policies
from diagplan.planner.schedule import Diagonal, NextToken
from diagplan.planner.tuning import Accepted, price
from diagplan.study.quality import losses_for, read_judged, world_digest
from tests.support.curves import curve, judged_row, write_study

LAYOUT = Layout(frames=7, rows=9, cols=12, prompt_frames=1, between_frames=3)
COMMITTED = Path(__file__).parents[2] / "docs" / "study"
ROWS = [judged_row("base/ntp", 0.0, 0.0, 0.0), judged_row("base/k=2", 0.004, 0.001, 0.008), judged_row("own/k=1", 0.5)]


def test_the_committed_study_is_read() -> None:
    judged = read_judged(COMMITTED, LAYOUT)
    assert (judged.model, judged.frames, judged.clips) == ("crafter-mini", 7, 64)
    assert judged.losses[NextToken(), Policies()] == Loss(mean=0, low=0, high=0)
    two = judged.losses[Diagonal(k=2), Policies()]
    assert two.low is not None
    assert two.low < two.mean < two.most < 0.01
    assert len(judged.losses) > 50
    assert read_judged(COMMITTED, LAYOUT, label="k2").losses[Diagonal(k=2), Policies()] != two


def test_candidates_have_the_loss_of_the_plan_whose_tokens_they_give(tmp_path: Path) -> None:
    judged = read_judged(write_study(tmp_path, ROWS), LAYOUT)
    priced = price(LAYOUT, curve(shape_seconds=1e-3), accepted=[Accepted(window=9, mean=3)])
    losses = losses_for(priced, judged)
    names = {candidate.name for candidate in losses}
    assert {"next-token", "next-token exact, window 9", "k=2"} <= names
    assert any(name.startswith("k=2 padded") for name in names)
    assert not any("cap" in name and name.startswith("k=") for name in names)  # other plans, which nobody judged
    assert not any(name.startswith("k=1") for name in names)  # of another model
    assert {losses[one.candidate].mean for one in priced if one.candidate.schedule == NextToken()} == {0.0}


def test_exact_conditions_have_no_loss_of_their_own(tmp_path: Path) -> None:
    exact = [judged_row("base/exact", 9.0), judged_row("base/exact=24,above", 9.0)]
    assert read_judged(write_study(tmp_path, [*exact, *ROWS]), LAYOUT) == read_judged(
        write_study(tmp_path / "plain", ROWS), LAYOUT
    )


@pytest.mark.parametrize(
    ("rows", "settings", "message"),
    [
        ([], {}, "expected a study that has judged plans in"),
        ({}, {}, "expected a study that has judged plans in"),
        ([3], {}, "expected the rows of a study in"),
        ([{"id": "base/k=2"}], {}, "expected the rows of a study in"),
        ([judged_row("base/k=2", None)], {}, "expected a study with losses of base's plans in"),
        ([judged_row("own/k=2", 1.0)], {}, "expected a study with losses of base's plans in"),
        ([judged_row("base/k=2,d=999", 0.1)], {}, "expected a study of 9 x 12 tokens a frame in"),
        ([judged_row("base/k=2", float("nan"))], {}, "expected a study with losses of base's plans in"),
        (ROWS, {"format": "other"}, "expected study.json of a study in"),
        (ROWS, {"frames": "7"}, "expected study.json of a study in"),
    ],
)
def test_other_folders_get_one_error(tmp_path: Path, rows: Any, settings: dict[str, Any], message: str) -> None:
    with pytest.raises(DocumentError, match=re.escape(message)):
        read_judged(write_study(tmp_path, rows, **settings), LAYOUT)


def test_folders_without_a_study(tmp_path: Path) -> None:
    with pytest.raises(DocumentError, match="cannot read"):
        read_judged(tmp_path, LAYOUT)
    (tmp_path / "results.json").write_text("[" * 10_000)
    with pytest.raises(DocumentError, match="expected a JSON object of a study"):
        read_judged(tmp_path, LAYOUT)
    (tmp_path / "results.json").write_text("not json")
    with pytest.raises(DocumentError, match="expected a JSON object of a study"):
        read_judged(tmp_path, LAYOUT)


def test_a_study_knows_its_model_by_its_files(tmp_path: Path) -> None:
    from diagplan.worlds import SHIPPED

    assert world_digest(SHIPPED["crafter-mini"]) == json.loads((COMMITTED / "study.json").read_text())["weights"]
    with pytest.raises(DocumentError, match="Is it a world model's folder"):
        world_digest(tmp_path)
