"""The study's plots: what is drawn, and that it can be read."""

import math
import sys
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("matplotlib")

from diagplan.planner.errors import MissingExtraError
from diagplan.study import plots
from diagplan.study.plots import (
    differences_plot,
    horizon_plot,
    policies_plot,
    quality_plot,
    require_matplotlib,
    round_values,
)
from diagplan.study.results import untimed
from diagplan.study.tables import Row, rows_of
from tests.support.study import exact_result, result

LOSSES = {"base/ntp": 1.0, "base/k=2": 1.2, "base/k=1,d=5": 1.5, "base/zipar-release-w=2": 2.0, "t/k=2": 1.1}


@pytest.fixture
def figures(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The figures that are drawn, in order."""
    drawn: list[Any] = []
    draw = plots._png

    def kept(figure: Any) -> bytes:
        drawn.append(figure)
        return draw(figure)

    monkeypatch.setattr(plots, "_png", kept)
    return drawn


def rows(losses: dict[str, float]) -> list[Row]:
    return rows_of({id_: result(id_, loss=loss) for id_, loss in losses.items()})


def labels(axis: Any) -> list[str]:
    low, high = sorted(axis.get_view_interval())
    ticks = [*axis.get_major_ticks(), *axis.get_minor_ticks()]
    return [tick.label1.get_text() for tick in ticks if low <= tick.get_loc() <= high and tick.label1.get_text()]


@given(st.floats(1e-6, 1e5), st.floats(1.001, 1e4))
def test_round_values_are_few_round_and_inside(low: float, factor: float) -> None:
    values = round_values(low, low * factor)
    assert 3 <= len(values) <= 8
    assert low * (1 - 1e-6) <= values[0] < values[-1] <= low * factor * (1 + 1e-6)
    assert values == sorted(set(values))


def test_sparse_values_where_they_do() -> None:
    assert round_values(0.05, 30) == [0.1, 1.0, 10.0]
    assert round_values(45, 1000) == [50.0, 100.0, 200.0, 500.0, 1000.0]
    assert round_values(90, 110) == [90.0, 95.0, 100.0, 105.0, 110.0]


@pytest.mark.parametrize("across", ["step", "seconds"])
@pytest.mark.parametrize("ids", [list(LOSSES), ["base/ntp", "base/k=2"], ["base/ntp"]], ids=len)
def test_a_quality_plot_has_a_point_for_each_condition_and_plain_ticks(
    across: str, ids: list[str], figures: list[Any]
) -> None:
    data = quality_plot(rows({id_: LOSSES[id_] for id_ in ids}), across)
    assert data.startswith(b"\x89PNG")
    (figure,) = figures
    for axes in figure.axes:
        assert len(axes.containers) == len(ids)
        for axis in (axes.xaxis, axes.yaxis):
            assert len(labels(axis)) >= 3
            for text in labels(axis):
                float(text.replace("\u2212", "-"))  # a plain number: no 10^x, no 1e-5
                assert "e" not in text
    names = {text.get_text() for axes in figure.axes for text in axes.texts}
    assert names == {id_.removeprefix("base/") for id_ in ids if id_.startswith("base/")}


def test_both_families_are_drawn_and_exact_is_named(figures: list[Any]) -> None:
    losses = {"base/ntp": 1.0} | {f"base/k=1,d={d}": 1.5 for d in range(1, 14)}
    results = {id_: result(id_, loss=loss) for id_, loss in losses.items()}
    results["base/exact=36"] = exact_result("base/exact=36", results["base/ntp"])
    quality_plot(rows_of(results), "seconds")
    for axes in figures[0].axes:
        assert len(axes.containers) == 15
        assert {text.get_text() for text in axes.texts} == {"ntp", "exact=36"}
        (line,) = [bars.lines[0] for bars in axes.containers if bars.lines[0].get_marker() == "P"]
        assert line.get_xdata()[0] == 0.5
    assert "exact: next-token's own tokens" in [text.get_text() for text in figures[0].legends[0].get_texts()]


def test_what_was_not_measured_is_no_part_of_a_plot_of_times(figures: list[Any]) -> None:
    results = {id_: result(id_, loss=1.0) for id_ in ("base/ntp", "base/k=1", "base/k=2")}
    results["base/k=1"] = replace(results["base/k=1"], seconds=untimed())
    for across, points in (("seconds", 2), ("step", 3)):
        quality_plot(rows_of(results), across)
        assert [len(axes.containers) for axes in figures[-1].axes] == [points] * len(figures[-1].axes)


def test_policies_are_no_part_of_a_quality_plot(figures: list[Any]) -> None:
    quality_plot(rows({"base/ntp": 1.0, "policies/above,keep,hidden,causal": 2.0}), "step")
    assert [len(axes.containers) for axes in figures[0].axes] == [1] * len(figures[0].axes)


def test_policies_are_sorted_by_loss(figures: list[Any]) -> None:
    policies_plot(rows({"base/ntp": 1.0, "policies/b": 3.0, "policies/a": 4.0, "policies/c": 2.0}))
    (axes,) = figures[0].axes
    assert [label.get_text() for label in axes.get_yticklabels()] == ["c", "b", "a"]
    assert axes.get_ylim()[0] > axes.get_ylim()[1]  # the best is on top


def test_a_horizon_plot_has_a_curve_for_each_condition(figures: list[Any]) -> None:
    ids = [f"base/{number}" for number in range(12)]
    curves = {name: {id_: [place + 0.1, place + 0.2] for place, id_ in enumerate(ids)} for name in ("loss", "PSNR")}
    horizon_plot(curves)
    (figure,) = figures
    for axes, name in zip(figure.axes, curves, strict=True):
        assert axes.get_title() == name
        assert [line.get_ydata().tolist() for line in axes.lines] == list(curves[name].values())
        looks = {(line.get_color(), line.get_linestyle()) for line in axes.lines}
        assert len(looks) == 12  # told apart
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ids


@pytest.mark.parametrize(("highest", "scale"), [(0.0, 1.0), (0.004, 0.4), (1.0, 100.0)])
def test_maps_share_one_scale_that_is_never_empty(highest: float, scale: float, figures: list[Any]) -> None:
    shares = {name: np.zeros((3, 4)) for name in ("base/k=1", "base/k=2", "base/k=4", "base/k=8")}
    shares["base/k=4"][1, 2] = highest
    differences_plot(shares)
    (figure,) = figures
    maps = [axes.images[0] for axes in figure.axes if axes.images]
    assert [image.norm.vmin for image in maps] == [0] * 4
    assert [image.norm.vmax for image in maps] == [pytest.approx(scale)] * 4
    assert [axes.get_title() for axes in figure.axes if axes.images] == [
        f"{name}: {100 * share.mean():.2f}%" for name, share in shares.items()
    ]
    bar = figure.axes[-1]
    assert all(math.isclose(float(text), 0) or float(text) >= 0.01 for text in labels(bar.yaxis))


def test_without_matplotlib(monkeypatch: pytest.MonkeyPatch) -> None:
    require_matplotlib()
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(MissingExtraError, match=r"diagplan\[train\]"):
        require_matplotlib()
