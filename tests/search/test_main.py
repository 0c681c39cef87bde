"""The campaign's command: what it counts, what it says where something was found, and the page it is told on."""

import json
import sys
from pathlib import Path
from random import Random

import pytest

pytest.importorskip("torch")
pytest.importorskip("onnxscript")

from diagplan.planner.errors import SpecError
from tests.search import __main__ as command
from tests.search.guard import Different

ROOT = Path(__file__).resolve().parents[2]
RESULTS = ROOT / "bench" / "results" / "search.json"


def refusing(random: Random, _: Path) -> tuple[int, int]:
    if random.random() < 0.5:
        raise SpecError("expected a, got b.")
    return 1, 1


def differing(_: Random, __: Path) -> tuple[int, int]:
    raise Different("two")


def run(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> int:
    monkeypatch.setattr(sys, "argv", ["search", *map(str, arguments)])
    return command.main()


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    groups = {"plans": {"a": refusing}, "documents": {"b": refusing, "videos": refusing}, "files": {"c": differing}}
    monkeypatch.setattr(command, "GROUPS", groups)


@pytest.mark.usefixtures("few")
def test_counts_are_written_and_findings_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    common = ("--plans", 40, "--documents", 44, "--kills", 0, "--workers", 1, "--seed", "s")
    assert run(monkeypatch, *common, "--files", 0, "-o", tmp_path / "good.json") == 0
    rows = json.loads((tmp_path / "good.json").read_bytes())["rows"]
    assert [(row["kind"], row["inputs"]) for row in rows] == [("a", 40), ("b", 40), ("videos", 4)]
    assert 0 < rows[0]["accepted"] < 40
    assert run(monkeypatch, *common, "--files", 2, "-o", tmp_path / "bad.json") == 1
    assert "different: c/s/0" in capsys.readouterr().out
    assert run(monkeypatch, "--repeat", "c/s/0") == 1
    assert run(monkeypatch, "--repeat", "a/s/0") == 0


def test_the_page_shows_the_campaign_that_was_run(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    document = json.loads(RESULTS.read_bytes())
    assert run(monkeypatch, "--table", RESULTS) == 0
    assert capsys.readouterr().out.strip() in (ROOT / "SECURITY.md").read_text(encoding="utf-8")
    kinds = {row["kind"]: row for row in document["rows"]}
    assert set(kinds) == {"kills", *(kind for judges in command.GROUPS.values() for kind in judges)}
    for group, least in (("plans", 1_000_000), ("documents", 200_000), ("files", 100_000)):
        assert sum(kinds[kind]["inputs"] for kind in command.GROUPS[group]) >= least
    assert kinds["kills"]["inputs"] >= 100
    faults = ("different", "crashed", "hung", "over_memory")
    assert not any(row[fault] for row in document["rows"] for fault in faults)
