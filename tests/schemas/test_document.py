"""What the models of the plan document refuse: each field, and what must agree between fields."""

import re
from typing import Any

import pytest
from pydantic import ValidationError

from diagplan.planner.errors import DocumentError
from diagplan.schemas.files import plan_document, plan_from_json
from tests.support.documents import EXPLICIT, RULE, Document, edited, put

INTEGERS = ("positions", "max_width", "layout.rows", "cache.slots", "steps.0.source.0", "steps.1.rows.0.1", "given.0.1")


@pytest.mark.parametrize("version", [True, 1.0])
@pytest.mark.parametrize("path", ["version", "names.version"])
def test_versions_that_equal_one(path: str, version: object) -> None:
    complaint = rf"got 1 problem\(s\): {path}: Value error, Input should be the integer 1\.$"
    with pytest.raises(DocumentError, match=rf"^expected a valid plan document in plan, {complaint}"):
        plan_from_json(put(path, version))


@pytest.mark.parametrize("path", [*INTEGERS, "names.schedule.steps", "names.schedule.k"])
@pytest.mark.parametrize("value", [2.0, 1.5, True, "2", [2], {}, 1e300, 2**31, 2**63, 10**400, -2])
def test_only_integers_in_range_are_integers(path: str, value: object) -> None:
    with pytest.raises(
        DocumentError, match=rf"^expected a valid plan document in plan, got \d+ problem\(s\): {path}: "
    ):
        plan_from_json(put(path, value))


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        (put("surplus", 1), "surplus: Extra inputs are not permitted"),
        (put("layout.depth", 1), "layout.depth: Extra inputs are not permitted"),
        (put("steps.0.Source", []), "steps.0.Source: Extra inputs are not permitted"),
        (put("names.\ud800", 1), "names: Input should be a valid string"),
        (edited(lambda document: document.pop("given")), "given: Field required"),
        (put("producer.name", "\ud800"), "producer.name: "),
        (put("producer.name", "x" * 201), "producer.name: String should have at most 200 characters"),
        (put("digest", "sha256:" + "A" * 64), "digest: String should match pattern"),
        (put("digest", "sha256:" + "a" * 64 + "\n"), "digest: String should match pattern"),
        (put("steps", []), "steps: List should have at least 1 item"),
        (put("steps.0.target", []), "steps.0: Value error, expected 2 entries as in source, got 0 in target"),
        (put("steps.0.rows", [[0, 1]]), "steps.0: Value error, expected 2 entries as in source, got 1 in rows"),
        (put("positions", 40), "document: Value error, expected positions of at most 2 x feeds + 2 = "),
        (put("given", [[0, 5], [0, 5]]), "document: Value error, expected at most 5 given slots, got 10"),
        (put("cache.slots", 60), "document: Value error, expected at most positions + feeds + 1 = "),
        (
            edited(lambda document: document["steps"][1].pop("rows")),
            "expected mask rows in every step or in none, got some",
        ),
        (put("masks.listed", []), "expected either rows in the steps or masks.listed, got both or neither"),
        (put("masks.listed", None, RULE), "expected either rows in the steps or masks.listed, got both or neither"),
        (put("masks.visibility", "visible"), "masks.visibility: Input should be 'written', 'causal' or 'listed'"),
    ],
)
def test_refused_by_the_format(text: str, complaint: str) -> None:
    with pytest.raises(DocumentError) as caught:
        plan_from_json(text)
    assert str(caught.value).startswith("expected a valid plan document in plan, got 1 problem(s): ")
    assert complaint in str(caught.value)


def test_only_three_problems_are_spelled_out() -> None:
    def edit(document: Document) -> None:
        document |= {f"key{i}": 0 for i in range(1000)}

    with pytest.raises(DocumentError, match=r"got 1000 problem\(s\): .*; and 997 more\.$") as caught:
        plan_from_json(edited(edit))
    assert len(str(caught.value)) < 400


@pytest.mark.parametrize(
    ("name", "absent"),
    [
        *((name, False) for name in ("names", "masks", "producer", "layout", "cache", "positions", "digest", "steps")),
        *((f"names.schedule.{name}", False) for name in ("name", "steps")),
        *((f"names.schedule.{name}", True) for name in ("k", "d", "k_in_force", "d_in_force", "label", "order")),
        ("masks.listed", True),
        ("cache.trash", False),
        ("max_width", False),
    ],
)
def test_only_optional_fields_may_be_absent(name: str, absent: bool) -> None:
    def remove(document: Document) -> None:
        *holders, last = name.split(".")
        for key in holders:
            document = document[key]
        del document[last]

    if absent:
        value: Any = plan_document(edited(remove))
        for key in name.split("."):
            value = getattr(value, key)
        assert value is None
    else:
        with pytest.raises(DocumentError, match=re.escape(f"got 1 problem(s): {name}: Field required.")):
            plan_document(edited(remove))


def test_a_document_is_frozen() -> None:
    document = plan_document(EXPLICIT)
    assert document.layout.rows == 2
    with pytest.raises(ValidationError, match="frozen"):
        document.positions = 9


@pytest.mark.parametrize(("cells", "refused"), [(2 * 5 + 64, False), (2 * 5 + 65, True)])
def test_a_layout_is_bounded_by_the_positions(cells: int, refused: bool) -> None:
    text = put("layout.rows", 1, put("layout.cols", cells))
    if refused:
        with pytest.raises(DocumentError, match=re.escape(f"expected a layout of about 5 cells, got {cells}.")):
            plan_document(text)
    else:
        assert plan_document(text).layout.cols == cells
