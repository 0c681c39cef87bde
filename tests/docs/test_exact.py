"""docs/exact.md has every rule of a trace, every field of its document, and theorems that there are."""

import re

from diagplan.models.trace_check import MODEL_CODE, SHORTFALL_CODE
from diagplan.planner.proofs.theorems_speculation import SPECULATION_THEOREMS
from diagplan.planner.trace_checker import TRACE_RULES
from diagplan.schemas.trace_document import TraceDocument, TracedPassDocument
from diagplan.schemas.verify_trace import TRACE_DIGEST_CODE
from tests.support.pages import DOCS, PAGES, sections

PAGE = DOCS / "exact.md"


def test_the_table_of_rules_is_the_checkers() -> None:
    table = re.findall(r"^\| (DT\d+) \| (.*?) \|$", PAGE.read_text(), re.MULTILINE)
    rules = [(rule.code, rule.sentence) for rule in TRACE_RULES]
    assert table[: len(rules)] == rules
    assert [code for code, _ in table[len(rules) :]] == [TRACE_DIGEST_CODE, MODEL_CODE, SHORTFALL_CODE]


def test_no_page_names_a_code_that_is_none() -> None:
    codes = {rule.code for rule in TRACE_RULES} | {TRACE_DIGEST_CODE, MODEL_CODE, SHORTFALL_CODE}
    for page in PAGES:
        assert set(re.findall(r"\bDT\d{3}\b", page.read_text())) <= codes, page.name


def test_every_field_is_described() -> None:
    text = sections(PAGE, level=2)["The trace"]
    rows = re.findall(r"^\| (`.*?`) \|", text, re.MULTILINE)
    assert re.findall(r"`(\w+)`", " ".join(rows)) == list(TraceDocument.model_fields)
    for name in TracedPassDocument.model_fields:
        assert f"`{name}`" in text


def test_every_theorem_is_named() -> None:
    named = set(re.findall(r"`(speculation-[a-z-]+)`", PAGE.read_text()))
    assert named == {theorem.name for theorem in SPECULATION_THEOREMS}
