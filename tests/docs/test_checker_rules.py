"""docs/checker-rules.md has every rule, its remedy, and an example that the checker refuses as shown."""

import contextlib
import io
import json
import re
from dataclasses import replace
from pathlib import Path

import pytest

from diagplan import verify
from diagplan.cli import app
from diagplan.planner.checker import RULES
from diagplan.planner.checker.chains import JOINT_RULES
from diagplan.planner.lowering import pad_steps
from diagplan.schemas.chain_files import read_plan_or_chain
from diagplan.schemas.verify import DIGEST_CODE
from tests.support.pages import DOCS, PAGES, sections, shows

RULE_PAGE = DOCS / "checker-rules.md"
EVERY = (*RULES, *JOINT_RULES)
BASE = "diagplan compile --rows 2 --cols 2 --lead 1 --k 1 --pad 2"


def test_the_table_of_rules_is_the_checkers() -> None:
    table = re.findall(r"^\| \[(DP\d+)\]\(#(\w+)\) \| (.*?) \| (.*?) \|$", RULE_PAGE.read_text(), re.MULTILINE)
    rules = [(rule.code, rule.code.lower(), rule.severity, rule.sentence) for rule in RULES]
    rules += [(rule.code, rule.code.lower(), "error", rule.sentence) for rule in JOINT_RULES]
    assert [row for row in table if row[0] != DIGEST_CODE] == rules
    assert [row[:3] for row in table if row[0] == DIGEST_CODE] == [(DIGEST_CODE, DIGEST_CODE.lower(), "error")]


def test_no_page_names_a_code_that_is_none() -> None:
    codes = {rule.code for rule in EVERY} | {DIGEST_CODE}
    assert set(re.findall(r"\bDP\d{3}\b", RULE_PAGE.read_text())) == codes
    for page in PAGES:
        assert set(re.findall(r"\bDP\d{3}\b", page.read_text())) <= codes, page.name


def test_every_rule_has_a_section_with_its_remedy() -> None:
    found = {name: text for name, text in sections(RULE_PAGE).items() if name.startswith("DP")}
    assert list(found) == sorted([*(rule.code for rule in EVERY), DIGEST_CODE])
    for rule in EVERY:
        assert rule.remedy in " ".join(found[rule.code].split()), rule.code
        assert "```breach" in found[rule.code], rule.code


def breaches() -> list[tuple[str, dict[str, str]]]:
    """Of every section its examples: what is compiled, how document or plan are changed, what the checker says."""
    return [
        (code, dict(re.findall(r"^(\w+): +(.*)$", body, re.MULTILINE)))
        for code, text in sections(RULE_PAGE).items()
        for body in re.findall(r"^```breach\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    ]


@pytest.mark.parametrize(("code", "example"), breaches(), ids=lambda value: value if isinstance(value, str) else "")
def test_examples_of_breaches(
    code: str, example: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    words = example.get("plan", BASE).split()
    assert words[0] == "diagplan"
    assert set(example) <= {"plan", "edit", "python", "says"}
    with contextlib.redirect_stdout(io.StringIO()):
        app([*words[1:], "-o", "plan.json"], standalone_mode=False)
    document = json.loads(Path("plan.json").read_text())
    exec(example.get("edit", ""), {}, document)
    Path("plan.json").write_text(json.dumps(document))
    judged = Path("plan.json")
    names = {"plan": read_plan_or_chain(judged), "replace": replace, "pad_steps": pad_steps}
    made = eval(example["python"], names) if "python" in example else judged
    report = verify(made)
    said = [f"{d.code} {d.severity}: {d.message}" for d in report.diagnostics if d.code == code]
    assert any(shows(example["says"], line) for line in said), said
