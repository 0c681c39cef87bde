"""The list of operators: what exports are made of today is on it, the page has it, and an export keeps to it."""

import re
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")
onnx = pytest.importorskip("onnx")

from diagplan.backends import onnx_files  # noqa: E402
from diagplan.backends.onnx_export import export_model  # noqa: E402
from diagplan.backends.onnx_operators import OPERATORS, foreign_operators, require_operators  # noqa: E402
from diagplan.backends.onnx_runtime import GRAPH  # noqa: E402
from diagplan.examples.image_model import ImageModel  # noqa: E402
from diagplan.planner.errors import DocumentError, SpecError  # noqa: E402
from tests.support.exported import exported_folder  # noqa: E402
from tests.support.pages import DOCS  # noqa: E402

#: Control flow, random numbers, sequences, strings, what decodes files or loops inside.
REFUSED = (
    "If", "Loop", "Scan", "SequenceMap", "Bernoulli", "Multinomial", "RandomNormal", "RandomUniform",
    "RandomNormalLike",
    "RandomUniformLike", "Dropout", "ImageDecoder", "StringConcat", "StringSplit", "RegexFullMatch", "TfIdfVectorizer",
    "SequenceConstruct", "Optional", "LSTM", "GRU", "RNN",
)  # fmt: skip


def graph_of(*kinds: str) -> Any:
    nodes = [onnx.helper.make_node(kind, ["x"], [f"y{i}"]) for i, kind in enumerate(kinds)]
    return onnx.helper.make_model(onnx.helper.make_graph(nodes, "graph", [], []))


def test_the_list_is_of_the_standard() -> None:
    standard = {schema.name for schema in onnx.defs.get_all_schemas() if schema.domain == ""}
    assert standard >= OPERATORS
    assert OPERATORS.isdisjoint(REFUSED)


def test_the_page_has_the_list() -> None:
    (words,) = re.findall(r"<!-- operators -->\n(.*?)<!-- end -->", (DOCS / "onnx.md").read_text(), re.DOTALL)
    assert re.findall(r"`(\w+)`", words) == sorted(OPERATORS)


@pytest.mark.parametrize("kind", REFUSED)
def test_others_are_refused(kind: str) -> None:
    assert foreign_operators(graph_of("Add", kind, "Mul")) == [kind]
    with pytest.raises(DocumentError, match=f"operators that exports are made of in model.onnx, got {kind}"):
        require_operators(graph_of("Add", kind), Path("model.onnx"))


@pytest.mark.parametrize(("quantize", "opset"), [(None, 23), ("int8", 23), (None, 24)])
def test_exports_are_made_of_the_list(quantize: str | None, opset: int) -> None:
    graph = onnx.load(exported_folder("float32", quantize, opset) / GRAPH, load_external_data=False)
    assert foreign_operators(graph) == []
    require_operators(graph, exported_folder("float32", quantize, opset) / GRAPH)


def test_an_export_keeps_to_the_list(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(onnx_files, "foreign_operators", lambda _: ["NonZero"])
    with pytest.raises(SpecError, match=r"^expected a forward that torch exports to .* of docs/onnx.md, got NonZero\."):
        export_model(ImageModel.random(16), tmp_path / GRAPH, config={})
