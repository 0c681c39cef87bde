"""Chains through files: round trips, one digest, limits of all plans together, and files that somebody else wrote."""

import gzip
import hashlib
import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings

from diagplan import Diagonal, Layout, NextToken, chain_layouts, compile_chain, compile_plan, plan_digest, verify
from diagplan import write_plan as write_one
from diagplan.planner.checker.chains import verify_chain
from diagplan.planner.errors import DocumentError, InvalidPlanError, SpecError
from diagplan.schemas import chain_files
from diagplan.schemas.chain_files import (
    chain_digest,
    chain_from_json,
    chain_to_json,
    read_any_document,
    read_chain,
    read_plan_or_chain,
    write_chain,
)
from diagplan.schemas.files import read_plan
from tests.support.documents import FORMS
from tests.support.strategies import chain_requests

GRID = Layout(frames=1, rows=2, cols=3, lead=3)
CHAIN = compile_chain(chain_layouts([GRID, GRID, GRID], 1), Diagonal(k=1))
ODD: Any = "x"


@settings(max_examples=30)
@given(request=chain_requests())
def test_a_chain_comes_back(request: dict[str, Any]) -> None:
    chain = compile_chain(**request)
    for form in FORMS:
        text = chain_to_json(chain, masks=form)
        assert chain_from_json(text) == chain
        assert chain_from_json(text.encode()) == chain
        assert json.loads(text)["digest"] == chain_digest(chain)
        assert chain_to_json(chain_from_json(text), masks=form) == text


