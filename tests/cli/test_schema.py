"""`diagplan schema`."""

import json
from pathlib import Path

from tests.support.cli import run, run_json


def test_schema_is_the_committed_one() -> None:
    committed = Path(__file__).parents[2] / "schemas" / "plan.schema.json"
    assert run("schema")[1] == committed.read_text()
    assert run_json("schema") == json.loads(committed.read_text())


def test_schema_of_traces_is_the_committed_one(tmp_path: Path) -> None:
    committed = Path(__file__).parents[2] / "schemas" / "trace.schema.json"
    assert run("schema", "trace")[1] == committed.read_text()
    assert run_json("schema", "trace") == json.loads(committed.read_text())
    assert run_json("schema", "trace", "-o", tmp_path / "trace.json") == {"out": str(tmp_path / "trace.json")}
    assert (tmp_path / "trace.json").read_text() == committed.read_text()
    assert run("schema", "plans")[0] == 2
