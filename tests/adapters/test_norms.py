"""RMS norm: the formula in float64, the same bits among any rows, and what comes through that is not finite."""

import itertools
import math
from typing import Any

import pytest

torch = pytest.importorskip("torch")

from diagplan.adapters.norms import RmsNorm, rms_norm  # noqa: E402

EPS = 1e-5


def drawn(*shape: int) -> Any:
    return torch.randn(shape, generator=torch.Generator().manual_seed(sum(shape)))


@pytest.mark.parametrize("portable", [False, True])
@pytest.mark.parametrize(("dtype", "most"), [("float64", 1e-14), ("float32", 1e-6), ("bfloat16", 2e-2)])
@pytest.mark.parametrize("shape", [(256,), (2, 40, 250), (1, 3, 4, 64)])
def test_the_formula(shape: tuple[int, ...], dtype: str, most: float, portable: bool) -> None:
    wanted = getattr(torch, dtype)
    x, weight = (3 * drawn(*shape)).to(wanted), drawn(shape[-1]).to(wanted)
    wide = x.double()
    exact = wide / (wide.square().mean(-1, keepdim=True) + EPS).sqrt() * weight.double()
    for norm in (RmsNorm(weight, EPS, portable=portable), lambda x: rms_norm(x, weight, EPS)):
        value = norm(x)
        assert value.dtype == wanted
        torch.testing.assert_close(value.double(), exact, rtol=most, atol=most)


def test_a_weight_for_each_head() -> None:
    x, weight = drawn(2, 5, 4, 32), drawn(4, 32)
    for norm in (RmsNorm(weight, EPS), RmsNorm(weight, EPS, portable=True)):
        for head in range(4):
            torch.testing.assert_close(norm(x)[:, :, head], RmsNorm(weight[head], EPS)(x[:, :, head]))


@pytest.mark.parametrize("size", [32, 96, 256, 1000])
def test_a_row_has_the_same_bits_among_any_rows(size: int) -> None:
    norm, x = RmsNorm(drawn(size), EPS), drawn(1, 24, size)
    among = norm(x)
    for first, last in itertools.combinations(range(25), 2):
        assert torch.equal(norm(x[:, first:last].clone()), among[:, first:last])


def test_zeros_stay_zeros_and_huge_rows_are_their_own() -> None:
    x = torch.stack((torch.zeros(64), torch.full((64,), 1e-30), torch.full((64,), 1e18), torch.ones(64)))
    value = RmsNorm(torch.ones(64), EPS)(x)
    torch.testing.assert_close(value, rms_norm(x, torch.ones(64), EPS))


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_what_is_not_finite_shows_in_its_row_alone(bad: float) -> None:
    x = drawn(3, 64)
    x[1, 5] = bad
    value = RmsNorm(drawn(64), EPS)(x)
    assert value[1].isnan().any()
    assert torch.equal(value[::2], RmsNorm(drawn(64), EPS)(drawn(3, 64))[::2])
