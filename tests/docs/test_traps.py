"""The table of traps in tests/README.md names tests that exist."""

import re
from pathlib import Path

import pytest

TESTS = Path(__file__).resolve().parents[1]
NAMED = re.compile(r"`([a-z0-9_/]+\.py)::(test_[a-z0-9_]+)`")


def rows() -> list[str]:
    page = (TESTS / "README.md").read_text()
    part = page.partition("## Traps of transformers")[2].partition("\n## ")[0]
    return [line for line in part.splitlines() if line.startswith("| ")][1:]


def test_every_trap_has_a_test_that_exists() -> None:
    assert len(rows()) == 16
    for row in rows():
        named = NAMED.findall(row)
        assert named, row
        for file, name in named:
            assert f"def {name}(" in (TESTS / file).read_text(), f"{file} has no {name}"


def test_a_model_that_repeats_itself_proves_nothing() -> None:
    tiny = pytest.importorskip("tests.support.hf_models")
    tiny.require_varied(range(8))
    with pytest.raises(AssertionError):
        tiny.require_varied([1, 2, 3, 4, 5, 6, 7] * 9)
