"""Devices and dtypes are checked before anything is read."""

import re

import pytest

from diagplan.adapters.devices import require_device, require_dtype
from diagplan.planner.errors import SpecError

torch = pytest.importorskip("torch")


def test_a_device_of_this_machine_is_torchs() -> None:
    assert require_device("cpu") == torch.device("cpu")


@pytest.mark.parametrize("device", ["toaster", "cuda:77", ""])
def test_a_device_that_is_not_there(device: str) -> None:
    with pytest.raises(SpecError, match=re.escape(f"expected a device of this machine, got device={device!r}")):
        require_device(device)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
def test_dtypes(dtype: str) -> None:
    require_dtype(dtype)


@pytest.mark.parametrize("dtype", ["float64", "int8", "f32", ""])
def test_a_dtype_that_is_none(dtype: str) -> None:
    message = f"expected dtype to be one of float32, bfloat16, float16, got dtype={dtype!r}."
    with pytest.raises(SpecError, match=re.escape(message)):
        require_dtype(dtype)
