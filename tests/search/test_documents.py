"""The search over damaged documents and files: it finds what is planted, and nothing else."""

from pathlib import Path
from random import Random

import pytest

pytest.importorskip("torch")

from diagplan.planner.plan import Plan
from diagplan.schemas.files import plan_from_json
from tests.search import documents
from tests.search.bounded import EXAMPLES, SEED
from tests.search.documents import JUDGES
from tests.search.guard import judge_one, search


@pytest.mark.parametrize("kind", JUDGES)
def test_some_inputs_of_every_kind(kind: str, tmp_path: Path) -> None:
    accepted, judged = JUDGES[kind](Random(5), tmp_path)
    assert 0 <= accepted < judged


@pytest.mark.parametrize("kind", sorted({*JUDGES} - {"documents: files"}))
def test_a_reader_that_raises_is_found(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def reader(text: bytes) -> Plan:
        if b"causal" in text:
            raise KeyError("planted")
        return plan_from_json(text)

    monkeypatch.setattr(documents, "plan_from_json", reader)
    rows = [judge_one(kind, JUDGES[kind], f"{kind}/planted/{number}") for number in range(3)]
    assert sum(row.crashed for row in rows) == 3


@pytest.mark.slow
@pytest.mark.parametrize("kind", JUDGES)
def test_search_for_documents_that_are_accepted_and_wrong(kind: str) -> None:
    row = search(kind, JUDGES[kind], 10 * EXAMPLES, SEED)
    assert row.clean, row.findings
    assert 0 < row.accepted < row.inputs
