"""Attention in parts: the numbers of one part, whatever is hidden; on a CPU there is one."""

from typing import Any

import pytest

torch = pytest.importorskip("torch")

from diagplan.adapters.attention import attend, mask_bias, mask_values, parts_for  # noqa: E402


def inputs(batch: int, n: int, dtype: Any, *, ragged: bool) -> tuple[Any, Any, Any, Any]:
    """Queries of 8 heads over 256 slots of a cache of 384 for 4, of which whole parts are hidden."""
    generator = torch.Generator().manual_seed(n)
    q, k, v = (
        torch.randn(batch, heads, rows, 16, generator=generator).to(dtype)
        for heads, rows in ((8, n), (4, 384), (4, 384))
    )
    mask = torch.rand(batch, n, 256, generator=generator) > 0.5
    mask[..., 70:] = False
    mask[..., 5] = True
    return q, k[:, :, :256], v[:, :, :256], mask if ragged else mask[0]


@pytest.mark.parametrize("parts", [2, 4, 8])
@pytest.mark.parametrize("ragged", [False, True])
@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize("n", [1, 5])
def test_parts_give_the_numbers_of_one(parts: int, ragged: bool, batch: int, n: int) -> None:
    q, k, v, mask = inputs(batch, n, torch.float32, ragged=ragged)
    bias = mask_bias(mask, mask_values(mask.device, torch.float32), 2)
    whole = attend(q, k, v, bias, 0.25)
    assert whole.shape == (batch, n, 8 * 16)
    # On a GPU what is hidden has a bias that is finite.
    torch.testing.assert_close(attend(q, k, v, bias.clamp_min(-1e30), 0.25, parts=parts), whole, rtol=1e-5, atol=1e-5)


def test_one_head_after_the_other() -> None:
    q, k, v, mask = inputs(2, 3, torch.float64, ragged=True)
    out = attend(q, k, v, mask_bias(mask, mask_values(mask.device, torch.float64), 2), 0.25)
    for sample in range(2):
        for head in range(8):
            scores = (q[sample, head] @ k[sample, head // 2].T * 0.25).masked_fill(~mask[sample], -torch.inf)
            want = scores.softmax(-1) @ v[sample, head // 2]
            torch.testing.assert_close(out[sample, :, 16 * head : 16 * head + 16], want)


@pytest.mark.parametrize(
    ("device", "batch", "kv_heads", "length", "parts"),
    [
        ("cpu", 1, 4, 6144, 1),
        ("cuda", 1, 4, 6144, 16),
        ("cuda", 1, 4, 1024, 16),
        ("cuda", 1, 4, 512, 8),
        ("cuda", 1, 4, 200, 1),
        ("cuda", 8, 4, 6144, 4),
        ("cuda", 64, 8, 6144, 1),
    ],
)
def test_parts_fill_a_device(device: str, batch: int, kv_heads: int, length: int, parts: int) -> None:
    assert parts_for(torch.device(device), batch, kv_heads, length) == parts
