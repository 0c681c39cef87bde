"""A cache of tensors: what is read is a copy of the first slots, and written back it is the same, in every dtype."""

from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from diagplan.adapters.cache import TensorCache  # noqa: E402

SHAPES = ((2, 3), (2, 3), (1, 4), (1, 4))
DTYPES = pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.float16, torch.bfloat16], ids=str)


def noise(dtype: Any) -> TensorCache:
    cache = TensorCache.zeros(SHAPES, 2, 5, dtype=dtype, device=torch.device("cpu"))
    generator = torch.Generator().manual_seed(0)
    for tensor in cache.tensors:
        tensor.copy_(torch.randn(tensor.shape, generator=generator))
    return cache


def test_zeros_of_every_shape() -> None:
    cache = TensorCache.zeros(SHAPES, 2, 5, dtype=torch.float16, device=torch.device("cpu"))
    assert [tuple(tensor.shape) for tensor in cache.tensors] == [(2, 2, 5, 3)] * 2 + [(2, 1, 5, 4)] * 2
    assert all(tensor.dtype == torch.float16 and not tensor.any() for tensor in cache.tensors)
    keys, values = cache.layer(1)
    assert keys is cache.tensors[2]
    assert values is cache.tensors[3]


@DTYPES
def test_what_is_read_is_a_copy(dtype: Any) -> None:
    cache = noise(dtype)
    before = [tensor.clone() for tensor in cache.tensors]
    held = cache.read(3)
    assert [array.shape for array in held] == [(2, 2, 3, 3)] * 2 + [(2, 1, 3, 4)] * 2
    for array in held:
        array[:] = 1
    assert all(tensor.equal(was) for tensor, was in zip(cache.tensors, before, strict=True))


@DTYPES
def test_written_back_it_is_the_same_and_the_rest_stays(dtype: Any) -> None:
    cache = noise(dtype)
    other = TensorCache.zeros(SHAPES, 2, 5, dtype=dtype, device=torch.device("cpu"))
    other.write(cache.read(3))
    for theirs, ours in zip(other.tensors, cache.tensors, strict=True):
        assert theirs[:, :, :3].equal(ours[:, :, :3])
        assert not theirs[:, :, 3:].any()


def test_bfloat16_is_held_by_its_bits() -> None:
    cache = noise(torch.bfloat16)
    (first, *_) = cache.read(5)
    assert first.dtype == np.uint16
    assert torch.from_numpy(first.astype(np.int64)).equal(cache.tensors[0].view(torch.int16).long() & 0xFFFF)
