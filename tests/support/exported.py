"""Exported models for the tests, made once a run."""

from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("onnxruntime")
pytest.importorskip("onnxscript")

from diagplan.backends.onnx_export import export_model  # noqa: E402
from diagplan.backends.onnx_runtime import GRAPH, OnnxModel, load_onnx_model  # noqa: E402
from tests.support.kept import made_once  # noqa: E402
from tests.support.mc_ar import golden_model  # noqa: E402


def exported_folder(dtype: str = "float32", quantize: Any = None, opset: int = 23) -> Path:
    """The folder of the golden model's export; never to be changed."""

    def make(folder: Path) -> None:
        model = golden_model(dtype=getattr(torch, dtype), portable=True)
        export_model(model, folder / GRAPH, config={}, quantize=quantize, opset=opset)

    return made_once(f"golden-{dtype}-{quantize}-{opset}", make)


@cache
def exported_model(dtype: str = "float32", quantize: Any = None, opset: int = 23) -> OnnxModel:
    """The golden model on ONNX Runtime."""
    return load_onnx_model(exported_folder(dtype, quantize, opset), threads=1)


def one_pass(model: Any, ids: Any, cache: Any, *, at: int = 0, rows: Any = None) -> Any:
    """Logits of a causal pass of all ids from slot ``at`` on, for models of both runtimes."""
    n = ids.shape[1]
    slots = np.arange(at, at + n)
    mask = np.arange(at + n) <= slots[:, None]
    if isinstance(model, OnnxModel):
        return model.forward(ids, slots, slots, mask, cache, rows)
    tensors = [torch.from_numpy(array) for array in (ids, slots, slots, mask)]
    with torch.inference_mode():
        return model.forward(*tensors, cache, None if rows is None else torch.from_numpy(rows)).numpy()
