"""The trained pass is the adapter's."""

from typing import Literal

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("av")
pytest.importorskip("diffusers")

from diagplan.adapters.mc_ar import McAr, McArConfig  # noqa: E402
from diagplan.training.llama import TrainedMcAr  # noqa: E402
from tests.support.scrolling import COLS, CONFIG, ROWS  # noqa: E402


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
