"""`diagplan diff`."""

import json
from pathlib import Path

from diagplan import Diagonal, Layout, compile_plan, write_plan
from tests.support.cli import run, run_json


def test_diff_says_which_feeds_differ(tmp_path: Path) -> None:
    layout = Layout(frames=1, rows=3, cols=4, lead=1)
    a, b = tmp_path / "a.json", tmp_path / "b.json"
    write_plan(compile_plan(layout, Diagonal(k=1)), a)
    write_plan(compile_plan(layout, Diagonal(k=2)), b)
    code, out, _ = run("diff", str(a), str(b))
    assert code == 1
    assert "steps" in out
    assert "frame 0 row 1 col 0" in out
    value = run_json("diff", str(a), str(b), code=1)
    assert value["header"]["steps"] == ["6", "8"]
    assert {"position": 4, "target": 5, "what": "step", "a": 1, "b": 2} in value["differences"]
    assert run_json("diff", str(a), str(a))["same"] is True


def test_diff_sees_a_changed_mask_row(tiny: Path) -> None:
    value = json.loads(tiny.read_text())
    value["steps"][2]["rows"][0][-1] += 2
    other = tiny.with_name("other.json")
    other.write_text(json.dumps(value))
    assert run_json("diff", str(tiny), str(other), code=1)["same"] is False
    assert "mask" in json.dumps(run_json("diff", str(tiny), str(other), code=1)["differences"])
