"""The picture of the front."""

import math
from pathlib import Path

import pytest

pytest.importorskip("matplotlib")

from diagplan.planner.budget import Budget, parse_budget
from diagplan.planner.layout import Layout
from diagplan.study.front_plot import front_plot
from diagplan.study.tune import tune_plan
from tests.support.curves import document, judged_row, write_study

LAYOUT = Layout(frames=7, rows=9, cols=12, prompt_frames=1, between_frames=3)


def test_as_svg_it_names_the_plan_that_is_taken_and_the_budget() -> None:
    tuned = tune_plan(LAYOUT, document(), parse_budget("20 fps"))
    text = front_plot(tuned, title="a & b", within=0.35, form="svg").decode()
    assert tuned.choice.best is not None
    for words in (f"taken: {tuned.choice.best.candidate.name}", "budget", "a &amp; b", "forward passes"):
        assert f"<!-- {words} -->" in text
    again = front_plot(tuned, title="a & b", within=0.35, form="svg").decode()
    assert len(again) == len(text)


def test_with_a_study_it_shows_losses_and_intervals(tmp_path: Path) -> None:
    rows = [judged_row("base/ntp", 0.0, 0, 0), judged_row("base/k=2", 0.004, 0.001, 0.008), judged_row("base/k=1", 3.0)]
    tuned = tune_plan(LAYOUT, document(), Budget(seconds=math.inf), study=write_study(tmp_path, rows), max_loss=0.01)
    text = front_plot(tuned, title="x", max_loss=0.01, form="svg").decode()
    assert "<!-- taken: k=2 -->" in text
    assert "<!-- loss over next-token prediction's, nats a token -->" in text


@pytest.mark.parametrize("latency", ["clip", "first-frame"])
def test_png_with_nothing_within_the_budget(latency: str) -> None:
    tuned = tune_plan(LAYOUT, document(), parse_budget("9000 fps"))
    picture = front_plot(tuned, title="x", within=7 / 9000, latency="first-frame" if latency != "clip" else "clip")
    assert picture.startswith(b"\x89PNG")
    assert len(picture) > 10_000
