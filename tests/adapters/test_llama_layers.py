"""The kernels of a GPU: torch's operators up to rounding, and the same bits at any width, cache length and batch.

They need a CUDA device, or Triton's interpreter: ``TRITON_INTERPRET=1`` where Triton is installed.
"""

import os
from collections.abc import Iterator
from dataclasses import replace
from importlib.util import find_spec
from types import SimpleNamespace
from typing import Any

import pytest

torch = pytest.importorskip("torch")

from diagplan.adapters import llama_layers  # noqa: E402
from diagplan.adapters.llama_layers import KernelLayers, Places, Tiles, cut, kernel_layers, sizes_fit  # noqa: E402
from diagplan.adapters.mc_ar import CONFIGS, McAr, McArConfig  # noqa: E402
from diagplan.adapters.norms import RmsNorm  # noqa: E402
from diagplan.planner.rounding import rounded_up  # noqa: E402

SLOTS, PROMPT = 400, 20
CONFIG = McArConfig(
    hidden_size=128,
    intermediate_size=256,
    num_hidden_layers=2,
    num_attention_heads=4,
    num_key_value_heads=2,
    vocab_size=90,
    max_position_embeddings=SLOTS,
    head_dim=32,
)
INTERPRETED = os.environ.get("TRITON_INTERPRET") == "1" and find_spec("triton") is not None
on_a_gpu = pytest.mark.skipif(
    not (torch.cuda.is_available() or INTERPRETED), reason="needs a CUDA device, or TRITON_INTERPRET=1 and Triton"
)
# The interpreter computes in NumPy, which warns where a row that sees nothing is divided, and its result not taken.
pytestmark = [pytest.mark.filterwarnings("ignore:.*encountered in:RuntimeWarning")] if INTERPRETED else []


@pytest.fixture(autouse=True)
def no_gradients() -> Iterator[None]:
    with torch.inference_mode():
        yield


def pair() -> tuple[Any, Any]:
    """A model in torch's operators, and the same in kernels."""
    if torch.cuda.is_available():
        of: Any = {"dtype": torch.bfloat16, "device": "cuda"}
        return McAr.random(CONFIG, kernels=False, **of), McAr.random(CONFIG, **of)
    plain: Any = McAr.random(CONFIG, portable=True)
    built: Any = McAr.random(CONFIG, portable=True)
    built._kernels = KernelLayers(built)
    built.head = lambda x: built._kernels.product(plain.head.weight, x)
    return plain, built


def feeds(model: Any, n: int, *, batch: int = 1, length: int = 256, apart: bool = False) -> tuple[Any, ...]:
    """The first n of 24 feeds behind a prompt, each seeing the prompt and some of the feeds before it."""
    rng = torch.Generator().manual_seed(1)
    ids = torch.randint(0, 90, (batch, 24), generator=rng)[:, :n]
    seen = torch.tril(torch.rand((24, 24), generator=rng) < 0.6)[:n, :n] | torch.eye(n, dtype=torch.bool)
    mask = torch.zeros((n, length), dtype=torch.bool)
    mask[:, :PROMPT], mask[:, PROMPT : PROMPT + n] = True, seen
    slot = torch.arange(PROMPT, PROMPT + n)
    if apart:  # each sample its own places, shifted by its number
        mask, slot = mask.repeat(batch, 1, 1), slot.repeat(batch, 1)
        position = slot + torch.arange(batch)[:, None]
    else:
        position = slot
    return tuple(x.to(model.device) for x in (ids, position, slot, mask))


def prompted(model: Any, batch: int = 1) -> Any:
    """A cache that holds a prompt."""
    cache = model.new_cache(batch, SLOTS)
    ids = torch.randint(0, 90, (batch, PROMPT), generator=torch.Generator().manual_seed(2))
    places, mask = torch.arange(PROMPT), torch.zeros((PROMPT, 128), dtype=torch.bool)
    mask[:, :PROMPT] = torch.tril(torch.ones(PROMPT, PROMPT)) > 0
    model.forward(*(x.to(model.device) for x in (ids, places, places, mask)), cache)
    return cache


