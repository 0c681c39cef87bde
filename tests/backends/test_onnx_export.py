"""What cannot be exported is refused in words, before or after the trace."""

import re
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")
onnx = pytest.importorskip("onnx")

from diagplan.adapters.cosmos import Cosmos  # noqa: E402
from diagplan.backends.onnx_export import export_model  # noqa: E402
from diagplan.backends.onnx_runtime import GRAPH, load_onnx_model  # noqa: E402
from diagplan.planner.errors import DocumentError, SpecError  # noqa: E402
from tests.support.cosmos import TEXT, WORLD  # noqa: E402
from tests.support.exported import exported_folder, one_pass  # noqa: E402
from tests.support.mc_ar import golden_model  # noqa: E402


def test_options_that_are_refused(tmp_path: Path) -> None:
    half = golden_model(dtype=torch.float16, portable=True)
    with pytest.raises(SpecError, match="expected quantize to be None, or 'int8' for a float32 model"):
        export_model(half, tmp_path / GRAPH, config={}, quantize="int8")
    with pytest.raises(SpecError, match="expected opset to be one of 23, 24, got opset=18"):
        export_model(half, tmp_path / GRAPH, config={}, opset=18)


def test_packed_weights_are_named(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match=r"expected a model that torch can trace.*portable=True"):
        export_model(golden_model(), tmp_path / GRAPH, config={})


@pytest.mark.slow
def test_weights_that_are_not_finite(tmp_path: Path) -> None:
    model = golden_model(portable=True)
    model.embedding = model.embedding.clone()
    model.embedding[7, 3] = float("nan")
    with pytest.raises(DocumentError, match="expected finite weights, got NaN"):
        export_model(model, tmp_path / GRAPH, config={})


def test_nothing_of_this_machine_is_in_the_file() -> None:
    content = (exported_folder() / GRAPH).read_bytes()
    assert str(Path(__file__).parents[2]).encode() not in content
    assert b"site-packages" not in content


def test_a_text_for_each_sample_is_refused_before_the_trace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.onnx, "export", lambda *_, **__: pytest.fail("it was traced"))
    model = Cosmos.random(WORLD, portable=True).with_context(TEXT)
    words = "expected a model through which any batch can pass, got a cosmos model with 2 texts, one for each sample."
    with pytest.raises(SpecError, match=f"^{re.escape(words)}.*Bind one text, .* and export a graph for each"):
        export_model(model, tmp_path / GRAPH, config={})
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_one_text_serves_any_batch(tmp_path: Path) -> None:
    model = Cosmos.random(WORLD, portable=True).with_context(TEXT[:1])
    export_model(model, tmp_path / GRAPH, config={})
    exported = load_onnx_model(tmp_path, threads=1)
    ids = np.array([[50, 1, 2], [50, 3, 4], [50, 5, 6]])
    ours, theirs = (one_pass(m, ids, m.new_cache(3, 3)) for m in (exported, model))
    np.testing.assert_allclose(ours[..., : WORLD.vocab_size], theirs[..., : WORLD.vocab_size], atol=1e-4)


def test_a_model_without_its_text_says_so(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match=r"^expected a text context for a Video2World model, got none\. Bind one"):
        export_model(Cosmos.random(WORLD, portable=True), tmp_path / GRAPH, config={})
