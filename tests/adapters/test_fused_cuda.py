"""Compiled layers on CUDA, inside graphs: the tokens of layers operator by operator, and few compilations."""

from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from diagplan import Diagonal, Layout, compile_plan  # noqa: E402
from diagplan.adapters.cosmos import Cosmos, CosmosConfig  # noqa: E402
from diagplan.backends.replay import new_state, prepare, replay  # noqa: E402
from tests.support.cuda import GRID, grid_ids, grid_model, needs_cuda  # noqa: E402

pytestmark = needs_cuda


def tokens_of(model: Any, layout: Layout, batch: int) -> np.ndarray:
    prepared = prepare(compile_plan(layout, Diagonal(k=2)), model, batch=batch)
    return replay(prepared, new_state(prepared, grid_ids(batch, layout=layout))).tokens


@pytest.mark.parametrize("batch", [1, 2])
def test_mc_ar(batch: int) -> None:
    model = grid_model()
    torch._dynamo.reset()
    torch._dynamo.utils.counters.clear()
    want, got = (tokens_of(m, GRID, batch) for m in (model, model.compiled()))
    np.testing.assert_array_equal(got, want)
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] <= 3


def test_cosmos() -> None:
    config = CosmosConfig(
        dim=64, n_layers=2, n_heads=4, n_kv_heads=2, ffn_hidden_size=96, vocab_size=100, video_latent_shape=(3, 8, 12)
    )
    model = Cosmos.random(config, device="cuda")
    want, got = (tokens_of(m, config.layout(1), 1) for m in (model, model.compiled()))
    np.testing.assert_array_equal(got, want)
