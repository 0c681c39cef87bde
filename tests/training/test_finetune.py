"""Fine-tuning on plans: what a batch is trained with, that it helps and goes on."""

import csv
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
for needed in ("av", "diffusers", "matplotlib"):
    pytest.importorskip(needed)

from diagplan.planner.compiler import compile_plan  # noqa: E402
from diagplan.planner.errors import DocumentError, SpecError  # noqa: E402
from diagplan.planner.plan import Plan  # noqa: E402
from diagplan.planner.policy import Policies  # noqa: E402
from diagplan.planner.schedule import Diagonal, NextToken, Schedule  # noqa: E402
from diagplan.planner.training_plan import training_plan  # noqa: E402
from diagplan.training.diagonal import lay_out  # noqa: E402
from diagplan.training.finetune import (  # noqa: E402
    FinetuneRecipe,
    batch_kind,
    finetune,
    judge_plan,
    plan_label,
    training_layout,
    tuning,
)
from diagplan.training.llama import TrainedMcAr  # noqa: E402
from diagplan.training.parallel import Workers  # noqa: E402
from diagplan.training.sequences import TokenClips  # noqa: E402
from diagplan.training.world_model import train_world_model  # noqa: E402
from tests.support.scrolling import (  # noqa: E402
    CODES,
    COLS,
    CONFIG,
    ROWS,
    TRAIN,
    VALIDATION,
    VOCABULARY,
    WORLD,
    StopError,
    scrolls,
    stop_at,
    weights_equal,
)

LAYOUT = training_layout(CONFIG, WORLD.context)
RECIPE = FinetuneRecipe(steps=40, batch=4, learning_rate=5e-3, warm_up=2, bfloat16=False)


def plans(*schedules: Schedule) -> list[Plan]:
    return [compile_plan(LAYOUT, schedule) for schedule in schedules]


def run(
    folder: Path, recipe: FinetuneRecipe, made: Sequence[Plan], weights: Any = None, **options: Any
) -> tuple[TrainedMcAr, list[float]]:
    losses: list[float] = []
    stop = options.pop("stop", None)

    def on_step(step: int, said: Any) -> None:
        losses.append(said["loss"])
        if stop is not None:
            stop(step, said)

    model = finetune(
        recipe, CONFIG, weights, made, VOCABULARY, TRAIN, VALIDATION, folder, on_step=on_step, **options
    )  # fmt: skip
    return model, losses


@pytest.fixture(scope="module")
def base() -> dict[str, Any]:
    """Weights to begin with that are not those a fine-tuning would make up itself."""
    return {name: weight.detach() for name, weight in TrainedMcAr(CONFIG, seed=7).weights().items()}


# What a batch is trained with


def test_the_share_of_next_token_batches() -> None:
    kinds = [batch_kind(replace(RECIPE, ntp_share=0.25), step, 3) for step in range(4000)]
    shares = {kind: kinds.count(kind) / len(kinds) for kind in (None, 0, 1, 2)}
    assert all(abs(share - 0.25) < 0.03 for share in shares.values())
    assert {batch_kind(replace(RECIPE, ntp_share=0.0), step, 2) for step in range(200)} == {0, 1}
    assert {batch_kind(replace(RECIPE, ntp_share=1.0), step, 2) for step in range(200)} == {None}
    assert kinds != [batch_kind(replace(RECIPE, ntp_share=0.25, seed=1), step, 3) for step in range(4000)]


def test_a_plan_of_full_rows_trains_as_next_token_masks_do(tmp_path: Path) -> None:
    """Section 5 at its border: the plan with k = w is next-token prediction, and so is training on it."""
    whole = plans(Diagonal(k=COLS))
    _, under_plan = run(tmp_path / "a", replace(RECIPE, steps=6, ntp_share=0.0), whole)
    _, next_token = run(tmp_path / "b", replace(RECIPE, steps=6, ntp_share=1.0), whole)
    np.testing.assert_allclose(under_plan, next_token, rtol=1e-4)
    _, diagonal = run(tmp_path / "c", replace(RECIPE, steps=6, ntp_share=0.0), plans(Diagonal(k=1)))
    assert np.abs(np.subtract(diagonal, next_token)).max() > 1e-2


def rows_of(folder: Path) -> list[dict[str, str]]:
    with (folder / "log.csv").open() as file:
        return list(csv.DictReader(file))


def counting(clips: int, *, seed: int) -> TokenClips:
    """Frames that count on in raster order from a random number: only the first cell is a surprise."""
    begin = np.random.default_rng(seed).integers(0, CODES, (clips, 5, 1))
    frames = (begin + np.arange(ROWS * COLS)) % CODES
    return replace(scrolls(clips, 5, seed=seed), frames=frames.reshape(clips, 5, ROWS, COLS))


def test_fine_tuning_closes_the_gap_that_a_plan_opens(tmp_path: Path) -> None:
    """A model that has learnt to count on takes a proxy for the number before; fine-tuned on the plan, less so."""
    train, validation = counting(40, seed=0), counting(4, seed=1)
    learnt = replace(WORLD, steps=60, bfloat16=False)
    model = train_world_model(learnt, CONFIG, VOCABULARY, train, validation, tmp_path / "base", checkpoint_every=60)
    made = [compile_plan(LAYOUT, Diagonal(k=1, d=d), Policies(proxy="above")) for d in (None, 4)]
    model = finetune(
        RECIPE, CONFIG, model.weights(), made, VOCABULARY, train, validation, tmp_path / "tuned", checkpoint_every=30
    )
    rows = rows_of(tmp_path / "tuned")
    assert [row["step"] for row in rows] == ["0", "20", "30", "40"]
    assert rows[0]["train_loss"] == ""
    before, after = ({name: float(row[name] or 0) for name in row} for row in (rows[0], rows[-1]))
    for name in ("loss_k1", "loss_k1_d4"):
        gap = before[name] - before["validation_loss"]
        assert gap > 0.3
        assert after[name] < before[name] - gap / 2
    assert after["validation_loss"] < before["validation_loss"] + 0.1
    laid = lay_out(training_plan(made[0]))
    said = judge_plan(model, laid, validation.windows(np.arange(4), np.zeros(4, int), 3), VOCABULARY, batch=3)
    assert said == pytest.approx(after["loss_k1"], rel=1e-4)


