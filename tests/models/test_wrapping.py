"""``diagplan.wrap``: a model that is loaded already, as it is."""

import copy
import re
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

from diagplan import (  # noqa: E402
    Diagonal,
    DiagplanError,
    MissingExtraError,
    Raster,
    SpecError,
    compile_plan,
    replay,
    wrap,
)
from tests.support import hf_models as tiny  # noqa: E402


def logits(model: Any, ids: Any, lead: Any = None) -> Any:
    places, mask = torch.arange(ids.shape[1]), torch.ones(ids.shape[1], ids.shape[1], dtype=torch.bool).tril()
    return model.forward(ids, places, places, mask, model.new_cache(*ids.shape), None, lead)


def test_a_plan_runs_on_a_wrapped_model() -> None:
    model = wrap(tiny.emu3())
    plan = compile_plan(model.layout(lead=4, rows=5, cols=6), Diagonal(k=2))
    given = np.array([10, 11, 12, 13, *[tiny.EMU3_EOL] * 4])
    tokens = replay(plan, model, given=given)
    assert tokens.shape == (1, 1, 5, 6)
    assert ((tokens >= 60) & (tokens < 100)).all()
    tiny.require_varied(tokens)


@pytest.mark.parametrize("where", ["cpu", "disk"])
def test_a_model_that_accelerate_has_spread(where: str, tmp_path: Path) -> None:
    """The last layer is elsewhere, and brought for its passes alone; ``make versions`` has accelerate."""
    accelerate = pytest.importorskip("accelerate")
    given = np.array([10, 11, 12, 13, *[tiny.EMU3_EOL] * 4])
    plan = compile_plan(wrap(tiny.emu3()).layout(lead=4, rows=5, cols=6), Diagonal(k=2))
    want = replay(plan, wrap(tiny.emu3()), given=given)
    module = tiny.emu3()
    last = f"layers.{module.config.get_text_config(decoder=True).num_hidden_layers - 1}."
    places = dict[str, str]()
    for name in (*dict(module.named_parameters()), *dict(module.named_buffers())):
        layer = re.match(r".*\.layers\.\d+", name)
        key = name.rpartition(".")[0] if layer is None else layer[0]
        places[key] = where if last in name else "cpu"
    spread = accelerate.dispatch_model(module, places, main_device="cpu", offload_dir=tmp_path, force_hooks=True)
    assert any(part.device.type == "meta" for part in spread.parameters()) == (where == "disk")
    np.testing.assert_array_equal(replay(plan, wrap(spread), given=given), want)


def test_dropout_is_off() -> None:
    module = tiny.emu3()  # with an attention_dropout, as Emu3's configuration has
    model = wrap(module.train())
    ids = torch.arange(6)[None]
    assert torch.equal(logits(model, ids), logits(model, ids))
    module.train()
    with pytest.raises(SpecError, match="expected a model in evaluation mode, got one in training mode"):
        logits(model, ids)


def test_positions_are_given_never_counted() -> None:
    """Tokens in another order and in two passes; then again after the module's own generate, which remembers."""
    module = tiny.llama()
    ids = torch.arange(20, 26)[None]
    with torch.inference_mode():
        want = module(input_ids=ids, use_cache=False).logits
    model = wrap(module, raster=tiny.RASTER)
    cache, seen = model.new_cache(1, 9), torch.ones(6, 6, dtype=torch.bool).tril()
    slots, got = torch.tensor([7, 2, 0, 5, 8, 3]), torch.empty_like(want)
    for feeds in (torch.tensor([2, 0, 1]), torch.tensor([5, 3, 4])):
        mask = torch.zeros(3, 9, dtype=torch.bool)
        mask[:, slots] = seen[feeds]
        got[:, feeds] = model.forward(ids[:, feeds], feeds, slots[feeds], mask, cache)
    torch.testing.assert_close(got[..., 40:80], want[..., 40:80], atol=1e-4, rtol=0)


def test_embeddings_stand_in_the_place_of_ids() -> None:
    module = tiny.emu3()
    model = wrap(module)
    ids = torch.tensor([[10, 11, 12, 13], [10, 12, 12, 14]])
    lead = module.get_input_embeddings()(torch.tensor([[11, 12], [12, 50]])).detach()
    assert model.lead_width == lead.shape[-1]
    fed = torch.tensor([[10, -1, -2, 13], [10, -1, -1, 14]])
    torch.testing.assert_close(logits(model, fed, lead), logits(model, ids))


