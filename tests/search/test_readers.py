"""The search over damaged chains, traces, curves and speculations: it finds what is planted, and nothing else."""

from pathlib import Path
from random import Random
from typing import Any

import pytest

pytest.importorskip("torch")

from tests.search import readers
from tests.search.bounded import EXAMPLES, SEED
from tests.search.guard import judge_one, search
from tests.search.readers import JUDGES, KINDS


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_intact_is_read_and_written_alike(kind: str) -> None:
    one = KINDS[kind]
    read = one.read(one.text().encode())
    assert one.write(one.read(one.write(read).encode())) == one.write(read)
    one.ask(read)


@pytest.mark.parametrize("kind", JUDGES)
def test_some_inputs_of_every_kind(kind: str, tmp_path: Path) -> None:
    accepted = judged = 0
    for seed in range(8):
        some, of = JUDGES[kind](Random(seed), tmp_path)
        accepted, judged = accepted + some, judged + of
    assert 0 < accepted < judged


@pytest.mark.parametrize("kind", KINDS)
def test_a_reader_that_raises_is_found(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def reader(text: bytes) -> Any:
        raise KeyError("planted")

    monkeypatch.setattr(readers, "KINDS", {**KINDS, kind: KINDS[kind]._replace(read=reader)})
    name = f"documents: {kind}"
    assert judge_one(name, JUDGES[name], f"{name}/planted/0").crashed == 1


@pytest.mark.slow
@pytest.mark.parametrize("kind", JUDGES)
def test_search_for_documents_that_are_accepted_and_wrong(kind: str) -> None:
    row = search(kind, JUDGES[kind], 10 * EXAMPLES, SEED)
    assert row.clean, row.findings
    assert 0 < row.accepted < row.inputs
