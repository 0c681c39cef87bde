"""The text core in diagplan's own layers: the logits of the library's, where it fits, and a word where it does not."""

from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

from diagplan import Diagonal, NextToken, compile_plan, replay, wrap  # noqa: E402
from diagplan.adapters.hf_fast import why_not_fast  # noqa: E402
from diagplan.adapters.hf_parts import parts_of  # noqa: E402
from diagplan.adapters.transformers import TransformersModel  # noqa: E402
from tests.support import hf_models as tiny  # noqa: E402

FITTING = ("janus-pro", "emu3", "raster-llama")


def both(family: str, **options: Any) -> tuple[TransformersModel, TransformersModel]:
    module = tiny.BUILDERS[family](**options)
    raster = tiny.RASTER if family == "raster-llama" else None
    slow, fast = (wrap(module, family=family, raster=raster, fast=fast) for fast in (False, True))
    assert (slow.fast, fast.fast) == (False, True)
    return slow, fast


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("family", FITTING)
def test_its_logits_are_the_librarys(family: str, dtype: Any) -> None:
    """To float rounding, rows that differ and embeddings included."""
    models = both(family, dtype=dtype)
    draw = np.random.default_rng(0)
    ids = torch.from_numpy(draw.integers(0, models[0].input_vocab_size, (2, 6)))
    places = torch.tensor([[0, 1, 2, 3, 4, 5], [9, 8, 7, 2, 1, 0]])
    slots = torch.tensor([[3, 1, 0, 2, 5, 4], [0, 1, 2, 3, 4, 5]])
    mask = torch.from_numpy(draw.random((2, 6, 7)) < 0.6)
    mask[torch.arange(2)[:, None], torch.arange(6), slots] = True
    lead = torch.from_numpy(draw.standard_normal((2, 1, 32))).to(dtype)
    ids[:, 2] = -1
    one, two = (
        model.forward(ids, places, slots, mask, model.new_cache(2, 7), torch.tensor([1, 5]), lead) for model in models
    )
    assert one.shape == two.shape == (2, 2, models[0].vocab_size)
    torch.testing.assert_close(two, one, atol=1e-4 if dtype == torch.float32 else 1e-5, rtol=0)


@pytest.mark.parametrize("family", FITTING)
def test_its_tokens_are_the_librarys(family: str) -> None:
    slow, fast = both(family)
    layout = slow.layout(6, rows=5, cols=6)
    ids, _ = tiny.prompts([6, 4])
    given = np.concatenate([ids.numpy(), np.full((2, 4 * layout.between_rows), 3)], axis=1)
    for schedule in (NextToken(), Diagonal(k=2)):
        plan = compile_plan(layout, schedule)
        want = replay(plan, slow, given=given, pad=[0, 2])
        tiny.require_varied(want)
        np.testing.assert_array_equal(replay(plan, fast, given=given, pad=[0, 2]), want)


def test_scaled_rotation_is_the_decoders() -> None:
    rope = {"rope_type": "linear", "factor": 4.0, "rope_theta": 500.0}
    sizes = {"rope_parameters": rope, "rope_scaling": rope, "rope_theta": 500.0}
    module = tiny.llama(sizes=sizes)
    slow, fast = (wrap(module, raster=tiny.RASTER, fast=fast) for fast in (False, True))
    ids, places, mask = torch.arange(6)[None], torch.arange(100, 106), torch.ones(6, 6, dtype=torch.bool).tril()
    one, two = (
        model.forward(ids, places, torch.arange(6), mask, model.new_cache(1, 6)) for model in (slow, fast)
    )  # fmt: skip
    torch.testing.assert_close(two, one, atol=1e-4, rtol=0)


def test_moved_matrices_are_let_go() -> None:
    module = tiny.janus()
    whole = TransformersModel(module)
    size, text = whole.weight_bytes(), whole.fingerprint()
    fast = TransformersModel(module, fast=True, consume=True)
    assert fast.weight_bytes() == size
    assert fast.fingerprint() != text
    layers = module.model.language_model.layers
    assert all(value.numel() == 0 for value in layers.parameters() if value.dim() > 1 or not value.numel())
    assert not any(value.dim() > 1 for value in layers.parameters())
    assert module.decode_image_tokens(torch.zeros((1, 36), dtype=torch.int64)).shape[0] == 1  # its pictures stay
    again = TransformersModel(tiny.janus(), fast=True)
    assert fast.fingerprint() != TransformersModel(tiny.janus(seed=1), fast=True).fingerprint()
    ids, places, mask = torch.arange(6)[None], torch.arange(6), torch.ones(6, 6, dtype=torch.bool).tril()
    one, two = (model.forward(ids, places, places, mask, model.new_cache(1, 6)) for model in (fast, again))
    assert torch.equal(one, two)


def test_a_tied_head_stays() -> None:
    module = tiny.llama(sizes={"tie_word_embeddings": True})
    TransformersModel(module, raster=tiny.RASTER, fast=True, consume=True)
    assert module.get_input_embeddings().weight.numel() == module.lm_head.weight.numel() == 3200


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (tiny.chameleon, "its decoder is a ChameleonModel"),
        (tiny.glm_image, "its decoder is a GlmImageTextModel"),
        (lambda: tiny.llama(sizes={"hidden_act": "gelu"}), "its hidden_act is gelu"),
        (lambda: tiny.llama(sizes={"mlp_bias": True}), "its products have biases, or are quantised"),
    ],
)  # fmt: skip
def test_what_is_no_plain_llama_stays(make: Any, reason: str) -> None:
    module = make()
    raster = tiny.RASTER if module.config.model_type == "llama" else None
    assert why_not_fast(parts_of(module, raster=raster), module.config.get_text_config(decoder=True)) == reason
    assert not wrap(module, raster=raster, fast=True).fast


def test_several_dtypes_stay() -> None:
    module = tiny.emu3()
    module.lm_head.to(torch.float64)
    reason = why_not_fast(parts_of(module), module.config.get_text_config(decoder=True))
    assert reason == "its weights are of several dtypes or on several devices"
