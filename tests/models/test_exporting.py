"""An export is compared with its model: sound ones pass in every dtype, planted faults are refused in every family."""

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")

from diagplan.adapters.cache import TensorCache  # noqa: E402
from diagplan.adapters.cosmos import Cosmos  # noqa: E402
from diagplan.adapters.mc_ar import McAr  # noqa: E402
from diagplan.adapters.norms import RmsNorm  # noqa: E402
from diagplan.adapters.wham import Wham  # noqa: E402
from diagplan.models.exporting import BOUNDS, export_onnx, require_alike  # noqa: E402
from diagplan.planner.errors import DocumentError  # noqa: E402
from tests.support.cosmos import TEXT, TINY, WORLD  # noqa: E402
from tests.support.families import GPT, LLAMA  # noqa: E402
from tests.support.int8 import needs_int8  # noqa: E402

#: Family -> the model with options.
MODELS: dict[str, Callable[..., Any]] = {
    "mc-ar": lambda **options: McAr.random(LLAMA, **options),
    "cosmos": lambda **options: Cosmos.random(TINY, **options),
    "cosmos-v2w": lambda **options: Cosmos.random(WORLD, **options).with_context(TEXT[0]),
    "wham": lambda **options: Wham.random(GPT, **options),
}
FAMILIES = pytest.mark.parametrize("name", MODELS)


def changed(model: Any, **members: Any) -> Any:
    other = copy.copy(model)
    for name, value in members.items():
        setattr(other, name, value)
    return other


def layers(model: Any) -> tuple[str, list[Any]]:
    return next((name, list(getattr(model, name))) for name in ("blocks", "layers") if hasattr(model, name))


def doubled(norm: Any) -> Any:
    if isinstance(norm, RmsNorm):
        return RmsNorm(2 * norm.weight, norm.eps, portable=True)
    return norm._replace(weight=2 * norm.weight)


def doubled_last_norm(model: Any) -> Any:
    return changed(model, norm=doubled(model.norm))


def doubled_norm_of_a_layer(model: Any) -> Any:
    name, held = layers(model)
    norm = next(field for field in held[-1]._fields if field in ("mlp_norm", "ffn_norm", "norm_2"))
    new = doubled(getattr(held[-1], norm))
    return changed(model, **{name: [*held[:-1], held[-1]._replace(**{norm: new})]})


def swapped_layers(model: Any) -> Any:
    name, held = layers(model)
    return changed(model, **{name: [held[1], held[0], *held[2:]]})


def positions_off_by_one(model: Any) -> Any:
    if hasattr(model, "place"):
        return changed(model, place=model.place.roll(1, 0))
    # Rotation is relative: every other position is moved.
    odd = torch.arange(len(model.cos)) % 2 == 1
    moved = {name: torch.where(odd[:, None], t.roll(1, 0), t) for name, t in (("cos", model.cos), ("sin", model.sin))}
    return changed(model, **moved)


def rotated_backwards(model: Any) -> Any:
    if hasattr(model, "place"):
        return changed(model, place=model.place.flip(0))
    return changed(model, sin=-model.sin, cos=model.cos.roll(1, 1))


class Passed:
    """A model whose passes, or whose caches, are not its own."""

    def __init__(self, model: Any) -> None:
        self.model = model

    def __getattr__(self, name: str) -> Any:
        return getattr(self.model, name)


class CacheOfItsOwn(Passed):
    """The second pass sees nothing of the first, whose cache is right all the same."""

    def forward(self, ids: Any, position: Any, slot: Any, mask: Any, cache: Any, rows: Any = None) -> Any:
        empty = self.model.new_cache(len(ids), cache.tensors[0].shape[2])
        logits = self.model.forward(ids, position, slot, mask, empty, rows)
        self.model.forward(ids, position, slot, mask, cache, rows)
        return logits


class OtherSlots(Passed):
    """Logits are right, what is left in the cache is not."""

    def new_cache(self, batch: int, slots: int) -> Any:
        class Rolled(TensorCache):
            def read(self, slots: int) -> Any:
                return TensorCache([t.roll(1, 2) for t in self.tensors]).read(slots)

        return Rolled(self.model.new_cache(batch, slots).tensors)


FAULTS = (
    doubled_last_norm, doubled_norm_of_a_layer, swapped_layers, positions_off_by_one, rotated_backwards,
    CacheOfItsOwn, OtherSlots,
)  # fmt: skip


@FAMILIES
@pytest.mark.parametrize("dtype", ["float64", "float32", "float16"])
@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.__name__)
def test_a_fault_is_refused(name: str, dtype: str, fault: Any) -> None:
    model = MODELS[name](dtype=getattr(torch, dtype), portable=True)
    require_alike(model, copy.copy(model), BOUNDS[dtype])
    with pytest.raises(DocumentError, match="expected the exported graph to give the model's logits and cache to"):
        require_alike(model, fault(model), BOUNDS[dtype])


@needs_int8
@FAMILIES
@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.__name__)
def test_a_fault_is_refused_in_int8(name: str, fault: Any) -> None:
    exact, small = MODELS[name](portable=True), MODELS[name](quantize="int8")
    difference, largest = require_alike(exact, small, BOUNDS["int8"])
    assert 1e-3 < difference < largest
    with pytest.raises(DocumentError, match="expected the exported graph to give the model's logits and cache to"):
        require_alike(exact, fault(small), BOUNDS["int8"])


@FAMILIES
def test_nan_is_refused(name: str) -> None:
    model = MODELS[name](portable=True)
    embedding = model.embedding.clone()
    embedding[:, 0] = float("nan")
    with pytest.raises(DocumentError, match="got a difference of nan in"):
        require_alike(model, changed(model, embedding=embedding), BOUNDS["float16"])


def test_ids_that_are_never_chosen_do_not_count() -> None:
    """Video2World's padding has logits of -10,000, beside which any other difference is small, and any size."""
    model = MODELS["cosmos-v2w"](portable=True)

    class OtherPadding(Passed):
        def forward(self, *inputs: Any) -> Any:
            logits = self.model.forward(*inputs).clone()
            logits[..., WORLD.vocab_size :] *= 2
            return logits

    difference, largest = require_alike(model, OtherPadding(model), BOUNDS["float32"])
    assert (difference, largest < 100) == (0, True)


def test_a_faulty_export_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    from diagplan.backends import onnx_export

    model, real = MODELS["mc-ar"](portable=True), onnx_export.export_model
    faulty = doubled_last_norm(model)
    monkeypatch.setattr(onnx_export, "export_model", lambda _, *rest, **options: real(faulty, *rest, **options))
    with pytest.raises(DocumentError, match=r"to 0\.001 of their spread, got a difference of .*Nothing was written"):
        export_onnx(model, tmp_path / "faulty")
    assert not any(tmp_path.iterdir())
