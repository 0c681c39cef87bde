"""The self-test finds each fault by its own sentence, and lets sound models through in every dtype."""

import copy
import re
from collections.abc import Callable
from typing import Any

import pytest

torch = pytest.importorskip("torch")

from diagplan.adapters.cache import TensorCache  # noqa: E402
from diagplan.adapters.contract import is_ragged  # noqa: E402
from diagplan.adapters.cosmos import Cosmos  # noqa: E402
from diagplan.backends.selftest import require_masks_obeyed, require_tested  # noqa: E402
from diagplan.examples.image_model import ImageModel  # noqa: E402
from diagplan.planner.errors import DiagplanError  # noqa: E402
from tests.support.families import MODELS, WORLD  # noqa: E402


class Faulty:
    """A model whose passes go through ``fault(forward, ids, position, slot, mask, cache, rows)``."""

    def __init__(self, model: Any, fault: Callable[..., Any]) -> None:
        self.model, self.fault, self.passes = model, fault, 0

    def __getattr__(self, name: str) -> Any:
        if name == "model":  # asked for by copy, before there is one
            raise AttributeError(name)
        return getattr(self.model, name)

    def forward(self, ids: Any, position: Any, slot: Any, mask: Any, cache: Any, rows: Any = None) -> Any:
        self.passes += 1
        return self.fault(self.model.forward, ids, position, slot, mask, cache, rows)


def sound(forward: Any, *inputs: Any) -> Any:
    return forward(*inputs)


def everything_seen(forward: Any, ids: Any, position: Any, slot: Any, mask: Any, cache: Any, rows: Any) -> Any:
    return forward(ids, position, slot, mask.any(0).expand_as(mask), cache, rows)


def itself_seen(forward: Any, ids: Any, position: Any, slot: Any, mask: Any, cache: Any, rows: Any) -> Any:
    own = torch.zeros_like(mask)
    own[torch.arange(len(slot)), slot] = True
    return forward(ids, position, slot, own, cache, rows)


def all_rows(forward: Any, ids: Any, position: Any, slot: Any, mask: Any, cache: Any, rows: Any) -> Any:
    del rows
    return forward(ids, position, slot, mask, cache, None)


def first_rows(forward: Any, ids: Any, position: Any, slot: Any, mask: Any, cache: Any, rows: Any) -> Any:
    return forward(ids, position, slot, mask, cache, None if rows is None else torch.arange(len(rows)))


def slots_in_order(forward: Any, ids: Any, position: Any, slot: Any, mask: Any, cache: Any, rows: Any) -> Any:
    return forward(ids, position, slot.sort()[0], mask, cache, rows)


def positions_of_slots(forward: Any, ids: Any, position: Any, slot: Any, mask: Any, cache: Any, rows: Any) -> Any:
    at = slot if position.ndim == 1 else slot[:, None].expand_as(position)
    return forward(ids, at, slot, mask, cache, rows)


def positions_in_order(forward: Any, ids: Any, position: Any, slot: Any, mask: Any, cache: Any, rows: Any) -> Any:
    return forward(ids, position.sort(dim=0)[0], slot, mask, cache, rows)


def cache_of_its_own(forward: Any, ids: Any, position: Any, slot: Any, mask: Any, cache: Any, rows: Any) -> Any:
    return forward(ids, position, slot, mask, TensorCache([t.clone() for t in cache.tensors]), rows)


def keys_not_kept(forward: Any, ids: Any, position: Any, slot: Any, mask: Any, cache: Any, rows: Any) -> Any:
    before = cache.tensors[0].clone()
    logits = forward(ids, position, slot, mask, cache, rows)
    cache.tensors[0].copy_(before)
    return logits


def not_finite(forward: Any, *inputs: Any) -> Any:
    return forward(*inputs) / 0