def test_fine_tuning_begins_with_the_weights_it_is_given(base: dict[str, Any], tmp_path: Path) -> None:
    model, _ = run(tmp_path, replace(RECIPE, steps=1, learning_rate=1e-12), plans(Diagonal(k=1)), base)
    for name, weight in model.weights().items():
        torch.testing.assert_close(weight.detach(), base[name], rtol=1e-6, atol=1e-8)


# Going on


def test_a_fine_tuning_goes_on_to_the_identical_weights(base: dict[str, Any], tmp_path: Path) -> None:
    made = plans(Diagonal(k=1), Diagonal(k=2))
    recipe = replace(RECIPE, steps=24)
    whole, losses = run(tmp_path / "whole", recipe, made, base)
    with pytest.raises(StopError):
        run(tmp_path / "stopped", recipe, made, base, stop=stop_at(22))
    again, later = run(tmp_path / "stopped", recipe, made, base)
    assert later == losses[20:]
    assert weights_equal(again.weights(), whole.weights())
    names = ("step", "validation_loss", "loss_k1", "loss_k2", "train_loss")
    ours, theirs = (
        [[row[name] for name in names] for row in rows_of(tmp_path / name_of)] for name_of in ("stopped", "whole")
    )
    assert ours == theirs


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"recipe": replace(RECIPE, ntp_share=0.5)}, "with other ntp_share"),
        ({"weights": None}, "with other begins_with"),
        ({"made": plans(Diagonal(k=2))}, "with other plans"),
        ({"made": [compile_plan(LAYOUT, Diagonal(k=1), Policies(row_end="keep"))]}, "with other plans"),
    ],
)
def test_a_folder_of_another_fine_tuning(
    base: dict[str, Any], tmp_path: Path, change: dict[str, Any], words: str
) -> None:
    arguments: dict[str, Any] = {"recipe": RECIPE, "made": plans(Diagonal(k=1)), "weights": base}
    with pytest.raises(StopError):
        run(tmp_path, **arguments, stop=stop_at(1))
    with pytest.raises(DocumentError, match=words):
        run(tmp_path, **(arguments | change))


# What is refused


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        ({"steps": 0}, "expected steps >= 1, got steps=0"),
        ({"batch": 0}, "got batch=0"),
        ({"learning_rate": float("inf")}, "got learning_rate=inf"),
        ({"warm_up": -1}, "got warm_up=-1"),
        ({"ntp_share": 1.5}, "from 0 to 1, got ntp_share=1.5"),
        ({"ntp_share": float("nan")}, "from 0 to 1, got ntp_share=nan"),
    ],
)
def test_recipes_that_are_none(keys: dict[str, Any], words: str) -> None:
    with pytest.raises(SpecError, match=words):
        replace(RECIPE, **keys)


def test_plans_that_do_not_fit(tmp_path: Path) -> None:
    other = compile_plan(replace(LAYOUT, rows=ROWS + 1), Diagonal(k=1))
    long = compile_plan(training_layout(CONFIG, 2), Diagonal(k=1))
    prompt = compile_plan(replace(LAYOUT, frames=1, prompt_frames=2), Diagonal(k=1))
    for made, words in (
        ([other], "one given frame of 4 x 5 tokens and 3 tokens an action"),
        ([prompt], "one given frame of 4 x 5 tokens"),
        ([*plans(Diagonal(k=1)), long], "plans of one layout, got 2 layouts"),
        ([], "plans of one layout, got 0 layouts"),
        (plans(Diagonal(k=1), Diagonal(k=1)), "plans that differ in k or d, got k1, k1"),
    ):
        with pytest.raises(SpecError, match=re.escape(words)):
            run(tmp_path / "run", replace(RECIPE, steps=1), made)
    with pytest.raises(SpecError, match="at most, got 9 frames, which are 204"):
        training_layout(CONFIG, 9)
    with pytest.raises(SpecError, match="at least 2 frames, got 1"):
        training_layout(CONFIG, 1)
    with pytest.raises(SpecError, match=re.escape("that 3 processes can share, got batch=4. Give a multiple of 3.")):
        run(tmp_path / "run", RECIPE, plans(Diagonal(k=1)), workers=Workers(rank=1, count=3))


def test_labels_and_what_the_document_says() -> None:
    made = plans(Diagonal(k=2), Diagonal(k=2, d=4), NextToken())
    assert [plan_label(plan) for plan in made] == ["k2", "k2_d4", "next_token"]
    said = tuning("crafter-mini", RECIPE, made)
    assert (said.base, said.steps, said.ntp_share) == ("crafter-mini", 40, 0.25)
    assert [(plan.schedule, plan.k, plan.d) for plan in said.plans] == [
        ("diagonal", 2, None), ("diagonal", 2, 4), ("next-token", None, None),
    ]  # fmt: skip
    assert (said.plans[0].proxy, said.plans[0].row_end) == ("previous-frame", "refresh")
