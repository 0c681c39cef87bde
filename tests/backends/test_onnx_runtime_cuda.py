"""ONNX Runtime's CUDA provider: the tokens of PyTorch on the same device."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")
onnxruntime = pytest.importorskip("onnxruntime")
pytest.importorskip("onnxscript")

from diagplan import Diagonal, compile_plan  # noqa: E402
from diagplan.backends.onnx_runtime import load_onnx_model  # noqa: E402
from diagplan.backends.replay import new_state, prepare, replay  # noqa: E402
from tests.support.cuda import needs_cuda  # noqa: E402
from tests.support.exported import exported_folder  # noqa: E402
from tests.support.mc_ar import golden_model  # noqa: E402
from tests.support.mineworld import GIVEN, LAYOUT  # noqa: E402

pytestmark = [
    needs_cuda,
    pytest.mark.skipif(
        "CUDAExecutionProvider" not in onnxruntime.get_available_providers(), reason="needs onnxruntime-gpu"
    ),
]


def test_tokens_are_those_of_pytorch() -> None:
    plan, tokens = compile_plan(LAYOUT, Diagonal(k=2)), []
    for model in (golden_model(), load_onnx_model(exported_folder(), device="cuda")):
        prepared = prepare(plan, model)
        tokens.append(replay(prepared, new_state(prepared, GIVEN[None])).tokens)
    np.testing.assert_array_equal(tokens[1], tokens[0])
