"""docs/plan-format.md is enough for a second implementation: its sample, its digest, its mask rule, its schema."""

import contextlib
import hashlib
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from diagplan import Diagonal, Imported, Layout, Policies, compile_plan, verify
from diagplan.planner.compiler import SlotOrder
from diagplan.planner.plan import Plan
from diagplan.schemas.convert import plan_digest
from diagplan.schemas.files import plan_from_json, plan_to_json
from diagplan.schemas.schema import plan_schema
from tests.support.pages import DOCS, blocks, run_page

FORMAT = DOCS / "plan-format.md"

Document = dict[str, Any]


@pytest.fixture(scope="module")
def format_page(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], Path]:
    folder = tmp_path_factory.mktemp("format")
    with contextlib.chdir(folder):
        return run_page(FORMAT, folder), folder


def sample_documents() -> list[Document]:
    values = [json.loads(block.text) for block in blocks(FORMAT) if block.kind == "json"]
    return [value for value in values if value.get("format") == "diagplan-plan"]


def test_the_sample_is_the_plan_that_the_page_compiles(format_page: tuple[dict[str, Any], Path]) -> None:
    (sample,) = sample_documents()
    report = verify(plan_from_json(json.dumps(sample)))
    assert (report.errors, report.warnings) == (0, 0)
    written = json.loads((format_page[1] / "tiny.json").read_text())
    assert sample | {"producer": None} == written | {"producer": None}


def test_the_digest_example_needs_hashlib_only() -> None:
    (sample,) = sample_documents()
    (canonical,) = (block.text.strip() for block in blocks(FORMAT) if block.kind == "text" and '"cache":' in block.text)
    assert sample["digest"] == "sha256:" + hashlib.sha256(canonical.encode()).hexdigest()
    facts = {name: sample[name] for name in sample if name not in ("producer", "names", "digest")}
    facts["masks"] = sample["masks"] | {"listed": []}
    facts["steps"] = [{name: step[name] for name in step if name != "rows"} for step in sample["steps"]]
    assert canonical == json.dumps(facts, sort_keys=True, separators=(",", ":"))


def various_plans() -> Iterator[Plan]:
    """Plans in which every part of the mask rule and of the digest has work to do."""
    video = Layout(frames=2, rows=3, cols=3, prompt_frames=1, lead=1, between_frames=2, between_rows=1)
    cells = [[[0, 1, 2], [5, 4, 3], [2, 6, 7]], [[3, 4, 8], [5, 9, 6], [9, 8, 7]]]
    lowerings: list[tuple[SlotOrder, int | None, tuple[int, ...] | None]] = [
        ("position", None, None), ("position", 2, (2, 4)), ("step-order", 3, (4,)),
    ]  # fmt: skip
    for schedule in (Diagonal(k=1, d=2), Diagonal(k=2), Imported(steps=cells)):
        for policies in (
            Policies(),
            Policies(row_end="keep", proxy_kv="visible"),
            Policies(visibility="causal"),
            Policies(proxy="prompt", row_end="keep", visibility="causal"),
        ):
            for slots, cap, pad in lowerings:
                if slots == "position" or policies.visibility == "written":
                    yield compile_plan(video, schedule, policies, max_width=cap, slots=slots, pad=pad)


def test_the_page_is_enough_for_a_second_implementation(format_page: tuple[dict[str, Any], Path]) -> None:
    page = format_page[0]
    mask_rows: Callable[[Document], list[list[int]]] = page["mask_rows"]
    digest: Callable[[Document], str] = page["digest"]
    for plan in various_plans():
        explicit, rule = (json.loads(plan_to_json(plan, masks=form)) for form in ("explicit", "rule"))
        assert mask_rows(rule) == mask_rows(explicit)
        assert digest(rule) == digest(explicit) == plan_digest(plan)


def test_every_field_of_the_schema_is_described() -> None:
    text = FORMAT.read_text()
    schema = plan_schema()
    for definition in (schema, *schema["$defs"].values()):
        for name, field in definition["properties"].items():
            assert f"`{name}`" in text, name
            for value in (*field.get("enum", ()), *([field["const"]] if isinstance(field.get("const"), str) else ())):
                assert f'`"{value}"`' in text, (name, value)
