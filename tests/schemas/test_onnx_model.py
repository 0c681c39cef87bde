"""The metadata of exported models: what they must say, and what is refused."""

import json
import re
from typing import Any

import pytest

from diagplan.planner.errors import DocumentError
from diagplan.schemas.onnx_model import ExportedDocument, OnnxModelDocument, OnnxTokenizerDocument, read_onnx_metadata

EXPORTED: dict[str, Any] = {
    "version": 1,
    "producer": "diagplan 0.1.0",
    "opset": 20,
    "weights_bytes": 0,
    "weights_sha256": "0" * 64,
}
STEP: dict[str, Any] = EXPORTED | {
    "family": "mc-ar",
    "config": {"hidden_size": 16},
    "dtype": "float32",
    "vocab_size": 100,
    "positions": 50,
    "cache_shapes": [[2, 8], [2, 8]],
    "vocabulary": [{"low": 0, "high": 90}, {"low": 90, "high": 100, "rows": [0, 1], "cols": [2, None]}],
    "source": "sha256:1",
}
TOKENIZER: dict[str, Any] = EXPORTED | {"kind": "encoder", "codes": 512, "factor": 16, "rows": 14, "cols": 24}
KINDS: dict[str, tuple[type[ExportedDocument], dict[str, Any]]] = {
    "step": (OnnxModelDocument, STEP),
    "tokenizer": (OnnxTokenizerDocument, TOKENIZER),
}


def read(of: str, /, **changes: Any) -> Any:
    model, fields = KINDS[of]
    return read_onnx_metadata(model, json.dumps(fields | changes), "model.onnx")


@pytest.mark.parametrize("kind", KINDS)
def test_a_document_comes_back_from_its_text(kind: str) -> None:
    document = read(kind)
    assert read_onnx_metadata(KINDS[kind][0], document.model_dump_json(), "again") == document


def test_what_an_older_export_does_not_say() -> None:
    document = read("step")
    assert (document.kind, document.plan_version, document.quantize) == ("step", 1, None)
    assert (document.grid, document.widths, document.companions) == (None, None, {})
    assert document.vocabulary[0].rows == document.vocabulary[0].cols == (0, None)
    assert document.vocabulary[1].cols == (2, None)
    full = read(
        "step",
        quantize="int8",
        grid={"rows": 2, "cols": 3, "between_frames": 0},
        widths={"hidden": 16, "heads": 2, "kv_heads": 1, "head": 8, "mlp": 32},
        companions={"world.json": "a" * 64},
    )
    assert (full.grid.cols, full.widths.mlp, full.companions) == (3, 32, {"world.json": "a" * 64})


@pytest.mark.parametrize(
    ("kind", "changes", "at"),
    [
        ("step", {"surplus": 1}, "surplus: Extra inputs are not permitted"),
        ("step", {"version": 2}, "version: Input should be 1"),
        ("step", {"kind": "encoder"}, "kind: Input should be 'step'"),
        ("step", {"plan_version": 2}, "the top: Value error, plan documents are of version 1"),
        ("step", {"dtype": "int8"}, "dtype: Input should be 'float64', 'float32', 'float16' or 'bfloat16'"),
        ("step", {"cache_shapes": []}, "cache_shapes: Tuple should have at least 1 item after validation, not 0"),
        ("step", {"cache_shapes": [[2, 0]]}, "cache_shapes.0.1: Input should be greater than or equal to 1"),
        ("step", {"positions": 2**26 + 1}, "positions: Input should be less than or equal to 67108864"),
        ("step", {"grid": {"rows": 2, "cols": 3}}, "grid.between_frames: Field required"),
        ("step", {"companions": {"a": "B" * 64}}, "companions.a: String should match pattern '^[0-9a-f]{64}$'"),
        ("step", {"weights_sha256": "0" * 63}, "weights_sha256: String should match pattern '^[0-9a-f]{64}$'"),
        ("tokenizer", {"kind": "step"}, "kind: Input should be 'encoder' or 'decoder'"),
        ("tokenizer", {"codes": 0}, "codes: Input should be greater than or equal to 1"),
        *(
            (
                "step",
                {"vocabulary": [{"low": low, "high": high}]},
                "the top: Value error, allowed ids must be ranges within the vocabulary",
            )
            for low, high in ((5, 5), (6, 5), (0, 101))
        ),
    ],
)
def test_another_document_is_refused(kind: str, changes: dict[str, Any], at: str) -> None:
    message = (
        f"expected the metadata of an exported model in model.onnx, got {at}. Export it again: diagplan export-onnx."
    )
    with pytest.raises(DocumentError, match=f"^{re.escape(message)}$"):
        read(kind, **changes)


@pytest.mark.parametrize("text", ["", "[]", "{", "\ud800"])
def test_what_is_no_document_is_refused(text: str) -> None:
    with pytest.raises(DocumentError, match=r"^expected the metadata of an exported model in m, got the top: "):
        read_onnx_metadata(OnnxModelDocument, text, "m")


def test_a_field_that_is_wanting_is_named() -> None:
    fields = {name: value for name, value in STEP.items() if name != "config"}
    with pytest.raises(DocumentError, match=re.escape("got config: Field required.")):
        read_onnx_metadata(OnnxModelDocument, json.dumps(fields), "m")
