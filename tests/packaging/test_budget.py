"""What the default run may cost, in work that is counted and never timed: an export to ONNX takes seconds."""

import ast
from collections import Counter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
TESTS = ROOT / "tests"
FUNCTIONS, COMMAND = ("export_model", "export_onnx"), "export-onnx"

#: Test file -> the places in it that export a model, or try to. Raise a number only where no export of
#: tests/support/exported.py or of the fixture ``exported`` of tests/cli would do; or mark the test slow.
EXPORTS: dict[str, int] = {
    "adapters/test_llamagen_export.py": 1,
    "adapters/test_plugins.py": 1,
    "backends/test_onnx_export.py": 7,
    "backends/test_onnx_graph.py": 1,
    "backends/test_onnx_operators.py": 1,
    "backends/test_onnx_runtime_devices.py": 1,
    "cli/conftest.py": 1,
    "cli/test_export_onnx.py": 3,
    "cli/test_generate_cosmos.py": 1,
    "cli/test_generate_wham.py": 1,
    "images/test_llamagen.py": 1,
    "models/test_exporting.py": 1,
    "models/test_wrapping_export.py": 1,
    "search/models.py": 1,
    "support/conformance.py": 1,
    "support/exported.py": 1,
}
#: Models that the conformance suite exports in the default run, each once.
CONFORMANCE = 5


def exports_in(source: str) -> int:
    """The calls in a file that export a model."""
    found = 0
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call):
            called = getattr(node.func, "attr", getattr(node.func, "id", ""))
            words = [argument.value for argument in node.args if isinstance(argument, ast.Constant)]
            found += called in FUNCTIONS or COMMAND in words
    return found


def test_exports_are_counted() -> None:
    assert exports_in("export_model(m, p)\nexporting.export_onnx(m)\nrun('export-onnx', '-o', x)\nrun('generate')") == 3


def test_no_file_exports_more_than_its_budget() -> None:
    files = {path.relative_to(TESTS).as_posix(): path for path in TESTS.rglob("*.py") if path != Path(__file__)}
    found = Counter({name: exports_in(path.read_text(encoding="utf-8")) for name, path in files.items()})
    assert {name: count for name, count in found.items() if count} == EXPORTS


def test_the_conformance_suite_exports_few_models() -> None:
    pytest.importorskip("torch")
    from tests.support.conformance import EXPORTED, pairs

    default = [pair for pair in pairs() if isinstance(pair, tuple) and not hasattr(pair, "marks")]
    assert {name for name, backend in default if backend == "onnx"} == set(EXPORTED)
    assert len(EXPORTED) <= CONFORMANCE
