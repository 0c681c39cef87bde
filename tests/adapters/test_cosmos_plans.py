"""The published Cosmos settings on the real grid: each compiles, verifies, and replays on a small model of it."""

from functools import cache
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from diagplan import Diagonal, NextToken, ZipAR, compile_plan, verify  # noqa: E402
from diagplan.adapters.cosmos import CONFIGS, Cosmos, CosmosConfig  # noqa: E402
from diagplan.models.loading import replay  # noqa: E402
from diagplan.planner.audit import AuditCell, audit  # noqa: E402
from diagplan.planner.layout import Layout  # noqa: E402
from diagplan.planner.plan import Plan  # noqa: E402
from diagplan.planner.schedule import Schedule  # noqa: E402

SMALL: dict[str, Any] = {
    "dim": 12,
    "n_layers": 1,
    "n_heads": 2,
    "n_kv_heads": 1,
    "ffn_hidden_size": 8,
    "vocab_size": 64,
}
BASE = CosmosConfig(**SMALL)
WORLD = CosmosConfig(**SMALL, absolute=True, begin_of_video=True, context_dim=6)

#: Each published setting once: (algorithm, k, d) -> its cell.
SETTINGS = {(c.algorithm, c.k, c.d): c for c in audit() if c.model.startswith("cosmos") and c.algorithm != "ntp"}
QUICK = [("diagd", 1, 1), ("diagd", 2, 10), ("zipar", 1, None)]


def schedule(cell: AuditCell) -> Schedule:
    if cell.k is None:
        return NextToken()
    return ZipAR(window=cell.k) if cell.algorithm == "zipar" else Diagonal(k=cell.k, d=cell.d)


@cache
def model(config: CosmosConfig) -> Cosmos:
    made = Cosmos.random(config, dtype=torch.float64, seed=1)
    return made.with_context(torch.randn(4, 6, generator=torch.Generator().manual_seed(2))) if config.lead else made


def tokens_of(plan: Plan, config: CosmosConfig) -> np.ndarray:
    layout = plan.layout
    prompt = np.random.default_rng(3).integers(0, config.vocab_size, (layout.prompt_frames, layout.rows, layout.cols))
    tokens = replay(plan, model(config), given=config.given(prompt))
    assert tokens.shape == (1, layout.frames, layout.rows, layout.cols)
    assert 0 <= tokens.min() <= tokens.max() < config.vocab_size
    assert len(np.unique(tokens)) > 3
    return tokens


def test_the_published_grid_is_the_models() -> None:
    assert len(SETTINGS) == 15
    for cell in SETTINGS.values():
        layout = CONFIGS[cell.model].layout()
        assert (cell.frames, cell.rows, cell.cols) == (layout.frames, layout.rows, layout.cols)


@pytest.mark.parametrize("config", CONFIGS)
def test_every_published_setting_compiles_and_verifies(config: str) -> None:
    for cell in SETTINGS.values():
        plan = compile_plan(CONFIGS[config].layout(), schedule(cell))
        assert plan.steps == cell.law
        report = verify(plan)
        assert (report.errors, report.warnings) == (0, 0)


@pytest.mark.parametrize("setting", QUICK, ids=str)
def test_published_settings_replay(setting: tuple[str, int, int | None]) -> None:
    cell = SETTINGS[setting]
    tokens_of(compile_plan(BASE.layout(), schedule(cell)), BASE)


@pytest.mark.parametrize("prompt_frames", [1, 2])
def test_video2world_replays(prompt_frames: int) -> None:
    tokens_of(compile_plan(WORLD.layout(prompt_frames), Diagonal(k=1, d=1)), WORLD)


@pytest.mark.slow
@pytest.mark.parametrize("setting", SETTINGS, ids=str)
def test_every_published_setting_replays(setting: tuple[str, int | None, int | None]) -> None:
    """Twice: cache slots in step order and steps of few widths give the same tokens."""
    config = WORLD if setting in QUICK else BASE
    layout, plan = config.layout(), schedule(SETTINGS[setting])
    tokens = tokens_of(compile_plan(layout, plan), config)
    lowered = compile_plan(layout, plan, slots="step-order", pad=[16, 64, 128])
    np.testing.assert_array_equal(tokens_of(lowered, config), tokens)


@pytest.mark.slow
def test_next_token_prediction_is_the_diagonal_of_full_rows() -> None:
    tokens = tokens_of(compile_plan(BASE.layout(), NextToken()), BASE)
    np.testing.assert_array_equal(tokens_of(compile_plan(BASE.layout(), Diagonal(k=64)), BASE), tokens)


def test_another_grid_needs_its_own_tables() -> None:
    """A post-trained checkpoint at 384 x 640 pixels: the same weights, other positions."""
    weights = model(BASE)
    small = CosmosConfig(**SMALL, video_latent_shape=(5, 24, 40))
    assert small.shapes() == BASE.shapes()
    layout = small.layout()
    assert layout == Layout(frames=3, rows=24, cols=40, prompt_frames=2)
    assert not Cosmos.random(small, dtype=torch.float64, seed=1).cos.equal(weights.cos[: small.positions])
    tokens_of(compile_plan(layout, Diagonal(k=2, d=10)), small)
