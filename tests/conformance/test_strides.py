"""Attention on a GPU gives heads and rows the other way round in memory; every adapter takes either."""

from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from diagplan import Diagonal, compile_plan  # noqa: E402
from diagplan.backends import replay as executor  # noqa: E402
from tests.support.conformance import EOL, LAYOUT, MODELS, ids_for  # noqa: E402


@pytest.mark.parametrize("model_name", MODELS)
def test_attention_may_lay_its_result_out_as_a_gpu_does(model_name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The memory-efficient kernel of CUDA writes [B, n, heads, D] and gives a view of it as [B, heads, n, D]."""
    model: Any = MODELS[model_name](torch.float32)
    plan = compile_plan(LAYOUT if model.grid is not None else EOL, Diagonal(k=1))
    given = ids_for(plan, model)
    prepared = executor.prepare(plan, model)
    tokens = executor.replay(prepared, executor.new_state(prepared, given)).tokens
    attend, calls = torch.nn.functional.scaled_dot_product_attention, []

    def as_on_a_gpu(*args: Any, **options: Any) -> Any:
        calls.append(1)
        out: Any = attend(*args, **options)
        return out.transpose(1, 2).contiguous().transpose(1, 2)

    monkeypatch.setattr(torch.nn.functional, "scaled_dot_product_attention", as_on_a_gpu)
    again = executor.replay(prepared, executor.new_state(prepared, given)).tokens
    np.testing.assert_array_equal(again, tokens)
    assert calls or model_name in ("example", "placed")
