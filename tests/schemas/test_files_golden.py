"""Committed plan files: they must be read, found valid and keep their digest for ever."""

import importlib
import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from diagplan.planner.masks import iter_masks
from diagplan.planner.plan import same_plan
from diagplan.schemas.convert import plan_digest
from diagplan.schemas.files import plan_from_json, plan_to_json, read_document, read_plan
from diagplan.schemas.verify import verify
from tests.golden.add_plans import FOLDER, add, plans

INDEX: dict[str, dict[str, Any]] = json.loads((FOLDER / "index.json").read_text(encoding="utf-8"))


def golden(name: str) -> Path:
    """The path of a golden plan, or a skip where its packing cannot be read here."""
    if name.endswith(".zst"):
        pytest.importorskip("zstandard")
    return FOLDER / name


@pytest.mark.parametrize("name", INDEX)
def test_golden_plan(name: str) -> None:
    path = golden(name)
    plan = read_plan(path)
    assert verify(path).ok
    assert plan_digest(plan) == INDEX[name]["digest"] == read_document(path).digest
    assert (plan.steps, plan.feeds) == (INDEX[name]["steps"], INDEX[name]["feeds"])
    assert sum(len(mask) for _, mask in iter_masks(plan)) == plan.feeds
    for masks in ("explicit", "rule"):
        assert same_plan(plan_from_json(plan_to_json(plan, masks=masks)), plan)


def test_the_index_is_complete() -> None:
    on_disk = {path.name for path in FOLDER.iterdir()} - {"index.json"}
    assert set(INDEX) == on_disk
    assert {name for name, _, _ in plans()} <= set(INDEX)
    assert sum(path.stat().st_size for path in FOLDER.iterdir()) < 300_000


def test_the_corpus_is_varied() -> None:
    documents = [read_document(golden(name)) for name in INDEX if not name.endswith(".zst")]
    assert {document.names.schedule.name for document in documents} >= {"next-token", "diagonal", "zipar", "imported"}
    assert {document.masks.visibility for document in documents} == {"written", "causal", "listed"}
    assert {document.masks.proxy_kv for document in documents} == {"visible", "hidden"}
    assert {document.masks.listed is None for document in documents} == {True, False}
    assert any(document.max_width for document in documents)
    assert any(document.cache.trash for document in documents)
    assert {name.rpartition(".")[2] for name in INDEX} == {"json", "gz", "zst"}


def test_adding_never_overwrites(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "plans"
    shutil.copytree(FOLDER, folder)
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    assert add(folder) == []
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    (_, plan, _), *_ = plans()
    module = importlib.import_module("tests.golden.add_plans")
    monkeypatch.setattr(
        module, "plans", lambda: iter([("bundle-default.json", plan, "rule"), ("new.json", plan, "rule")])
    )
    assert add(folder) == ["new.json"]
    after = {path.name: path.read_bytes() for path in folder.iterdir()}
    index = json.loads(after.pop("index.json"))
    del after["new.json"]
    assert after == {name: data for name, data in before.items() if name != "index.json"}
    assert index.pop("new.json")["digest"] == plan_digest(plan)
    assert index == INDEX
