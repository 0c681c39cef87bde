"""A layer as one function gives the numbers of the model's own layers; compiling it is a GPU's business."""

from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from diagplan.adapters import cosmos, mc_ar  # noqa: E402
from diagplan.adapters.cosmos import Cosmos, CosmosConfig  # noqa: E402
from diagplan.adapters.fused import layer_pass, plain_weight  # noqa: E402
from diagplan.adapters.linear import PackedLinear  # noqa: E402
from diagplan.adapters.mc_ar import McAr  # noqa: E402
from diagplan.planner.errors import SpecError  # noqa: E402
from tests.support.cuda import CONFIG  # noqa: E402

COSMOS = CosmosConfig(
    dim=64, n_layers=2, n_heads=4, n_kv_heads=2, ffn_hidden_size=96, vocab_size=100, video_latent_shape=(3, 8, 12)
)


@pytest.fixture(autouse=True)
def as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not compiled: importing the compiler takes longer than all of this."""
    for module in (mc_ar, cosmos):
        monkeypatch.setattr(module, "compiled_layer", lambda: layer_pass)


def models() -> dict[str, Any]:
    return {"mc-ar": McAr.random(CONFIG, portable=True), "cosmos": Cosmos.random(COSMOS, portable=True)}


@pytest.mark.parametrize("name", ["mc-ar", "cosmos"])
@pytest.mark.parametrize("ragged", [False, True])
def test_one_function_gives_the_numbers_of_the_layers(name: str, ragged: bool) -> None:
    model = models()[name]
    fused = model.compiled()
    random, caches = np.random.default_rng(0), [model.new_cache(2, 64) for _ in range(2)]
    for first, n, rows in ((0, 12, None), (12, 1, None), (13, 5, [4])):
        ids = torch.from_numpy(random.integers(0, 90, (2, n)))
        slot = torch.arange(first, first + n)
        mask = torch.arange(64) <= slot[:, None]
        if ragged:
            slot, mask = slot.expand(2, -1), mask.expand(2, -1, -1)
        inputs = (ids, slot, slot, mask)
        wanted = None if rows is None else torch.tensor(rows)
        with torch.inference_mode():
            want, got = (m.forward(*inputs, c, wanted) for m, c in zip((model, fused), caches, strict=True))
        torch.testing.assert_close(got, want, rtol=1e-4, atol=1e-4)
    for own, other in zip(*(c.tensors for c in caches), strict=True):
        torch.testing.assert_close(own, other, rtol=1e-4, atol=1e-4)


def test_the_model_itself_stays_as_it_is() -> None:
    model = models()["mc-ar"]
    fused = model.compiled()
    assert model._fused is None
    assert fused.embedding is model.embedding
    assert fused.fingerprint() == model.fingerprint()


def test_packed_weights_are_refused() -> None:
    packed = PackedLinear(torch.ones(4, 4))
    with pytest.raises(SpecError, match="expected plain weights for compiled layers, got packed or quantised ones"):
        plain_weight(packed)


def test_a_text_is_not_read() -> None:
    from dataclasses import replace

    model = Cosmos.random(replace(COSMOS, context_dim=8), portable=True)
    with pytest.raises(SpecError, match="reads no text for compiled layers, got a Video2World one"):
        model.compiled()
