"""`diagplan schema`."""

import json
from pathlib import Path

from tests.support.cli import run, run_json


def test_schema_is_the_committed_one() -> None:
    committed = Path(__file__).parents[2] / "schemas" / "plan.schema.json"
    assert run("schema")[1] == committed.read_text()
    assert run_json("schema") == json.loads(committed.read_text())
