"""Timing passes, with a clock that only the model moves."""

import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from diagplan.backends.errors import NumericError  # noqa: E402
from diagplan.backends.measure import Measured, TimedPoint, grid_points, measure_passes  # noqa: E402
from diagplan.backends.prepared import STATIC_WIDTHS  # noqa: E402
from diagplan.backends.program import program  # noqa: E402
from diagplan.examples.image_model import ImageModel  # noqa: E402
from diagplan.planner.compiler import compile_plan  # noqa: E402
from diagplan.planner.cost import CostCurve, plan_cost  # noqa: E402
from diagplan.planner.errors import SpecError  # noqa: E402
from diagplan.planner.layout import Layout  # noqa: E402
from diagplan.planner.schedule import Diagonal  # noqa: E402
from tests.support.curves import FakeClock, Slowed  # noqa: E402

Rule = Callable[[int, int, int], float]


def rule(width: int, length: int, targets: int) -> float:
    return 1e-2 + 1e-4 * width + 1e-5 * length + 2e-5 * targets


def timed(takes: Rule = rule, *, positions: int = 300, **options: Any) -> tuple[Measured, Slowed, FakeClock]:
    clock = FakeClock()
    model: Any = Slowed(ImageModel.random(positions=positions), clock, takes)
    return measure_passes(model, clock=clock, **{"seconds": 30.0} | options), model, clock


def test_the_points_are_what_passes_take() -> None:
    measured, _, clock = timed()
    assert measured.target_seconds == pytest.approx(2e-5)
    assert measured.shape_seconds == 0.0
    for point in measured.points:
        assert point.seconds == pytest.approx(rule(point.width, point.length, point.targets))
        assert point.spread == pytest.approx(0, abs=1e-9)
        assert point.targets == (point.width if point.width <= 128 else 1)
    assert {point.length for point in measured.points} == {64, 128, 192, 320}
    assert {point.width for point in measured.points} >= {1, 2, 8, 64, 128, 256}
    assert not measured.noisy
    assert (measured.rounds, measured.static_widths, measured.length_step) == (15, (), 64)
    assert clock.now < 30


def test_a_plan_is_predicted_by_them() -> None:
    measured = timed()[0]
    points = measured.points
    seconds = [point.seconds + measured.target_seconds * (point.width - point.targets) for point in points]
    curve = CostCurve(
        width=[point.width for point in points], length=[point.length for point in points], seconds=seconds,
        target_seconds=measured.target_seconds,
    )  # fmt: skip
    plan = compile_plan(Layout(frames=3, rows=6, cols=8, prompt_frames=2, between_frames=3), Diagonal(k=2, d=5))
    passes = [(len(p.source), p.mask.shape[1], len(p.target)) for p in program(plan)]
    assert plan_cost(plan, curve).seconds == pytest.approx(sum(rule(*one) for one in passes), rel=1e-3)


def test_outliers_and_a_busy_round_do_not_count() -> None:
    random = np.random.default_rng(0)
    calls = iter(range(10**9))

    def disturbed(width: int, length: int, targets: int) -> float:
        busy = 900 < next(calls) < 1000
        return rule(width, length, targets) * (4.0 if busy or random.random() < 0.05 else random.uniform(0.99, 1.01))

    measured = timed(disturbed)[0]
    for point in measured.points:
        assert point.seconds == pytest.approx(rule(point.width, point.length, point.targets), rel=0.02)
    assert not measured.noisy
    assert 0.005 < measured.spread < 0.05


def test_a_spread_that_is_too_large_is_said() -> None:
    random = np.random.default_rng(0)
    measured = timed(lambda *shape: rule(*shape) * random.uniform(0.2, 3.0))[0]
    assert measured.noisy
    assert measured.error > 0.05


def test_what_the_first_pass_of_a_shape_costs_is_told_apart() -> None:
    last: list[tuple[int, int, int]] = []

    def bound(*shape: int) -> float:
        new = not last or last[-1] != shape
        last.append(shape)  # type: ignore[arg-type]
        return rule(*shape) + (5e-3 if new else 0.0)

    measured = timed(bound)[0]
    assert measured.shape_seconds == pytest.approx(5e-3)
    assert measured.points[0].seconds == pytest.approx(rule(1, 64, 1))
    assert measured.target_seconds == pytest.approx(2e-5)


def test_a_pass_is_timed_by_those_that_follow_one_of_its_kind() -> None:
    """As a plan has them: behind a pass of another shape a narrow one of a small model finds its weights gone."""
    last: list[tuple[int, int, int]] = []

    def cold(*shape: int) -> float:
        new = shape[0] == 1 and (not last or last[-1] != shape)
        last.append(shape)  # type: ignore[arg-type]
        return (2.0 if new else 1.0) * 0.1 * rule(*shape)

    measured = timed(cold)[0]
    assert measured.shape_seconds == 0.0
    assert measured.points[0].seconds == pytest.approx(0.1 * rule(1, 64, 1))
    assert measured.points[0].passes == measured.rounds  # passes that follow each other share what disturbs them
    assert measured.points[0].spread == pytest.approx(0, abs=1e-9)


