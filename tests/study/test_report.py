"""The report: which conditions are in the pictures, and what the files hold."""

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

pytest.importorskip("matplotlib")

from diagplan.study import report
from diagplan.study.report import pictured, write_report, write_samples
from diagplan.study.results import Result, StudyFolder, untimed
from tests.support.study import exact_result, result

IDS = ["base/ntp", "base/k=2", "base/k=1,d=5", "t/ntp", "t/k=2", "policies/above,keep,hidden,causal"]


@pytest.fixture
def results() -> dict[str, Result]:
    return {id_: result(id_, loss=1 + place / 10) for place, id_ in enumerate(IDS)}


@pytest.fixture
def folder(tmp_path: Path) -> StudyFolder:
    """A folder with tokens for all: condition i differs from its own model's next-token prediction in one cell of i."""
    held = StudyFolder(tmp_path / "s", {"tuned": {}})
    for place, id_ in enumerate(IDS):
        tokens = np.full((3, 2, 2, 6), 10 * id_.startswith("t/"))
        if not id_.endswith("/ntp"):
            tokens[:, :, 1, place] += 1
        held.write_tokens(id_, tokens)
    return held


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> dict[str, list[str]]:
    """What each plot was given."""
    seen: dict[str, list[str]] = {}

    def spy(name: str, ids: Any) -> None:
        monkeypatch.setattr(report, name, lambda given, *_: (seen.setdefault(name, list(ids(given))) and b"") or b"")

    for name in ("quality_plot", "policies_plot"):
        spy(name, lambda rows: (row.id for row in rows))
    spy("horizon_plot", lambda curves: curves["loss"])
    spy("differences_plot", lambda shares: shares)
    return seen


def test_a_plot_of_times_needs_times(
    folder: StudyFolder, results: dict[str, Result], drawn: dict[str, list[str]]
) -> None:
    bare = {id_: replace(one, seconds=untimed()) for id_, one in results.items()}
    names = {path.name for path in write_report(folder, bare, {}, {}, seed=0)[1]}
    assert "quality-passes.png" in names
    assert "quality-time.png" not in names
    some = bare | {"base/k=2": results["base/k=2"]}
    assert "quality-time.png" in {path.name for path in write_report(folder, some, {}, {}, seed=0)[1]}


def test_all_are_drawn_where_nobody_asked(
    folder: StudyFolder, results: dict[str, Result], drawn: dict[str, list[str]]
) -> None:
    rows, written = write_report(folder, results, {}, {}, seed=0)
    assert [row.id for row in rows] == IDS
    assert all(path.is_file() for path in written)
    assert drawn["quality_plot"] == drawn["policies_plot"] == IDS
    assert drawn["horizon_plot"] == ["base/ntp", "base/k=2", "t/ntp", "t/k=2"]
    assert drawn["differences_plot"] == ["base/k=2", "base/k=1,d=5"]


@pytest.mark.parametrize(
    "asked",
    [["base/ntp", "base/k=1,d=5"], ["base/ntp", "t/ntp", "t/k=2"], ["base/ntp", IDS[-1]], ["base/ntp"]],
    ids=lambda asked: asked[-1],
)
def test_what_was_asked_for_is_drawn_and_nothing_else(
    asked: list[str], folder: StudyFolder, results: dict[str, Result], drawn: dict[str, list[str]]
) -> None:
    rows, written = write_report(folder, results, {}, {}, seed=0, asked=asked)
    assert [row.id for row in rows] == IDS  # the tables hold all
    assert drawn["quality_plot"] == drawn["horizon_plot"] == asked
    others = [id_ for id_ in asked if not id_.endswith("/ntp")]
    assert drawn.get("differences_plot", []) == others
    names = {path.name for path in written}
    assert ("policies.png" in names) is ("policies_plot" in drawn) is (IDS[-1] in asked)
    assert ("differences.png" in names) is bool(others)
    said = json.loads((folder.folder / "results.json").read_text())
    assert [row["id"] for row in said["rows"]] == IDS
    assert list(said["differing"]) == others
    for id_, share in said["differing"].items():
        expected = np.zeros((2, 6))
        expected[1, IDS.index(id_)] = 1  # against its own model: of another's every token differs
        np.testing.assert_array_equal(share, expected)


def test_exact_conditions_are_drawn_where_they_differ(
    folder: StudyFolder, results: dict[str, Result], drawn: dict[str, list[str]]
) -> None:
    exact = "base/exact=36"
    both = {**results, exact: exact_result(exact, results["base/ntp"])}
    write_report(folder, both, {}, {}, seed=0, asked=["base/ntp", exact, "base/k=2"])
    assert drawn["quality_plot"] == ["base/ntp", "base/k=2", exact]
    assert drawn["horizon_plot"] == ["base/ntp", "base/k=2"]  # its curves are next-token prediction's
    assert drawn["differences_plot"] == ["base/k=2"]
    said = json.loads((folder.folder / "results.json").read_text())
    assert said["exact"] == {exact: {"window": 36, "draft": "previous-frame", "adaptive": False, "passes": [2, 2, 5]}}
    assert [row["id"] for row in said["rows"]][-1] == exact


def test_a_picture_holds_so_many() -> None:
    results: Any = {f"base/{number}": None for number in range(20)}
    usual = ["base/7", "base/3", "base/99"]
    assert pictured(results, None, usual, 5) == ["base/7", "base/3"]
    assert pictured(results, ["base/4", "base/2", "base/99"], usual, 5) == ["base/2", "base/4"]
    assert pictured(results, list(results), usual, 5) == ["base/7", "base/3"]
    assert pictured(results, list(results)[8:], usual, 5) == [f"base/{number}" for number in range(8, 13)]
    assert pictured(results, [], usual, 5) == []


def test_samples_show_what_was_asked_for(
    folder: StudyFolder, results: dict[str, Result], monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("av")
    from diagplan.video.files import read_video

    frames = np.random.default_rng(0).integers(0, 256, (3, 3, 32, 48, 3), dtype=np.uint8)
    tokens = np.zeros((3, 3, 2, 3), np.int64)
    material = SimpleNamespace(frames=frames, tokens=tokens, given=1, given_frames=1, names=[("noop", "do")] * 3)
    study: Any = SimpleNamespace(material=material, worlds={"base": None})
    shown: list[dict[str, str]] = []
    from diagplan.study.demonstration import side_by_side

    def spy(ways: Any, titles: Any, *rest: Any) -> Any:
        shown.append(titles)
        return side_by_side(ways, titles, *rest)

    monkeypatch.setattr(report, "side_by_side", spy)
    monkeypatch.setattr(
        report, "made_frames", lambda _world, _prompt, tokens: np.zeros((*tokens.shape[:2], 32, 48, 3), np.uint8)
    )
    slow = {**results, "base/k=2": replace(results["base/k=2"], plan={**results["base/k=2"].plan, "steps": 99})}
    written = write_samples(study, folder, slow, count=2, asked=["base/ntp", "base/k=2"])
    assert [path.name for path in written] == ["clip-000.mp4", "clip-001.mp4"]
    assert [title for title in shown[0].values() if title] == ["recorded", "base/ntp, 10 passes", "base/k=2, 99 passes"]
    assert len(read_video(written[0])) == 3  # the prompt and two frames
    shown.clear()
    write_samples(study, folder, slow, count=1)
    assert [id_ for id_, title in shown[0].items() if title] == ["recorded", "base/ntp", "base/k=2", "t/ntp", "t/k=2"]
