"""Tensors in pages of their own: plain tensors in all but where their bytes lie."""

import gc
import re
import weakref
from pathlib import Path
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


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs Linux's /proc")
def test_pages_go_back_to_the_system() -> None:
    def resident() -> int:
        found = re.search(r"VmRSS:\s+(\d+) kB", Path("/proc/self/status").read_text())
        assert found is not None
        return int(found[1]) << 10

    size = 16 << 20  # glibc keeps freed tensors of this size in its heap
    tensor = empty_pages((size,), torch.int8)
    tensor.fill_(1)
    gone, held = weakref.ref(tensor), resident()
    del tensor
    gc.collect()
    assert gone() is None
    assert resident() <= held - size // 2


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
