"""Tensors in pages of their own: plain tensors in all but where their bytes lie."""

import mmap
from typing import Any

import pytest

torch = pytest.importorskip("torch")

from diagplan.adapters.memory import empty_pages, join_rows  # noqa: E402


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.int8], ids=str)
@pytest.mark.parametrize("shape", [(), (0, 3), (5, 7), (1100, 1000)], ids=str)
def test_shape_and_dtype(shape: tuple[int, ...], dtype: Any) -> None:
    tensor = empty_pages(shape, dtype)
    assert (tuple(tensor.shape), tensor.dtype, tensor.is_contiguous()) == (shape, dtype, True)
    tensor.fill_(3)
    assert (tensor == 3).all()


def test_large_tensors_have_pages_of_their_own() -> None:
    """And small ones lie on the heap: one may chance to lie where a page begins, but not all of them."""
    large, *small = (empty_pages((size,), torch.int8) for size in (1 << 20, *[100] * 8))
    assert large.data_ptr() % mmap.PAGESIZE == 0
    assert any(tensor.data_ptr() % mmap.PAGESIZE != 0 for tensor in small)


@pytest.mark.parametrize("rows", [3, 3000])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_rows_are_joined_as_cat_joins_them(rows: int, dtype: Any) -> None:
    parts = [torch.randn(n, 200).to(dtype) for n in (rows, 1, 2 * rows)]
    joined = join_rows(parts)
    assert joined.equal(torch.cat(parts))
    assert joined.dtype == dtype


def test_one_part_is_taken_as_it_is() -> None:
    part = torch.randn(4, 3)
    assert join_rows([part]) is part


def test_other_devices_have_their_own_memory() -> None:
    parts = [torch.empty((n, 5), device="meta") for n in (2, 3)]
    joined = join_rows(parts)
    assert (tuple(joined.shape), joined.device.type) == ((5, 5), "meta")
