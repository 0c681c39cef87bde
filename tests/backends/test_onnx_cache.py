"""The cache of an exported model grows in place."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from diagplan.backends.onnx_cache import OnnxCache
from diagplan.planner.errors import SpecError


@settings(max_examples=40, deadline=None)
@given(lengths=st.lists(st.integers(1, 60), min_size=1, max_size=6), batch=st.integers(1, 3), seed=st.integers(0, 99))
def test_a_cache_keeps_what_it_holds_as_it_grows(lengths: list[int], batch: int, seed: int) -> None:
    cache = OnnxCache(((2, 3), (2, 3), (1, 5)), batch, 60, lambda count: np.zeros(count, np.float32))
    rng = np.random.default_rng(seed)
    held = [np.zeros((batch, heads, 60, width), np.float32) for heads, width in cache.shapes]
    for length in lengths:
        cache.stretch(length)
        assert cache.length == max(cache.length, length)
        new = [rng.standard_normal((batch, heads, length, width)).astype(np.float32) for heads, width in cache.shapes]
        cache.write(new)
        for whole, part in zip(held, new, strict=True):
            whole[:, :, :length] = part
        for whole, ours in zip(held, cache.read(cache.length), strict=True):
            np.testing.assert_array_equal(ours, whole[:, :, : cache.length])


def test_no_more_than_there_is_room_for() -> None:
    cache = OnnxCache(((1, 2),), 1, 4, np.zeros)
    with pytest.raises(SpecError, match=r"expected at most 4 cache slots, got a pass over 5\."):
        cache.stretch(5)