@on_a_gpu
@pytest.mark.parametrize(("n", "batch", "apart"), [(1, 1, False), (24, 1, False), (5, 3, False), (5, 3, True)])
def test_the_kernels_compute_what_the_operators_compute(n: int, batch: int, apart: bool) -> None:
    plain, built = pair()
    logits = [m.forward(*feeds(m, n, batch=batch, apart=apart), prompted(m, batch)).float() for m in (plain, built)]
    most = 0.04 if torch.cuda.is_available() else 1e-5
    assert torch.linalg.norm(logits[0] - logits[1]) <= most * torch.linalg.norm(logits[0])
    assert logits[0].abs().mean() > 0.1


@on_a_gpu
@pytest.mark.parametrize("tiles", [Tiles(), Tiles(keys=64, qkv_inputs=64, inputs=64)], ids=["as they are", "others"])
def test_a_token_has_the_same_bits_in_any_pass(tiles: Tiles) -> None:
    _, model = pair()
    model._kernels = KernelLayers(model, tiles)
    whole = model.forward(*feeds(model, 24, length=300), prompted(model))
    for n, length in ((1, 64), (3, 128), (16, 129), (17, 256)):
        assert torch.equal(model.forward(*feeds(model, n, length=length), prompted(model)), whole[:, :n])
    several = model.forward(*feeds(model, 7, batch=3), prompted(model, 3))
    cache = prompted(model, 3)
    for tensor in cache.tensors:
        tensor.copy_(tensor.roll(1, 0))
    ids, *places = feeds(model, 7, batch=3)
    assert torch.equal(model.forward(ids.roll(1, 0), *places, cache), several.roll(1, 0))


@on_a_gpu
@pytest.mark.parametrize("last", [1, 127, 128, 129, 256, 290])
def test_keys_behind_the_last_that_is_seen_are_not_read(last: int) -> None:
    plain, built = pair()
    rng = torch.Generator().manual_seed(last)
    held = [torch.randn(tensor.shape, generator=rng) for tensor in plain.new_cache(2, SLOTS).tensors]
    ids, _, _, _ = feeds(plain, 3, batch=2)
    mask = torch.rand((3, SLOTS), generator=rng) < 0.5
    mask[:, 0], mask[1, last - 1], mask[:, last:] = True, True, False

    def logits(model: Any, length: int, beyond: float) -> Any:
        cache = model.new_cache(2, SLOTS)
        for own, numbers in zip(cache.tensors, held, strict=True):
            own.copy_(numbers)
            own[:, :, rounded_up(last, 128) :] = beyond  # 128 keys are read at once
        slot = torch.tensor([395, 394, 393], device=model.device)  # where nobody looks, as padding has it
        return model.forward(ids, slot, slot, mask[:, :length].to(model.device), cache).float()

    whole = logits(built, SLOTS, beyond=0)
    most = 0.04 if torch.cuda.is_available() else 1e-5
    assert torch.linalg.norm(whole - logits(plain, SLOTS, beyond=0)) <= most * torch.linalg.norm(whole)
    for length in (last, last + 1, SLOTS):
        assert torch.equal(logits(built, length, beyond=float("nan")), whole)


@on_a_gpu
def test_chosen_rows_and_an_unseen_row() -> None:
    _, model = pair()
    rows = torch.tensor([4, 0], device=model.device)
    places = feeds(model, 6)
    all_rows = model.forward(*places, prompted(model))
    assert torch.equal(model.forward(*places, prompted(model), rows), all_rows[:, [4, 0]])
    ids, position, slot, mask = feeds(model, 6)
    mask[5] = False  # padding sees nothing, and harms nobody
    blind = model.forward(ids, position, slot, mask, prompted(model))
    assert torch.equal(blind[:, :5], all_rows[:, :5])
    assert torch.isfinite(blind).all()