@pytest.mark.parametrize("name", ["chain.json", "chain.json.gz", "chain"])
def test_files(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    write_chain(CHAIN, path)
    assert read_chain(path) == read_plan_or_chain(str(path)) == CHAIN
    assert verify(path).ok
    assert path.read_bytes()[:2] == (b"\x1f\x8b" if name.endswith("gz") else b'{"')
    write_one(CHAIN.plans[0], tmp_path / "plan.json")
    assert read_plan_or_chain(tmp_path / "plan.json") == CHAIN.plans[0]
    with pytest.raises(DocumentError, match="got a chain of plans"):
        read_plan(path)


def test_the_digest_is_of_the_facts_alone() -> None:
    """As docs/plan-format.md says: format, version, kept and the plans' digests, keys in order, no white space."""
    plans = ",".join(f'"{plan_digest(plan)}"' for plan in CHAIN.plans)
    text = f'{{"format":"diagplan-chain","kept":[[],[[0,8]],[[0,15]]],"plans":[{plans}],"version":1}}'
    assert chain_digest(CHAIN) == "sha256:" + hashlib.sha256(text.encode()).hexdigest()
    other = replace(CHAIN, kept=((), ((0, 8),), ((0, 14),)))
    assert chain_digest(other) != chain_digest(CHAIN)


def test_damage_is_told_where_it_is(tmp_path: Path) -> None:
    value = json.loads(chain_to_json(CHAIN))
    value["plans"][1]["max_width"] = 99
    value["kept"][2] = [[0, 14]]
    path = tmp_path / "chain.json"
    path.write_text(json.dumps(value))
    report = verify(path)
    assert report.counts == {"DP601": 2}
    assert [found.plan for found in report.diagnostics] == [1, None]
    assert report.errors == 2
    value["kept"][2] = [[5, 5]]
    path.write_text(json.dumps(value))
    assert verify(path).counts == {"DP700": 1}
    assert (
        verify(replace(CHAIN, kept=((), ((0, 9),), ()))).counts
        == verify_chain(replace(CHAIN, kept=((), ((0, 9),), ()))).counts
    )


def test_what_has_no_document() -> None:
    with pytest.raises(InvalidPlanError, match=r"expected kept to be a tuple of 3 lists of runs, got .*\(DP700\)"):
        chain_to_json(replace(CHAIN, kept=((),)))
    broken = replace(CHAIN, plans=(replace(CHAIN.plans[0], positions=-1), *CHAIN.plans[1:]))
    with pytest.raises(InvalidPlanError, match=r"expected positions to be a whole number .*\(DP100\)"):
        chain_to_json(broken)
    calls: list[Any] = [
        lambda: chain_digest(3),  # type: ignore[arg-type]
        lambda: write_chain(CHAIN.plans[0], "x.json"),  # type: ignore[arg-type]
    ]
    for call in calls:
        with pytest.raises(SpecError, match="expected chain to be a Chain, got chain="):
            call()
    with pytest.raises(SpecError, match=re.escape("expected masks to be 'explicit' or 'rule', got masks='all'")):
        chain_to_json(CHAIN, masks="all")  # type: ignore[arg-type]
    with pytest.raises(SpecError, match=r"expected a name ending in \.json, \.json\.gz or \.json\.zst, got x\.txt"):
        write_chain(CHAIN, "x.txt")
    with pytest.raises(SpecError, match="expected path to be a path, got path=<int>"):
        read_chain(3)  # type: ignore[arg-type]


def test_what_all_plans_together_may_ask(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    text = chain_to_json(CHAIN)
    rows = sum(plan.feeds + plan.steps for plan in CHAIN.plans)
    monkeypatch.setattr(chain_files, "MAX_EXPLICIT_ROWS", rows)
    assert chain_from_json(text) == CHAIN
    monkeypatch.setattr(chain_files, "MAX_EXPLICIT_ROWS", rows - 1)
    for call in (lambda: chain_from_json(text), lambda: chain_to_json(CHAIN)):
        with pytest.raises(DocumentError, match=f"in all plans together, got [0-9]+ and {rows}. Write the chain with"):
            call()
    assert chain_from_json(chain_to_json(CHAIN, masks="rule")) == CHAIN
    monkeypatch.setattr(chain_files, "MAX_EXPLICIT_ROWS", rows)
    bits = sum(plan.feeds * plan.cache_slots for plan in CHAIN.plans)
    monkeypatch.setattr(chain_files, "MAX_EXPLICIT_BITS", bits - 1)
    with pytest.raises(DocumentError, match=f"in all plans together, got {bits} and {rows}"):
        chain_from_json(text)


def test_many_plans(tmp_path: Path) -> None:
    many = compile_chain(chain_layouts([GRID] * 64), NextToken())
    text = chain_to_json(many, masks="rule")
    assert chain_from_json(text) == many
    value = json.loads(text)
    value["plans"].append(value["plans"][-1])
    value["kept"].append([])
    with pytest.raises(DocumentError, match="should have at most 64 items"):
        chain_from_json(json.dumps(value))


@pytest.mark.parametrize(
    "text",
    [
        "", "[]", "null", '{"format":"diagplan-chain"', '{"format":"diagplan-chain","format":"diagplan-chain"}',
        "[" * 100_000, '{"format":"diagplan-chain","version":1,"plans":' + "[" * 100_000 + "]" * 100_000 + "}",
        '{"format":"diagplan-chain","version":NaN}', '{"format":"diagplan-chain","version":' + "9" * 10_000 + "}",
    ],
)  # fmt: skip
def test_not_a_document(text: str, tmp_path: Path) -> None:
    calls: list[Any] = [lambda: chain_from_json(text, name="x.json"), lambda: _any(text, tmp_path)]
    for call in calls:
        with pytest.raises(DocumentError, match=r"^expected .+ in x\.json, got .+\.$") as caught:
            call()
        assert len(str(caught.value)) < 400


def _any(text: str, folder: Path) -> object:
    path = folder / "x.json"
    path.write_text(text)
    return read_any_document(path)


def test_a_bomb_is_not_unpacked(tmp_path: Path) -> None:
    path = tmp_path / "chain.json.gz"
    path.write_bytes(gzip.compress(b" " * (1 << 26)))
    with pytest.raises(DocumentError, match="to unpack to at most"):
        read_chain(path)


def test_what_is_kept_may_claim_no_more_than_a_plan_holds(tmp_path: Path) -> None:
    """Nothing is allocated on a run's word."""
    value = json.loads(chain_to_json(CHAIN))
    value["kept"][1] = [[0, 2**31 - 1]]
    chain = chain_from_json(json.dumps(value))
    assert verify(chain).counts == {"DP700": 1}
    plan = compile_plan(GRID, NextToken())
    assert verify(replace(chain, plans=(plan, plan, plan))).counts == {"DP700": 2}  # the third plan's runs as well
    odd = replace(CHAIN, plans=(CHAIN.plans[0], replace(CHAIN.plans[1], positions=ODD), CHAIN.plans[2]))
    assert verify(odd).counts == {"DP100": 1}
