"""NumPy arrays as a runtime, and whose runtime a model's arrays have."""

import numpy as np
import pytest

from diagplan.adapters.contract import Runtime
from diagplan.backends.runtime import NumpyRuntime, runtime_of
from diagplan.backends.sampling import Greedy


def test_numpy_arrays_stay_what_they_are() -> None:
    runtime: Runtime = NumpyRuntime()
    wide = np.arange(12).reshape(3, 4)[:, ::2]
    put = runtime.put(wide)
    assert put.flags.c_contiguous
    np.testing.assert_array_equal(runtime.numpy(put), wide)
    assert runtime.float32(np.ones(2, dtype=np.float16)).dtype == np.float32
    assert (runtime.on_gpu, runtime.graphs) == (False, False)
    with runtime.inference():
        pass


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_is_seen(bad: float) -> None:
    logits = np.zeros((1, 2, 3), dtype=np.float32)
    assert NumpyRuntime().all_finite(logits)
    logits[0, 1, 2] = bad
    assert not NumpyRuntime().all_finite(logits)


def test_choosing_keeps_to_the_allowed_ids() -> None:
    logits = np.array([[[9.0, 1.0, 2.0, 8.0]]])
    keys = np.zeros((1, 1), dtype=np.int64)
    assert NumpyRuntime().choose(logits, Greedy(), keys, (1, 3)).tolist() == [[2]]
    assert NumpyRuntime().choose(logits, Greedy(), keys, np.array([[1, 4]])).tolist() == [[3]]


def test_a_models_own_runtime_comes_first() -> None:
    torch = pytest.importorskip("torch")

    class Own:
        device = torch.device("cpu")
        runtime = NumpyRuntime()

    class Plain:
        device = torch.device("cpu")

    assert runtime_of(Own()) is Own.runtime  # type: ignore[arg-type]
    assert type(runtime_of(Plain())).__name__ == "TorchRuntime"  # type: ignore[arg-type]
