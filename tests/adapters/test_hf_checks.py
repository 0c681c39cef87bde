"""What would give wrong tokens in silence is refused, with the reason."""

from types import SimpleNamespace
from typing import Any

import pytest

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

from diagplan import SpecError, wrap  # noqa: E402
from diagplan.adapters.hf_checks import attention_of, layer_devices, require_plannable  # noqa: E402
from tests.support import hf_models as tiny  # noqa: E402


def decoder(kind: str | None = "sdpa", **more: Any) -> Any:
    return SimpleNamespace(config=SimpleNamespace(_attn_implementation=kind), **more)


@pytest.mark.parametrize("kind", ["sdpa", "eager"])
def test_two_kinds_of_attention_take_a_mask(kind: str) -> None:
    assert attention_of(decoder(kind)) == kind


@pytest.mark.parametrize("kind", ["flash_attention_2", "flex_attention", "paged|sdpa"])
def test_others_are_refused(kind: str) -> None:
    with pytest.raises(SpecError, match="expected a model with attention sdpa or eager, got") as caught:
        attention_of(decoder(kind))
    assert kind in str(caught.value)


def test_attention_that_is_changed_later_is_seen() -> None:
    """Booleans are right for sdpa, and are added as 0 and 1 by eager attention."""
    module = tiny.llama()
    model = wrap(module, raster=tiny.RASTER)
    logits = []
    ids, places, mask = torch.arange(6)[None], torch.arange(6), torch.ones(6, 6, dtype=torch.bool).tril()
    for kind in ("sdpa", "eager"):
        module.set_attn_implementation(kind)
        logits.append(model.forward(ids, places, places, mask, model.new_cache(1, 6)))
    torch.testing.assert_close(logits[0], logits[1], atol=1e-4, rtol=0)
    module.config._attn_implementation = "flash_attention_2"
    with pytest.raises(SpecError, match="expected a model with attention sdpa or eager, got 'flash_attention_2'"):
        model.forward(ids, places, places, mask, model.new_cache(1, 6))


def test_windows_are_refused() -> None:
    window = tiny.llama(kind="Mistral", sizes={"sliding_window": 4, "head_dim": 8})
    with pytest.raises(SpecError, match=r"layers all see the whole sequence, got (sliding_window=4|layer_types with)"):
        wrap(window, raster=tiny.RASTER)
    wrap(tiny.llama(kind="Mistral", sizes={"sliding_window": None, "head_dim": 8}), raster=tiny.RASTER)


def test_some_layers_with_a_window_are_refused() -> None:
    sizes = {"head_dim": 8, "use_sliding_window": True, "sliding_window": 4, "max_window_layers": 1}
    with pytest.raises(SpecError, match="got layer_types with 'sliding_attention'"):
        wrap(tiny.llama(kind="Qwen3", sizes=sizes), raster=tiny.RASTER)
    wrap(tiny.llama(kind="Qwen3", sizes=sizes | {"use_sliding_window": False}), raster=tiny.RASTER)


@pytest.mark.parametrize(
    ("config", "reason"),
    [
        ({"sliding_window": 8}, "got sliding_window=8"),
        ({"layer_types": ["full_attention", "chunked_attention"]}, "got layer_types with 'chunked_attention'"),
        ({"rope_parameters": {"rope_type": "dynamic"}}, "change with the sequence's length, got rope_type='dynamic'"),
        ({"rope_scaling": {"type": "longrope"}}, "got rope_type='longrope'"),
        ({"is_encoder_decoder": True}, "got a model with an encoder"),
        ({"final_logit_softcapping": 30.0}, "got final_logit_softcapping=30.0"),
        ({"logits_scaling": 8.0}, "got logits_scaling=8.0"),
    ],
)  # fmt: skip
def test_what_is_refused(config: dict[str, Any], reason: str) -> None:
    with pytest.raises(SpecError, match=reason):
        require_plannable(decoder(), SimpleNamespace(**config))


@pytest.mark.parametrize(
    "config",
    [
        {},
        {"sliding_window": 8, "use_sliding_window": False},
        {"logit_scale": 1.0, "final_logit_softcapping": None},
        {"sliding_window": 8, "layer_types": ["full_attention"] * 2},
        {"rope_parameters": {"rope_type": "llama3"}, "rope_scaling": None},
    ],
)
def test_what_is_not(config: dict[str, Any]) -> None:
    require_plannable(decoder(), SimpleNamespace(**config))


def test_layers_are_where_they_compute() -> None:
    layers: list[Any] = [torch.nn.Linear(2, 2) for _ in range(3)]
    layers[1]._hf_hook = SimpleNamespace(execution_device="cpu")
    layers[1].to("meta")  # as accelerate keeps what is offloaded
    assert layer_devices(decoder(layers=layers)) == [torch.device("cpu")] * 3
    with pytest.raises(SpecError, match="expected weights that are loaded"):
        layer_devices(decoder(layers=[torch.nn.Linear(2, 2, device="meta")]))
    with pytest.raises(SpecError, match="expected a decoder with a list of layers, got SimpleNamespace"):
        layer_devices(decoder())