def test_the_fingerprint_is_of_all_weights_that_a_pass_reads() -> None:
    module = tiny.janus()
    model = wrap(module)
    before = model.fingerprint()
    assert before == wrap(copy.deepcopy(module)).fingerprint() == model.fingerprint()
    read = ("language_model", "generation_embeddings", "generation_aligner", "generation_head")
    for name, parameter in module.named_parameters():
        held = parameter.detach().clone()
        with torch.no_grad():
            parameter.view(-1)[-1] += 1
        assert (model.fingerprint() != before) == any(part in name for part in read), name
        with torch.no_grad():
            parameter.copy_(held)
        assert model.fingerprint() == before
    other = copy.deepcopy(module)
    other.model.language_model.config.rms_norm_eps = 1e-3
    assert wrap(other).fingerprint() != before


def test_bytes_are_those_of_a_pass() -> None:
    module = tiny.llama(sizes={"tie_word_embeddings": True})
    assert wrap(module, raster=tiny.RASTER).weight_bytes() == 4 * sum(p.numel() for p in module.parameters())
    module = tiny.chameleon()
    encoder = sum(p.numel() for p in module.model.vqmodel.parameters())
    assert wrap(module).weight_bytes() == 4 * (sum(p.numel() for p in module.parameters()) - encoder)


def test_quantised_products_are_the_users() -> None:
    """A linear layer of another class, as quantisation puts in the place of torch's."""
    Module: Any = torch.nn.Module

    class Halved(Module):  # type: ignore[misc]
        def __init__(self, linear: Any) -> None:
            super().__init__()
            self.register_buffer("codes", (linear.weight * 16).round().to(torch.int8))

        def forward(self, x: Any) -> Any:
            return torch.nn.functional.linear(x, self.codes.to(x.dtype) / 16)

    module = tiny.llama()
    for layer in module.model.layers:
        for part in (layer.self_attn, layer.mlp):
            for name, linear in list(part.named_children()):
                if isinstance(linear, torch.nn.Linear):
                    setattr(part, name, Halved(linear))
    model, ids = wrap(module, raster=tiny.RASTER), torch.arange(20, 26)[None]
    with torch.inference_mode():
        want = module(input_ids=ids, use_cache=False).logits
        torch.testing.assert_close(logits(model, ids)[..., 40:80], want[..., 40:80])
    whole = wrap(tiny.llama(), raster=tiny.RASTER)
    assert model.weight_bytes() < whole.weight_bytes()
    assert model.fingerprint() != whole.fingerprint()


def test_a_mask_that_is_ignored_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    real = torch.nn.functional.scaled_dot_product_attention
    monkeypatch.setattr(
        torch.nn.functional, "scaled_dot_product_attention",
        lambda q, k, v, attn_mask, **options: (attn_mask, real(q, k, v, **options))[1],
    )  # fmt: skip
    with pytest.raises(DiagplanError, match="expected attention to obey its mask"):
        wrap(tiny.llama(), raster=tiny.RASTER)


def test_what_is_no_model() -> None:
    with pytest.raises(SpecError, match="expected a model of transformers, got a Linear"):
        wrap(torch.nn.Linear(2, 2))
    with pytest.raises(SpecError, match=r"expected raster to be a Raster, got raster=<tuple>"):
        wrap(tiny.llama(), raster=(1, 2))  # type: ignore[arg-type]


def test_without_transformers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(MissingExtraError, match="expected transformers for models of transformers, got none"):
        wrap(object())


def test_a_model_that_is_wrapped_at_every_call_is_tested_once(monkeypatch: pytest.MonkeyPatch) -> None:
    from diagplan.backends import selftest
    from diagplan.models.wrapping import wrap_again

    tested, own = [], selftest.require_masks_obeyed

    def counted(model: Any) -> None:
        tested.append(model)
        own(model)

    monkeypatch.setattr(selftest, "require_masks_obeyed", counted)
    module = tiny.llama()
    for _ in range(3):
        wrap_again(module, tiny.RASTER)
    assert len(tested) == 1
    module.set_attn_implementation("eager")
    wrap_again(module, tiny.RASTER)
    wrap_again(module, Raster(ids=(10, 50), rows=5, cols=6))
    wrap_again(tiny.llama(), tiny.RASTER)
    assert len(tested) == 4
