"""The model's training: it learns, and a run goes on to the identical weights."""

import csv
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
for needed in ("av", "diffusers", "matplotlib"):
    pytest.importorskip(needed)

from diagplan.planner.errors import DocumentError, SpecError  # noqa: E402
from diagplan.training.llama import TrainedMcAr  # noqa: E402
from diagplan.training.world_model import judge, train_world_model  # noqa: E402
from tests.support.scrolling import (  # noqa: E402
    CODES,
    COLS,
    CONFIG,
    LEFT,
    RIGHT,
    ROWS,
    TRAIN,
    VALIDATION,
    VOCABULARY,
    WORDS,
    WORLD,
    StopError,
    stop_at,
    weights_equal,
)


@pytest.fixture(scope="module")
def model_run(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, TrainedMcAr]:
    folder = tmp_path_factory.mktemp("model")
    return folder, train_world_model(WORLD, CONFIG, VOCABULARY, TRAIN, VALIDATION, folder, checkpoint_every=20)


def test_a_model_learns_and_heeds_the_actions(model_run: tuple[Path, TrainedMcAr]) -> None:
    with (model_run[0] / "log.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [int(row["step"]) for row in rows] == [20, 40, 60]
    losses = [float(row["validation_loss"]) for row in rows]
    assert losses[-1] < losses[0] < np.log(CODES + 5)
    assert {"seconds", "train_loss", "accuracy", "moved_accuracy", "action_gap"} < set(rows[0])


def test_a_model_goes_on_to_the_identical_weights(model_run: tuple[Path, TrainedMcAr], tmp_path: Path) -> None:
    arguments = (WORLD, CONFIG, VOCABULARY, TRAIN, VALIDATION, tmp_path)
    with pytest.raises(StopError):
        train_world_model(*arguments, checkpoint_every=20, on_step=stop_at(33))
    steps: list[int] = []
    model = train_world_model(*arguments, checkpoint_every=20, on_step=lambda step, _: steps.append(step))
    assert steps == list(range(21, 61))
    assert weights_equal(model.weights(), model_run[1].weights())
    ours, theirs = ((folder / "log.csv").read_text().splitlines() for folder in (tmp_path, model_run[0]))
    column = ours[0].split(",").index("validation_loss")
    assert [row.split(",")[column] for row in ours] == [row.split(",")[column] for row in theirs]
    again = train_world_model(*arguments, on_step=stop_at(1))  # finished: nothing is left to do
    assert weights_equal(again.weights(), model.weights())
    other = replace(WORLD, seed=1)
    assert not weights_equal(TrainedMcAr(CONFIG, seed=1).weights(), TrainedMcAr(CONFIG, seed=0).weights())
    with pytest.raises(DocumentError, match="with other seed"):
        train_world_model(other, CONFIG, VOCABULARY, TRAIN, VALIDATION, tmp_path)


def test_judgement_is_the_plain_sum(model_run: tuple[Path, TrainedMcAr]) -> None:
    model, window = model_run[1], VALIDATION.windows(np.arange(4), np.zeros(4, int), 3)
    said = judge(model, window, VOCABULARY, batch=3)
    ids = torch.from_numpy(window.sequences(WORDS.begin, WORDS.end))
    with torch.no_grad():
        logs = model(ids).log_softmax(-1)
    block = ROWS * COLS + 3
    places = [frame * block + cell for frame in (1, 2) for cell in range(ROWS * COLS)]
    chosen = [[float(logs[n, at - 1, ids[n, at]]) for at in places] for n in range(4)]
    assert said.loss == pytest.approx(-np.mean(chosen), rel=1e-4)
    right = [[int(logs[n, at - 1].argmax()) == int(ids[n, at]) for at in places] for n in range(4)]
    assert said.accuracy == pytest.approx(np.mean(right))
    turned = replace(window, actions=np.where(window.actions == LEFT, RIGHT, LEFT))
    assert said.gap == pytest.approx(judge(model, turned, VOCABULARY).moved_loss - said.moved_loss, rel=1e-4, abs=1e-6)


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        ({"steps": 0}, "expected steps >= 1, got steps=0"),
        ({"context": 1}, "expected context >= 2, got context=1"),
        ({"learning_rate": 0.0}, "got learning_rate=0.0"),
        ({"hidden": 30, "heads": 4}, "got hidden=30 and heads=4. Give a multiple of 8"),
        ({"rope": "2d"}, "expected rope to be 1d or 3d, got rope='2d'"),
    ],
)
def test_recipes_that_are_none(keys: dict[str, Any], words: str) -> None:
    with pytest.raises(SpecError, match=words):
        replace(WORLD, **keys)


def test_clips_shorter_than_the_context(tmp_path: Path) -> None:
    recipe = replace(WORLD, context=6)
    config = recipe.config(ROWS, COLS, CODES, CODES + 5)
    for train, validation in ((TRAIN, VALIDATION), (VALIDATION, TRAIN)):
        with pytest.raises(SpecError, match="clips of at least 6 frames, got 5"):
            train_world_model(recipe, config, VOCABULARY, train, validation, tmp_path)
