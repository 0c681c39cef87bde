"""On CUDA weights stay as they are, and int8 is refused."""

import pytest

torch = pytest.importorskip("torch")

from diagplan.adapters.linear import PlainLinear, linear_for  # noqa: E402
from diagplan.adapters.mc_ar import McAr  # noqa: E402
from diagplan.planner.errors import SpecError  # noqa: E402
from tests.support.cuda import CONFIG, needs_cuda  # noqa: E402

pytestmark = needs_cuda


def test_weights_stay_as_they_are() -> None:
    weight = torch.randn(8, 4, device="cuda", dtype=torch.bfloat16)
    layer = linear_for(weight)
    assert isinstance(layer, PlainLinear)
    assert layer.weight is weight


def test_int8_is_refused() -> None:
    with pytest.raises(SpecError, match="expected device cpu and dtype float32 for quantize='int8', got device='cuda"):
        McAr.random(CONFIG, device="cuda", quantize="int8")
