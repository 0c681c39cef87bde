"""Products on the CPU in float16 and int8: how far from float32, what they may not depend on, what is refused."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

torch = pytest.importorskip("torch")

from diagplan import Diagonal, Greedy, compile_plan, load_world, replay  # noqa: E402
from diagplan.adapters.linear import (  # noqa: E402
    HalfLinear,
    Int8Linear,
    PackedLinear,
    PlainLinear,
    is_half,
    is_packed,
    linear_for,
    require_quantize,
)
from diagplan.adapters.mc_ar import McAr  # noqa: E402
from diagplan.backends import checkpoint  # noqa: E402
from diagplan.backends import replay as executor  # noqa: E402
from diagplan.backends.errors import MismatchError  # noqa: E402
from diagplan.planner.errors import SpecError  # noqa: E402
from tests.support.int8 import needs_int8  # noqa: E402
from tests.support.mc_ar import GOLDEN  # noqa: E402
from tests.support.mineworld import DATA, GIVEN, LAYOUT, WEIGHTS  # noqa: E402

PLAN = compile_plan(LAYOUT, Diagonal(k=2))


def golden(quantize: Any = None) -> McAr:
    return McAr(GOLDEN, {name: torch.from_numpy(w) for name, w in WEIGHTS.items()}, quantize=quantize)


needs_packing = pytest.mark.skipif(
    not is_packed(torch.device("cpu"), torch.float32), reason="this PyTorch reorders no weights"
)


@needs_packing
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_what_is_added_is_added_after_rounding(dtype: Any) -> None:
    """The bits are those of the product and then the sum, in one call or two."""
    generator = torch.Generator().manual_seed(2)
    weight, x, added = (torch.randn(s, generator=generator).to(dtype) for s in ((48, 32), (2, 5, 32), (2, 5, 48)))
    for layer in (PackedLinear(weight), PlainLinear(weight)):
        with torch.inference_mode():
            assert torch.equal(layer(x, added), added + layer(x))


def halves(*shape: int) -> Any:
    """Numbers that float16 holds, of a trained weight's scale."""
    return (torch.randn(shape, generator=torch.Generator().manual_seed(4)) * shape[-1] ** -0.5).half().float()


needs_half = pytest.mark.skipif(not is_half(halves(2, 2)), reason="this PyTorch has no products of float16 weights")


@needs_half
@pytest.mark.parametrize("shape", [(768, 256), (275, 512), (70, 64), (24, 1100), (1, 1)], ids=str)
def test_weights_of_float16_give_the_product_and_the_same_bits_among_any_rows(shape: tuple[int, int]) -> None:
    """Also where outputs are no multiple of a register, and inputs more than one block."""
    weight = halves(*shape)
    layer = linear_for(weight)
    assert isinstance(layer, HalfLinear)
    x = torch.randn((1, 131, shape[1]), generator=torch.Generator().manual_seed(5))
    with torch.inference_mode():
        whole = layer(x)
        torch.testing.assert_close(whole.double(), x.double() @ weight.double().T, rtol=1e-5, atol=1e-5)
        for n in (1, 2, 3, 4, 7, 8, 13, 14, 15, 29, 40, 64, 121):
            assert torch.equal(layer(x[:, 131 - n :]), whole[:, 131 - n :]), n
        assert torch.equal(layer(x.view(131, 1, -1)), whole.view(131, 1, -1))
        assert torch.equal(layer(x, whole), whole + whole)
        assert layer(x[:, :0]).shape == (1, 0, shape[0])


@needs_half
def test_every_number_of_float16_comes_through() -> None:
    """All finite bits, the smallest among them: a row of the identity reads a column."""
    every = torch.arange(1 << 16, dtype=torch.int32).to(torch.int16).view(torch.float16).float()
    weight = every[torch.isfinite(every)].view(-1, 32)
    assert is_half(weight)
    with torch.inference_mode():
        assert torch.equal(HalfLinear(weight)(torch.eye(32)), weight.T)


@needs_half
def test_weights_that_float16_does_not_hold() -> None:
    fits = halves(8, 16)
    for value in (1 + 2.0**-11, 65536.0, 2.0**-25, float("nan"), float("inf"), -float("inf")):
        other = fits.clone()
        other[3, 5] = value
        assert not is_half(other), value
        assert not isinstance(linear_for(other), HalfLinear)
    assert not is_half(fits.double())
    assert not is_half(fits.bfloat16())
    assert not is_half(halves(1025, 1024))
    assert isinstance(linear_for(fits, portable=True), PlainLinear)


