"""`diagplan graph`."""

from pathlib import Path

import pytest

from tests.support.cli import damaged, run, run_json


@pytest.mark.parametrize("suffix", ["graphml", "dot", "json"])
@pytest.mark.parametrize("nodes", ["feeds", "tokens"])
def test_graph_export(tiny: Path, suffix: str, nodes: str) -> None:
    out = tiny.with_suffix(f".{suffix}")
    out = out.with_name(f"graph.{suffix}")
    value = run_json("graph", str(tiny), "-o", str(out), "--nodes", nodes)
    assert value["passes_needed"] == value["steps"] == 6
    assert out.stat().st_size > 0


def test_graph_refuses_damaged_plans(tiny: Path) -> None:
    code, _, err = run("graph", str(damaged(tiny)), "-o", str(tiny.with_name("g.dot")))
    assert code == 1
    assert "expected a valid plan" in err
