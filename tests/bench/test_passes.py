"""What a pass costs: the whole command on one frame, on torch alone."""

import json
from pathlib import Path

import pytest

pytest.importorskip("torch")
pytest.importorskip("av")
pytest.importorskip("crafter")
pytest.importorskip("diffusers")

from bench import passes as bench
from diagplan.adapters import linear


@pytest.mark.slow
def test_one_frame(tmp_path: Path) -> None:
    limit = linear._HALF_NUMBERS
    bench.main(["--frames", "1", "--repeats", "1", "--no-onnx", "--out", str(tmp_path / "passes.json")])
    assert limit == linear._HALF_NUMBERS
    result = json.loads((tmp_path / "passes.json").read_text())
    plans = {row["plan"]: row["passes"] for row in result["rows"]}
    assert plans["next-token"] == 108
    assert plans["k=2"] < 108 > plans["next-token, window 40"]
    assert len(result["rows"]) == 3 * len(plans)
    assert all(row["ms"] > 0 for row in result["rows"])
    assert {row["same"] for row in result["rows"] if row["plan"] == "next-token" and row["way"] != "int8"} == {1.0}
    for parts in result["parts"].values():
        assert parts["pass"] > 0
        assert parts["rest of forward"] == pytest.approx(
            parts["forward"] - parts["products"] - parts["attention"] - parts["norms"]
        )