@needs_half
def test_a_machine_without_products_of_float16(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(type(torch.backends.quantized), "supported_engines", ["qnnpack"])
    assert not isinstance(linear_for(halves(8, 16)), HalfLinear)
    monkeypatch.undo()
    monkeypatch.delattr(torch, "fbgemm_linear_fp16_weight_fp32_activation")
    assert not isinstance(linear_for(halves(8, 16)), HalfLinear)


@needs_half
def test_the_shipped_model_is_held_in_float16() -> None:
    """Its files are; a float32 copy would be read at half the speed."""
    model: Any = load_world("crafter-mini").model
    held = [model.head, *(x for layer in model.layers for x in (layer.qkv, layer.out, layer.gate_up, layer.down))]
    assert len(held) == 25
    assert all(isinstance(x, HalfLinear) for x in held)


@needs_int8
@given(st.integers(0, 2**32), st.integers(1, 40), st.sampled_from([16, 24, 64, 1024]), st.integers(1, 200))
def test_near_the_float_layer(seed: int, rows: int, inner: int, outer: int) -> None:
    """Each output is within the sum of both rounding errors, whatever the scale of a row."""
    generator = torch.Generator().manual_seed(seed)
    weight = torch.randn((outer, inner), generator=generator)
    x = torch.randn((1, rows, inner), generator=generator) * 10.0 ** torch.arange(-3, rows - 3).remainder(8)[:, None]
    off = (Int8Linear(weight)(x) - x @ weight.T).abs()
    step_x, step_w = x.abs().amax(-1, keepdim=True) / 127, weight.abs().amax(1) / 127
    bound = step_x * weight.abs().sum(1) / 2 + step_w * x.abs().sum(-1, keepdim=True) / 2 + inner * step_x * step_w / 4
    assert (off <= 1.01 * bound).all()


@needs_int8
def test_a_few_percent_off_in_norm() -> None:
    generator = torch.Generator().manual_seed(0)
    x, weight = torch.randn((12, 1024), generator=generator), torch.randn((512, 1024), generator=generator)
    exact = x @ weight.T
    assert 0.002 < (Int8Linear(weight)(x) - exact).norm() / exact.norm() < 0.02


@needs_int8
def test_a_row_depends_on_itself_alone() -> None:
    generator = torch.Generator().manual_seed(1)
    layer = Int8Linear(torch.randn((96, 64), generator=generator))
    x = torch.randn((2, 9, 64), generator=generator) * 10.0 ** torch.arange(-4, 5)[:, None]
    whole = layer(x)
    for i in range(9):
        assert torch.equal(layer(x[:1, i : i + 1]), whole[:1, i : i + 1])


@needs_int8
def test_zeros_and_what_is_not_finite() -> None:
    """Rows of zeros give zeros; NaN and infinity are not swallowed by the rounding."""
    layer = Int8Linear(torch.cat([torch.ones((3, 16)), torch.zeros((1, 16))]))
    x = torch.ones((4, 16))
    x[0], x[1, 3], x[2, 3] = 0, float("nan"), float("inf")
    out = layer(x)
    assert (out[0] == 0).all()
    assert not torch.isfinite(out[1:3]).any()
    torch.testing.assert_close(out[3], torch.tensor([16.0, 16, 16, 0]))


@needs_int8
def test_tokens_are_reproducible_and_logits_near() -> None:
    model = golden("int8")
    first, again = (replay(PLAN, m, given=GIVEN, sampler=Greedy()) for m in (model, golden("int8")))
    np.testing.assert_array_equal(first, again)
    np.testing.assert_array_equal(replay(PLAN, model, given=np.stack([GIVEN, GIVEN]))[1], first[0])
    n = len(DATA["prompt"].ravel())
    ids, slots = torch.from_numpy(DATA["prompt"].ravel().astype(np.int64))[None], torch.arange(n)
    mask = torch.ones((n, n), dtype=torch.bool).tril()
    with torch.inference_mode():
        off, exact = (m.forward(ids, slots, slots, mask, m.new_cache(1, n)) for m in (model, golden()))
    assert 0 < (off - exact).norm() / exact.norm() < 0.05
    assert model.weight_bytes() < golden().weight_bytes() / 2


@needs_int8
def test_states_are_not_resumed_across(tmp_path: Path) -> None:
    exact, small = (executor.prepare(PLAN, golden(q)) for q in (None, "int8"))
    state = executor.new_state(exact, GIVEN[None])
    executor.replay(exact, state, cancelled=lambda: state.done > 3)
    checkpoint.save_checkpoint(exact, state, tmp_path / "state")
    with pytest.raises(MismatchError, match="expected a checkpoint with model="):
        checkpoint.load_checkpoint(small, tmp_path / "state", GIVEN[None])


@pytest.mark.parametrize(
    ("quantize", "device", "dtype", "message"),
    [
        ("int8", "cpu", "bfloat16", "expected device cpu and dtype float32 for quantize='int8', got device='cpu' and "),
        ("int8", "cuda", "float32", "got device='cuda' and dtype='float32'. The int8 products are those of x86 CPUs."),
        ("int4", "cpu", "float32", "expected quantize to be None or one of int8, got 'int4'."),
    ],
)
def test_refusals(quantize: Any, device: str, dtype: str, message: str) -> None:
    with pytest.raises(SpecError, match=re.escape(message)):
        require_quantize(quantize, torch.device(device), getattr(torch, dtype))


@pytest.mark.parametrize("lacking", ["engine", "instructions"])
def test_a_machine_that_cannot(lacking: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if lacking == "engine":
        monkeypatch.setattr(type(torch.backends.quantized), "supported_engines", ["qnnpack"])
    else:
        monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx2": True})
    with pytest.raises(SpecError, match="expected a PyTorch build with the onednn engine on an x86 CPU with VNNI"):
        require_quantize("int8", torch.device("cpu"), torch.float32)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("rows", [1, 2, 3, 4, 5])
def test_few_rows_are_padded_and_come_back_alone(rows: int, dtype: Any) -> None:
    weight, x = torch.randn(24, 16).to(dtype), torch.randn(rows, 16).to(dtype)
    layer = linear_for(weight, least_rows=4)
    got = layer(x)
    assert got.shape == (rows, 24)
    torch.testing.assert_close(
        got, torch.nn.functional.linear(x, weight), atol=0.05 if dtype != torch.float32 else 1e-5, rtol=0
    )
    # A row is what it is among four, whatever the others are.
    four = layer(torch.cat([x, torch.randn(3, 16).to(dtype)])[:4])
    assert torch.equal(got[:1], four[:1])
