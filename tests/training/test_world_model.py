"""The model's training: the trained pass is the adapter's, a run goes on to the identical weights."""

import csv
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest

torch = pytest.importorskip("torch")
for needed in ("av", "diffusers", "matplotlib"):
    pytest.importorskip(needed)

from diagplan.adapters.mc_ar import McAr, McArConfig  # noqa: E402
from diagplan.games.clips import list_clips  # noqa: E402
from diagplan.planner.errors import DocumentError, SpecError  # noqa: E402
from diagplan.training.llama import TrainedMcAr  # noqa: E402
from diagplan.training.sequences import TokenClips, read_tokens, tokens_key, write_tokens  # noqa: E402
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
    write_scrolls,
)


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_scrolls(tmp_path_factory.mktemp("clips"))


# The trained pass


@pytest.mark.parametrize("rope", ["1d", "3d"])
@pytest.mark.parametrize("kv", [4, 2])
def test_the_trained_pass_is_the_adapters(rope: Literal["1d", "3d"], kv: int) -> None:
    config = McArConfig(
        hidden_size=64, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=kv,
        vocab_size=11, max_position_embeddings=3 * 23, image_vocab=6, rope=rope, rows=ROWS, cols=COLS, action_tokens=3,
    )  # fmt: skip
    trained = TrainedMcAr(config, seed=5)
    adapter = McAr(config, {name: weight.detach() for name, weight in trained.weights().items()})
    ids = torch.from_numpy(np.random.default_rng(0).integers(0, 11, (2, 60)))
    at = torch.arange(60)
    with torch.no_grad():
        ours = trained(ids)
        theirs = adapter.forward(ids, at, at, torch.ones(60, 60, dtype=torch.bool).tril(), adapter.new_cache(2, 60))
        torch.testing.assert_close(trained(ids, at[[3, 40]]), ours[:, [3, 40]], rtol=1e-5, atol=1e-5)
    assert float(ours.std()) > 0.1
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4)


def test_weights_are_those_of_the_config() -> None:
    model = TrainedMcAr(CONFIG, seed=1)
    assert {name: tuple(weight.shape) for name, weight in model.weights().items()} == CONFIG.shapes()
    matrices, norms = model.decayed()
    assert {weight.ndim for weight in matrices} == {2}
    assert {weight.ndim for weight in norms} == {1}
    assert len(matrices) + len(norms) == len(CONFIG.shapes())


# Sequences


def test_sequences_are_frames_with_actions_between() -> None:
    two = TokenClips(
        frames=np.arange(6).reshape(1, 3, 1, 2), actions=np.array([[9, 8]]), moved=np.zeros((1, 2, 2), np.int64)
    )
    assert two.sequences(6, 7).tolist() == [[0, 1, 6, 9, 7, 2, 3, 6, 8, 7, 4, 5]]
    window = two.windows(np.array([0, 0]), np.array([1, 0]), 2)
    assert window.sequences(6, 7).tolist() == [[2, 3, 6, 8, 7, 4, 5], [0, 1, 6, 9, 7, 2, 3]]


def test_tokens_are_kept_with_what_they_come_from(clips: Path, tmp_path: Path) -> None:
    paths = list_clips(clips / "train")
    key = tokens_key(paths, [paths[0]], WORDS.ids)
    assert key != tokens_key(paths[1:], [paths[0]], WORDS.ids)
    assert key != tokens_key(paths, [paths[1]], WORDS.ids)
    assert key != tokens_key(paths, [paths[0]], {"noop": 3})
    write_tokens(tmp_path / "t.npz", TRAIN, key)
    back = read_tokens(tmp_path / "t.npz", key)
    assert back is not None
    for name in ("frames", "actions", "moved"):
        np.testing.assert_array_equal(getattr(back, name), getattr(TRAIN, name))
    assert read_tokens(tmp_path / "t.npz", "another") is None
    assert read_tokens(tmp_path / "none.npz", key) is None
    for data in (b"", b"hello", (tmp_path / "t.npz").read_bytes()[:-30]):
        (tmp_path / "t.npz").write_bytes(data)
        assert read_tokens(tmp_path / "t.npz", key) is None


# The model


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
