"""A whole study by one call from Python."""

import re
from pathlib import Path

import pytest

pytest.importorskip("torch")
for needed in ("av", "diffusers", "matplotlib", "skimage"):
    pytest.importorskip(needed)

import diagplan.study.whole  # noqa: E402
from diagplan.planner.errors import DiagplanError  # noqa: E402
from diagplan.study.whole import study_plans  # noqa: E402
from tests.support.shallow import shallow_folder  # noqa: E402


def test_one_condition_from_python(tmp_path: Path, clips: Path) -> None:
    told: list[tuple[str, float, float]] = []
    world = str(shallow_folder())
    report = study_plans(
        world, clips, tmp_path / "study", count=1, only=["base/k=1,d=5"], repeats=1, samples=0,
        on_progress=lambda what, done, of: told.append((what, done, of)),
    )  # fmt: skip
    assert (report.clips, report.done_before) == (1, 0)
    assert report.run_now == report.conditions == 2  # next-token prediction comes along, to compare with
    assert [row.id for row in report.rows] == ["base/ntp", "base/k=1,d=5"]
    assert {path.name for path in report.written} >= {"results.json", "results.csv", "results.md"}
    assert all(path.is_file() for path in report.written)
    assert [told[0][0], told[-1][0]] == ["reading clips", "writing tables and plots"]
    passes = [(done, of) for what, done, of in told if what.startswith("replaying")]
    assert passes[-1][0] == pytest.approx(passes[-1][1])
    assert passes[-1][1] > 0
    again = study_plans(world, clips, tmp_path / "study", count=1, only=["base/k=1,d=5"], repeats=1, samples=0)
    assert (again.done_before, again.run_now) == (2, 0)
    assert [row.id for row in again.rows] == [row.id for row in report.rows]


def test_interrupted_says_what_stays(tmp_path: Path, clips: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(diagplan.study.whole, "run_study", interrupt)
    with pytest.raises(KeyboardInterrupt, match=re.escape("holds 0 of 1 conditions. Run the same again to go on.")):
        study_plans("crafter-mini", clips, tmp_path / "study", count=1, only=["base/ntp"], repeats=1)


def test_a_condition_that_there_is_not(tmp_path: Path, clips: Path) -> None:
    with pytest.raises(DiagplanError, match="nonsense"):
        study_plans("crafter-mini", clips, tmp_path / "study", count=1, only=["nonsense"])
    assert not (tmp_path / "study").exists()
