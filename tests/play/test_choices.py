"""Plans by name: files beside schedules, and which comes first."""

from pathlib import Path

import pytest

pytest.importorskip("torch")

from diagplan import Diagonal, Layout, NextToken, compile_plan, write_plan
from diagplan.planner.errors import DocumentError
from diagplan.play.choices import Choice, choices_of

PLAN = compile_plan(Layout(frames=2, rows=3, cols=4, prompt_frames=1), Diagonal(k=2))


def test_names_and_order(tmp_path: Path) -> None:
    names = ("mine.json", "k=1.json.gz", "<script>\u202e.json", "x" * 90 + ".json")
    for name in names:
        write_plan(PLAN, tmp_path / name)
    files = [tmp_path / name for name in (*names, names[0])]
    made = choices_of([1], files, exact=False)
    assert list(made) == ["mine", "k=1 (2)", "<script>?", "x" * 40, "mine (2)", "k=1", "exact", "next-token"]
    assert made["mine"] == made["mine (2)"] == Choice(plan=PLAN)
    assert made["k=1"] == Choice(schedule=Diagonal(k=1))
    assert made["exact"] == Choice(schedule=NextToken(), speculation="auto")
    assert next(iter(choices_of([1], files, exact=True))) == "exact"


def test_a_file_that_is_no_plan(tmp_path: Path) -> None:
    (tmp_path / "plan.json").write_text("{}")
    with pytest.raises(DocumentError):
        choices_of([], [tmp_path / "plan.json"], exact=True)
