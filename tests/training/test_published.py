"""The paper's configurations: sizes, the optimizer table, and that they train."""

import csv
import re
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")
for needed in ("av", "diffusers", "matplotlib"):
    pytest.importorskip(needed)

from diagplan.adapters.mc_ar import CONFIGS  # noqa: E402
from diagplan.planner.compiler import compile_plan  # noqa: E402
from diagplan.planner.errors import SpecError  # noqa: E402
from diagplan.planner.schedule import Diagonal  # noqa: E402
from diagplan.training.finetune import finetune, training_layout  # noqa: E402
from diagplan.training.llama import TrainedMcAr  # noqa: E402
from diagplan.training.published import RECIPES, SIZES, published_config, published_context  # noqa: E402
from tests.support.scrolling import CODES, CONFIG, TRAIN, VALIDATION, VOCABULARY, WORLD  # noqa: E402


@pytest.mark.parametrize(("size", "millions"), [("300M", 321), ("700M", 726), ("1.2B", 1229)])
def test_published_sizes_have_the_parameters_of_their_names(size: str, millions: int) -> None:
    like = CONFIGS["300M_16f"]
    config = published_config(size, like, published_context(14, 24))
    parameters = sum(int(np.prod(shape)) for shape in config.shapes().values())
    assert round(parameters / 1e6) == millions
    assert config.max_position_embeddings == 16 * 347
    assert config.head_size == 64
    release = {"300M": "300M_16f", "700M": "700M_16f", "1.2B": "1200M_16f"}[size]
    assert config == CONFIGS[release]


def test_the_papers_optimizer_table() -> None:
    paper = RECIPES["paper"]
    said = {name: asdict(paper)[name] for name in ("betas", "weight_decay", "learning_rate", "warm_up", "steps")}
    assert said == {"betas": (0.9, 0.95), "weight_decay": 0.1, "learning_rate": 3e-4, "warm_up": 10_000, "steps": 1000}
    long = replace(paper, steps=20_000)
    assert long.rate(0) == pytest.approx(3e-8)
    assert long.rate(10_000) == pytest.approx(3e-4)
    assert long.rate(15_000) == pytest.approx(1.65e-4)
    assert long.rate(20_000) == pytest.approx(3e-5)


@pytest.mark.parametrize(
    "size", [size if size == "300M" else pytest.param(size, marks=pytest.mark.slow) for size in SIZES]
)
def test_published_sizes_train_at_reduced_width(size: str, tmp_path: Path) -> None:
    config = published_config(size, CONFIG, WORLD.context, divide=8)
    assert (config.num_hidden_layers, config.hidden_size) == (20, SIZES[size].hidden // 8)
    assert config.num_attention_heads % config.num_key_value_heads == 0
    layout = training_layout(CONFIG, WORLD.context)
    plans = [compile_plan(layout, Diagonal(k=k)) for k in (1, 2)]
    recipe = replace(RECIPES["paper"], steps=5, warm_up=50, batch=2)
    losses: list[float] = []
    model = finetune(
        recipe, config, None, plans, VOCABULARY, TRAIN, VALIDATION, tmp_path,
        on_step=lambda _, said: losses.append(said["loss"]),
    )  # fmt: skip
    fresh = TrainedMcAr(config, seed=0)
    moved = [not torch.equal(model.weights()[name], weight) for name, weight in fresh.weights().items()]
    assert all(moved)
    assert len(losses) == 5
    assert abs(losses[0] - np.log(CODES + 5)) < 1.5
    with (tmp_path / "log.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert float(rows[-1]["loss_k1"]) < float(rows[0]["loss_k1"])


def test_sizes_that_are_none() -> None:
    with pytest.raises(SpecError, match=re.escape("expected a size out of 300M, 700M, 1.2B, got size='3B'")):
        published_config("3B", CONFIG, 3)
    with pytest.raises(SpecError, match="expected a factor that divides"):
        published_config("300M", CONFIG, 3, divide=3)
