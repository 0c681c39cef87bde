"""`diagplan schema`."""

import json
from pathlib import Path

import pytest

from diagplan.schemas.schema import NAMES
from tests.support.cli import run, run_json

SCHEMAS = Path(__file__).parents[2] / "schemas"


@pytest.mark.parametrize("of", NAMES)
def test_schema_is_the_committed_one(of: str, tmp_path: Path) -> None:
    committed = (SCHEMAS / NAMES[of]).read_text()
    assert run("schema", of)[1] == committed
    assert run_json("schema", of) == json.loads(committed)
    assert run("schema", of, "-o", tmp_path / "x.json")[0] == 0
    assert (tmp_path / "x.json").read_text() == committed


def test_the_plans_schema_is_printed_unless_another_is_asked_for() -> None:
    assert run("schema")[1] == (SCHEMAS / "plan.schema.json").read_text()