def test_a_slow_model_gets_a_coarser_grid_and_enough_rounds() -> None:
    measured, model, clock = timed(lambda *shape: 0.1 + 0.01 * shape[0], positions=1200)
    assert 6 <= len(measured.points) + 1 < 14
    assert measured.rounds >= 3
    assert clock.now < 60
    assert len({point.length for point in measured.points}) > 1
    assert 512 not in {point.width for point in measured.points}  # one such pass takes a third of the time
    assert {point.width for point in measured.points} >= {1, 8, 32}
    assert 512 in {width for width, _, _ in model.passes}
    assert len(model.passes) < 80


@pytest.mark.parametrize("narrow", [0.02, 0.13, 3.0, 40.0])
@pytest.mark.parametrize("feed", [0.0, 0.01, 1.0])
def test_the_time_is_bounded_whatever_the_model(narrow: float, feed: float) -> None:
    """0.13 s and a hundredth of it a feed is a model of 300M parameters on two cores."""
    measured, _, clock = timed(lambda *shape: narrow * (1 + feed * (shape[0] - 1)), positions=1200)
    assert clock.now <= 1.2 * 30 + 2 * narrow
    assert {point.length for point in measured.points} >= {1216}
    assert all((1, point.length) in {one[:2] for one in measured.points} for point in measured.points)
    if narrow <= 0.13 and feed <= 0.01:
        assert not measured.few
        assert max(point.width for point in measured.points) >= 128
    if narrow >= 9.0:
        assert measured.few
        assert measured.noisy
        assert [point[:3] for point in measured.points] == [(1, 1216, 1)]


def test_the_time_is_bounded_when_the_machine_becomes_busy() -> None:
    clock = FakeClock()
    model: Any = Slowed(ImageModel.random(positions=1200), clock, lambda *_: 0.02 if clock.now < 7.5 else 2.0)
    measured = measure_passes(model, clock=clock, seconds=30.0)
    assert clock.now <= 1.2 * 30 + 2 * 2.0
    assert all(point.passes >= 1 for point in measured.points)


def test_points_of_ones_own_and_progress() -> None:
    shares: list[float] = []
    measured, model, _ = timed(points=[(1, 64), (9, 64)], on_progress=shares.append, seconds=1.0, longest=64)
    assert [point[:3] for point in measured.points] == [(1, 64, 1), (9, 64, 9)]
    assert shares == sorted(shares)
    assert 0 < shares[-1] <= 1
    assert (9, 64, 1) in model.passes  # with one feed that chooses, for what the others cost


def test_a_batch_and_passes_of_fixed_shape() -> None:
    measured, model, _ = timed(batch=3, static=True, positions=100, seconds=2.0)
    assert measured.static_widths == STATIC_WIDTHS
    assert measured.length_step == 1024
    assert {length for _, length, _ in model.passes} == {1024}
    assert measured.points[0].seconds == pytest.approx(rule(1, 1024, 1))


def test_the_model_itself_is_run_on_ids_that_it_knows() -> None:
    measured = measure_passes(ImageModel.random(positions=100), seconds=1.0, points=[(1, 64), (8, 128)])
    assert all(point.seconds > 0 and point.passes >= 6 for point in measured.points)


def test_logits_that_are_not_finite_are_refused() -> None:
    model: Any = ImageModel.random(positions=70)
    good = model.forward
    model.forward = lambda *args: good(*args) * torch.nan
    with pytest.raises(NumericError, match="expected finite logits"):
        measure_passes(model, seconds=1.0)


def test_interrupted_it_stops_at_once() -> None:
    def stop(share: float) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        timed(on_progress=stop)


@pytest.mark.parametrize("settings", [{"chunk": 0}, {"longest": 0}, {"batch": 0}])
def test_numbers_below_one_are_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(SpecError, match=re.escape(f"expected {next(iter(settings))} >= 1")):
        timed(**settings)


def test_the_grid_says_most_first() -> None:
    points = grid_points(5541, 64)
    assert points[:8] == [(w, 5568) for w in (1, 8, 32, 128)] + [(w, 64) for w in (1, 8, 32)] + [(512, 5568)]
    assert len(points) == len(set(points)) > 40
    assert all(width <= length for width, length in points)
    assert grid_points(1, 64) == [(1, 64)]
    assert max(width for width, _ in grid_points(5541, 64, chunk=64)) == 64


def test_errors_of_medians_shrink_with_passes() -> None:
    def one(passes: int) -> Measured:
        point = TimedPoint(1, 64, 1, 1.0, 0.2, passes)
        return Measured(
            points=(point,), target_seconds=0, shape_seconds=0, static_widths=(), length_step=64, chunk=512, rounds=3
        )

    assert one(4).spread == pytest.approx(0.2)
    assert one(4).noisy
    assert not one(100).noisy
