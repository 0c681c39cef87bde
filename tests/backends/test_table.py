"""The table of backends."""

import subprocess
import sys
from pathlib import Path

import pytest

from diagplan.backends.table import BACKENDS, backend_named
from diagplan.planner.errors import SpecError


def test_what_runs_exported_models_says_so() -> None:
    assert {name: backend_named(name).exported for name in BACKENDS.built_in} == {"torch": False, "onnx": True}


def test_records_are_light(tmp_path: Path) -> None:
    code = (
        "import sys; from diagplan.backends.table import BACKENDS; BACKENDS.records();"
        "print(*sorted({'torch', 'onnx', 'onnxruntime'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""


def test_an_unknown_name_lists_what_there_is() -> None:
    with pytest.raises(SpecError, match=r"expected backend to be one of torch, onnx.*, got backend='jax'"):
        backend_named("jax")
