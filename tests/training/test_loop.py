"""The loop of every training: rates, clipped steps of AdamW, a log at checkpoints, and going on."""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

torch = pytest.importorskip("torch")
for needed in ("av", "diffusers", "matplotlib"):
    pytest.importorskip(needed)

from diagplan.training.finetune import FinetuneRecipe  # noqa: E402
from diagplan.training.llama import TrainedMcAr  # noqa: E402
from diagplan.training.loop import cosine_rate, optimise  # noqa: E402
from diagplan.training.runs import Run  # noqa: E402
from tests.support.scrolling import CONFIG, StopError, stop_at, weights_equal  # noqa: E402

RECIPE = FinetuneRecipe(steps=25, batch=2, learning_rate=1e-2, warm_up=3, bfloat16=False)


@given(st.integers(1, 50), st.integers(51, 400), st.floats(1e-5, 1e-1))
def test_the_rate_rises_in_a_line_and_falls_to_a_tenth(warm_up: int, steps: int, highest: float) -> None:
    rates = [cosine_rate(step, steps=steps, warm_up=warm_up, highest=highest) for step in range(steps + 1)]
    assert rates[warm_up - 1] == pytest.approx(highest) == pytest.approx(max(rates))
    assert rates[0] == pytest.approx(highest / warm_up)
    assert rates[warm_up:] == sorted(rates[warm_up:], reverse=True)
    assert rates[-1] == pytest.approx(0.1 * highest)
    half = cosine_rate(warm_up + 50, steps=warm_up + 100, warm_up=warm_up, highest=highest)
    assert half == pytest.approx(0.55 * highest)
    assert cosine_rate(0, steps=5, warm_up=0, highest=highest) == pytest.approx(highest)


class Pull:
    """A loss that pulls one weight to 1, and counts."""

    def __init__(self, model: TrainedMcAr) -> None:
        self.weight = model.weights()["model.norm.weight"]
        self.steps: list[int] = []

    def __call__(self, step: int) -> Any:
        self.steps.append(step)
        return ((self.weight - 3) ** 2).sum()


def run(folder: Path, **options: Any) -> tuple[TrainedMcAr, Pull, Run, list[Mapping[str, float]]]:
    model, losses = TrainedMcAr(CONFIG, seed=4), list[Mapping[str, float]]()
    pull, place = Pull(model), Run(folder, {"seed": 4})
    stop = options.pop("stop", None)

    def on_step(step: int, said: Mapping[str, float]) -> None:
        losses.append({"step": step, **said})
        if stop is not None:
            stop(step, said)

    optimise(
        model, RECIPE, place, pull, lambda: {"mean": float(pull.weight.detach().mean())}, on_step=on_step,
        checkpoint_every=15, **options,
    )  # fmt: skip
    return model, pull, place, losses


def test_each_step_lessens_the_loss_and_moves_nothing_else(tmp_path: Path) -> None:
    model, pull, place, losses = run(tmp_path, judge_start=True)
    assert not model.training
    assert pull.steps == list(range(25))
    assert [entry["step"] for entry in losses] == list(range(1, 26))
    values = [entry["loss"] for entry in losses]
    assert values == sorted(values, reverse=True)
    assert [row["step"] for row in place.rows] == [0, 15, 20, 25]
    assert "train_loss" not in place.rows[0]
    assert place.rows[2]["train_loss"] == values[19]
    assert place.rows[-1]["mean"] == pytest.approx(float(pull.weight.detach().mean()))
    fresh = TrainedMcAr(CONFIG, seed=4).weights()
    moved = {name for name, weight in model.weights().items() if not torch.equal(weight, fresh[name])}
    assert moved == {"model.norm.weight"}


def test_the_first_step_is_as_long_as_its_rate(tmp_path: Path) -> None:
    """AdamW's first step has the length of the rate, however steep the loss."""
    before = TrainedMcAr(CONFIG, seed=4).weights()["model.norm.weight"].detach().clone()
    with pytest.raises(StopError):
        run(tmp_path, stop=stop_at(1))
    model = TrainedMcAr(CONFIG, seed=4)
    pull = Pull(model)
    steps: list[Any] = []

    def on_step(step: int, _: object) -> None:
        steps.append(pull.weight.detach().clone())
        raise StopError

    with pytest.raises(StopError):
        optimise(model, RECIPE, Run(tmp_path / "other", {}), pull, dict, on_step=on_step)
    torch.testing.assert_close(steps[0] - before, torch.full_like(before, RECIPE.rate(0)), rtol=1e-3, atol=0)


def test_a_training_goes_on_from_its_checkpoint(tmp_path: Path) -> None:
    whole, *_ = run(tmp_path / "whole")
    with pytest.raises(StopError):
        run(tmp_path / "stopped", stop=stop_at(17))
    again, pull, place, _ = run(tmp_path / "stopped", judge_start=True)
    assert pull.steps == list(range(15, 25))
    assert [row["step"] for row in place.rows] == [15, 20, 25]  # not judged at the start again
    assert weights_equal(again.weights(), whole.weights())


def test_a_steep_loss_is_clipped(tmp_path: Path) -> None:
    model = TrainedMcAr(CONFIG, seed=4)
    weight = model.weights()["model.norm.weight"]
    norms: list[float] = []

    def on_step(_step: int, _said: object) -> None:
        assert weight.grad is not None
        norms.append(float(weight.grad.norm()))

    recipe = FinetuneRecipe(steps=1, batch=2, learning_rate=1e-6, bfloat16=False)
    optimise(model, recipe, Run(tmp_path, {}), lambda _: 1e4 * weight.sum(), dict, on_step=on_step)
    assert norms == [pytest.approx(1.0, rel=1e-4)]
    assert math.isfinite(float(weight.detach().sum()))
