"""Attention in parts on CUDA: the numbers of one part, whatever is hidden."""

from typing import Any

import pytest

torch = pytest.importorskip("torch")

from diagplan.adapters.attention import attend, mask_bias, mask_values, parts_for  # noqa: E402
from tests.support.cuda import needs_cuda  # noqa: E402

pytestmark = needs_cuda


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16], ids=str)
@pytest.mark.parametrize("ragged", [False, True])
@pytest.mark.parametrize("n", [1, 8, 40])
def test_parts_give_the_numbers_of_one(dtype: Any, ragged: bool, n: int) -> None:
    generator = torch.Generator("cuda").manual_seed(n)

    def draw(*shape: int) -> Any:
        return torch.randn(*shape, generator=generator, device="cuda").to(dtype)

    q, cache = draw(2, 8, n, 64), [draw(2, 4, 3072, 64) for _ in range(2)]
    length = 2048
    mask = torch.rand(2, n, length, generator=generator, device="cuda") > 0.5
    mask[..., 300:] = False  # whole parts are hidden
    mask[..., 7] = True
    mask = mask if ragged else mask[0]
    bias, (k, v) = mask_bias(mask, mask_values(mask.device, dtype), 2), (x[:, :, :length] for x in cache)
    assert parts_for(q.device, 2, 4, length) > 1
    exact = attend(q.double(), k.double(), v.double(), bias.double(), 0.125, parts=1)
    for parts in (1, 4, 16, None):
        out = attend(q, k, v, bias, 0.125, parts=parts)
        error = (out.double() - exact).norm() / exact.norm()
        assert error < (1e-5 if dtype == torch.float32 else 1e-2), parts