@on_a_gpu
def test_a_pass_in_which_nobody_sees_anything_attends_to_zeros() -> None:
    _, model = pair()
    ids, position, slot, mask = feeds(model, 2)
    x, cache = model._kernels.embed(ids), prompted(model)
    places = Places(position, slot, torch.zeros_like(mask))
    real = torch.Tensor.new_empty

    def filled(x: Any, *shape: Any, **options: Any) -> Any:
        out = real(x, *shape, **options)
        return out.fill_(float("nan")) if out.is_floating_point() else out

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch.Tensor, "new_empty", filled)  # what is not written stays NaN
        out = model._kernels._attention(
            x[0], model.layers[0].qkv.weight, places, *cache.layer(0), n=2, reach=model._kernels._reach(places.mask)
        )
    assert torch.equal(out, torch.zeros_like(out))


@on_a_gpu
def test_a_bad_weight_is_seen() -> None:
    _, model = pair()
    model.layers[0].mlp_norm.weight[3] = float("nan")
    assert torch.isnan(model.forward(*feeds(model, 2), prompted(model))).any()


@on_a_gpu
def test_wide_passes_are_the_librarys(monkeypatch: pytest.MonkeyPatch) -> None:
    _, model = pair()
    monkeypatch.setattr(KernelLayers, "layers", None)
    x = torch.zeros((3, 171, 128), device=model.device, dtype=model.dtype)
    places, mask = torch.arange(171, device=model.device), torch.ones((171, 300), dtype=torch.bool, device=model.device)
    assert model.stream(x, places, places, mask, model.new_cache(3, SLOTS)).shape == x.shape


def test_a_pass_may_choose_nothing() -> None:
    layers, weight = KernelLayers.__new__(KernelLayers), torch.ones((90, 128))
    layers.model = SimpleNamespace(config=CONFIG)
    empty = torch.empty((1, 0, 128))
    assert layers.product(weight, layers.norm(empty, weight[0])).shape == (1, 0, 90)


def test_only_16_bits_on_a_gpu_run_in_kernels() -> None:
    assert kernel_layers(McAr.random(CONFIG)) is None
    assert McAr.random(CONFIG)._kernels is None


def test_a_triton_that_builds_nothing_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    class Broken:
        def __init__(self, _: Any) -> None:
            pass

        def norm(self, *_: Any) -> None:
            raise RuntimeError("Failed to find C compiler\nand more")

    model: Any = SimpleNamespace(
        device=torch.device("cuda:0"), dtype=torch.bfloat16, config=CONFIG, norm=RmsNorm(torch.ones(128), 1e-5)
    )
    monkeypatch.setattr(llama_layers, "find_spec", lambda _: object())
    monkeypatch.setattr(llama_layers, "KernelLayers", Broken)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda _: "a GPU")
    with pytest.warns(UserWarning, match="expected Triton to build kernels for a GPU, got 'Failed to find C compiler'"):
        assert kernel_layers(model) is None
    monkeypatch.setattr(llama_layers, "find_spec", lambda _: None)
    assert kernel_layers(model) is None


def test_the_released_sizes_fit() -> None:
    assert all(sizes_fit(config) for config in CONFIGS.values())
    assert sizes_fit(CONFIG)
    assert not sizes_fit(replace(CONFIG, head_dim=48))
    assert not sizes_fit(replace(CONFIG, hidden_size=130))


@pytest.mark.parametrize(("n", "k"), [(1024, 1024), (1024, 4096), (8262, 1024), (64, 320), (2048, 8192)])
def test_parts_of_a_sum_are_whole(n: int, k: int) -> None:
    parts, inputs = cut(n, k)
    assert k % (parts * inputs) == 0
    assert k // parts >= 256
    assert parts == 1 or parts * (n // 32) <= 256


def test_places_are_named() -> None:
    assert Places._fields == ("position", "slot", "mask")
