"""LlamaGen on ONNX Runtime: classes and texts, guidance, and what is not exported."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("onnxruntime")
pytest.importorskip("onnxscript")

from diagplan import Diagonal, Layout, MismatchError, Sample, compile_plan, load_model, replay  # noqa: E402
from diagplan.adapters.llamagen import LlamaGen  # noqa: E402
from diagplan.models.exporting import export_onnx  # noqa: E402
from tests.support.llamagen import CLASSES, TEXTS, trained  # noqa: E402


def exported(config: Any, folder: Path) -> tuple[LlamaGen, Any]:
    model = LlamaGen(config, trained(config, torch.float32), portable=True)
    done = export_onnx(model, folder)
    assert done.difference is not None
    return model, load_model("llamagen", folder, backend="onnx", threads=1)


@pytest.mark.slow  # the conformance suite exports a model of classes, too
def test_codes_of_classes(tmp_path: Path) -> None:
    model, other = exported(CLASSES, tmp_path / "out")
    assert (other.document.axes, other.document.lead_width) == (("row", "col", "cell"), None)
    plan = compile_plan(Layout(frames=1, rows=4, cols=5, lead=1), Diagonal(k=2))
    given = np.array([[model.class_id(1)], [model.class_id(3)]])
    options: dict[str, Any] = {
        "given": given, "guidance": 3.0, "unconditional": np.array([model.class_id(None)]), "sampler": Sample(top_k=9),
    }  # fmt: skip
    np.testing.assert_array_equal(replay(plan, other, **options), replay(plan, model, **options))
    assert len(np.unique(replay(plan, other, **options))) > 8


@pytest.mark.slow
def test_codes_of_texts(tmp_path: Path) -> None:
    """Embeddings made by the torch model, of texts of different length."""
    model, other = exported(TEXTS, tmp_path / "out")
    assert other.document.lead_width == 32
    plan = compile_plan(Layout(frames=1, rows=4, cols=4, lead=TEXTS.lead), Diagonal(k=1))
    lead, pad = model.text_lead(torch.randn(2, 7, 20, generator=torch.Generator().manual_seed(1)), [7, 3])
    both = torch.cat((lead, model.null_lead(2)))
    given = np.tile(model.lead_ids, (2, 1))
    options: dict[str, Any] = {"given": given, "guidance": 2.0, "unconditional": given, "pad": pad}
    want = replay(plan, model, lead=both, **options)
    np.testing.assert_array_equal(replay(plan, other, lead=both.numpy(), **options), want)
    assert not np.array_equal(replay(plan, other, lead=-both.numpy(), **options), want)
    with pytest.raises(MismatchError, match=r"expected embeddings of shape \[4, P, 32\], got \[4, 7, 31\]"):
        replay(plan, other, lead=both.numpy()[..., 1:], **options)
