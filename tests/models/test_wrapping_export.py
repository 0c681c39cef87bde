"""Models of transformers as ONNX: the same tokens as with torch."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")
pytest.importorskip("onnxruntime")

from diagplan import Diagonal, compile_plan, load_model, replay, wrap  # noqa: E402
from diagplan.models.exporting import export_onnx  # noqa: E402
from tests.support import hf_models as tiny  # noqa: E402


@pytest.mark.slow  # the conformance suite exports one of them
@pytest.mark.parametrize("family", ["janus-pro", "emu3", "glm-image", "chameleon", "raster-llama"])
def test_an_export_gives_the_same_tokens(family: str, tmp_path: Path) -> None:
    raster = tiny.RASTER if family == "raster-llama" else None
    model = wrap(tiny.BUILDERS[family](), family=family, raster=raster)
    export_onnx(model, tmp_path)
    other: Any = load_model(family, tmp_path)
    layout = model.layout(6, rows=5, cols=6)
    ids, _ = tiny.prompts([6, 4], low=90 if family == "janus-pro" else 50, high=100)
    given = np.concatenate([ids.numpy(), np.full((2, 4 * layout.between_rows), 3)], axis=1)
    plan, pad = compile_plan(layout, Diagonal(k=2)), [0, 2]
    want = replay(plan, model, given=given, pad=pad)
    tiny.require_varied(want)
    np.testing.assert_array_equal(replay(plan, other, given=given, pad=pad), want)
