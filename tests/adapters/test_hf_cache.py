"""Slots are set on the layers of the cache, and the cache goes to the decoder under the decoder's own name for it."""

from typing import Any

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

from diagplan.adapters.cache import TensorCache  # noqa: E402
from diagplan.adapters.hf_cache import SlotCache, cache_argument  # noqa: E402
from diagplan.adapters.transformers import TransformersModel  # noqa: E402
from diagplan.backends.selftest import require_masks_obeyed  # noqa: E402
from diagplan.planner.errors import DiagplanError, SpecError  # noqa: E402
from tests.support import hf_models as tiny  # noqa: E402


def cache(batch: int = 2) -> SlotCache:
    return SlotCache(torch.zeros(batch, 1, 6, 3) for _ in range(4))


def test_a_layer_writes_where_it_is_told() -> None:
    held, new = cache(), torch.arange(12.0).view(2, 1, 2, 3)
    held.write_at(torch.tensor([4, 1]), 5)
    keys, values = held.held.layers[1].update(new, 2 * new)
    assert keys.shape == values.shape == (2, 1, 5, 3)
    assert torch.equal(held.tensors[2][:, :, [4, 1]], new)
    assert torch.equal(held.tensors[3][:, :, [4, 1]], 2 * new)
    assert not held.tensors[0].any()
    assert torch.equal(keys, held.tensors[2][:, :, :5])


def test_each_row_may_have_slots_of_its_own() -> None:
    held, new = cache(), torch.arange(12.0).view(2, 1, 2, 3)
    held.write_at(torch.tensor([[4, 1], [0, 5]]), 6)
    held.held.layers[0].update(new, new)
    assert torch.equal(held.tensors[0][0, :, [4, 1]], new[0])
    assert torch.equal(held.tensors[0][1, :, [0, 5]], new[1])


def test_any_cache_of_tensors_will_do() -> None:
    held = cache()
    assert SlotCache.of(held) is held
    other = SlotCache.of(TensorCache(held.tensors))
    assert [a is b for a, b in zip(other.tensors, held.tensors, strict=True)] == [True] * 4


def test_the_name_is_the_decoders() -> None:
    def new(inputs_embeds: Any, cache: Any, **kwargs: Any) -> None: ...

    def old(inputs_embeds: Any, past_key_values: Any, **kwargs: Any) -> None: ...

    def neither(inputs_embeds: Any, **kwargs: Any) -> None: ...

    assert (cache_argument(new), cache_argument(old)) == ("cache", "past_key_values")
    with pytest.raises(SpecError, match="expected a decoder that takes a cache"):
        cache_argument(neither)


def test_a_wrong_name_is_found_by_the_self_test() -> None:
    """transformers swallows it, and each pass then sees itself alone."""
    model = TransformersModel(tiny.llama(), raster=tiny.RASTER)
    require_masks_obeyed(model)
    forward = model._parts.decoder.forward

    def without(*inputs: Any, attention_mask: Any, **options: Any) -> Any:
        options.pop(model._cache_argument)
        return forward(*inputs, attention_mask=attention_mask[..., : options["inputs_embeds"].shape[1]], **options)

    model._parts.decoder.forward = without
    with pytest.raises(DiagplanError, match=r"expected (a pass to read what the pass before|keys and values at)"):
        require_masks_obeyed(model)