FAULTS = {
    everything_seen: "expected attention to obey its mask, got a {family} model on cpu (torch.float32) that ignores it",
    itself_seen: "expected attention to obey its mask, got a {family} model on cpu (torch.float32) that ignores it",
    all_rows: "one row for each of the feeds in rows, got a {family} model on cpu (torch.float32) that returns [1, 3",
    first_rows: "expected logits of the feeds in rows, got a {family} model on cpu (torch.float32) that returns those",
    slots_in_order: "expected keys and values at the slots in slot, got a {family} model on cpu (torch.float32) that",
    positions_of_slots: "expected keys and values at the slots in slot, got a {family} model on cpu (torch.float32)",
    positions_in_order: "expected position embeddings of the slots in position, got a {family} model on cpu (torch",
    cache_of_its_own: "expected a pass to read what the pass before it wrote to the cache, got a {family} model on",
    keys_not_kept: "expected a pass to read what the pass before it wrote to the cache, got a {family} model on cpu",
    not_finite: "expected finite logits, got NaN or infinite ones from this {family} model in torch.float32",
}


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.__name__)
def test_each_fault_has_its_sentence(name: str, fault: Any) -> None:
    model = MODELS[name](torch.float32)
    with pytest.raises(DiagplanError, match=re.escape(FAULTS[fault].format(family=model.family))):
        require_masks_obeyed(Faulty(model, fault))


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("dtype", ["float64", "float32", "bfloat16", "float16"])
def test_sound_models_pass(name: str, dtype: str) -> None:
    model = Faulty(MODELS[name](getattr(torch, dtype)), sound)
    require_masks_obeyed(model)
    assert model.passes == (6 if is_ragged(model) else 5)


@pytest.mark.parametrize("member", ["position", "slot", "mask"])
@pytest.mark.parametrize("name", ["mc-ar", "cosmos", "wham"])
def test_samples_that_are_not_kept_apart_are_found(name: str, member: str) -> None:
    def of_the_first(forward: Any, *inputs: Any) -> Any:
        held = dict(zip(("ids", "position", "slot", "mask", "cache", "rows"), inputs, strict=True))
        if held["slot"].ndim == 2:
            held[member] = held[member][0]
        return forward(*held.values())

    model = MODELS[name](torch.float32)
    with pytest.raises(DiagplanError, match="expected samples that differ in position, slot and mask, got a"):
        require_masks_obeyed(Faulty(model, of_the_first))


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("fault", [everything_seen, positions_in_order, cache_of_its_own], ids=lambda f: f.__name__)
def test_faults_are_found_in_bfloat16(name: str, fault: Any) -> None:
    with pytest.raises(DiagplanError):
        require_masks_obeyed(Faulty(MODELS[name](torch.bfloat16), fault))


@pytest.mark.parametrize("noise", [3e-8, 1e-6, 1e-3])
def test_rounding_that_differs_from_pass_to_pass_is_no_fault(noise: float) -> None:
    generator = torch.Generator().manual_seed(0)

    def noisy(forward: Any, *inputs: Any) -> Any:
        logits = forward(*inputs)
        return logits + noise * torch.randn(logits.shape, generator=generator)

    require_masks_obeyed(Faulty(MODELS["mc-ar"](torch.float32), noisy))


@pytest.mark.parametrize("positions", [3, 4])
def test_as_few_positions_as_can_be(positions: int) -> None:
    model = ImageModel.random(positions)
    require_masks_obeyed(model)
    for fault in FAULTS:
        with pytest.raises((DiagplanError, IndexError)):  # the latter where slots are taken for positions
            require_masks_obeyed(Faulty(model, fault))


def test_a_model_bound_to_a_text_for_each_sample() -> None:
    model = Cosmos.random(WORLD).with_context(torch.ones(2, 3, 12))
    require_masks_obeyed(model)
    with pytest.raises(DiagplanError, match="expected a pass to read what the pass before it wrote"):
        require_masks_obeyed(Faulty(model, cache_of_its_own))


def test_a_model_is_tested_once() -> None:
    model = Faulty(MODELS["example"](torch.float32), sound)
    for _ in range(2):
        require_tested(model)
        assert model.passes == 5
    other = copy.copy(model)
    require_tested(other)
    assert other.passes == 5
    require_masks_obeyed(model)
    assert model.passes == 10


class Slotted:
    """A model that nothing can be written to."""

    __slots__ = ("inner",)

    def __init__(self, inner: Faulty) -> None:
        self.inner = inner

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)


def test_a_model_without_room_for_the_mark_is_tested_each_time() -> None:
    inner = Faulty(MODELS["example"](torch.float32), sound)
    model: Any = Slotted(inner)
    for passes in (5, 10):
        require_tested(model)
        assert inner.passes == passes


def test_a_faulty_model_is_never_taken_as_tested() -> None:
    model = Faulty(MODELS["example"](torch.float32), cache_of_its_own)
    for _ in range(2):
        with pytest.raises(DiagplanError, match="expected a pass to read what"):
            require_tested(model)
