"""A graph that asks for more memory than there is: an error of the pass."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("torch")
onnx = pytest.importorskip("onnx")

from diagplan.backends.onnx_runtime import GRAPH  # noqa: E402
from tests.support.exported import exported_folder  # noqa: E402

#: In a process of its own, for a process has one arena: 1 GiB is free, and the graph wants 2.
PROGRAM = """
import sys
from diagplan.backends import onnx_memory
onnx_memory.free_memory = lambda: 1 << 30
from diagplan.backends.onnx_runtime import load_onnx_model
from diagplan.planner.errors import DocumentError
try:
    load_onnx_model(sys.argv[1], threads=1)
except DocumentError as error:
    print(error)
else:
    print("loaded")
"""


def test_much_of_little(tmp_path: Path) -> None:
    folder = Path(shutil.copytree(exported_folder(), tmp_path / "model"))
    model = onnx.load(folder / GRAPH, load_external_data=False)
    logits = next(node for node in model.graph.node if "logits" in node.output)
    logits.output[list(logits.output).index("logits")] = "some"
    model.graph.initializer.append(onnx.helper.make_tensor("wide", onnx.TensorProto.INT64, [1], [1 << 29]))
    model.graph.node.extend(
        [
            onnx.helper.make_node("ConstantOfShape", ["wide"], ["much"]),
            onnx.helper.make_node("ReduceMax", ["much"], ["one"], keepdims=0),
            onnx.helper.make_node("Add", ["some", "one"], ["logits"]),
        ]
    )
    onnx.save(model, folder / GRAPH)
    ran = subprocess.run([sys.executable, "-c", PROGRAM, folder], capture_output=True, text=True, check=True)
    assert "expected a step graph in" in ran.stdout
    assert "got one that does not run" in ran.stdout
    assert "Available memory of" in ran.stdout
