"""The object of a JSON file, or one error that names the file."""

from pathlib import Path

import pytest

from diagplan.planner.errors import DocumentError
from diagplan.schemas.json_objects import read_json_object


def test_the_object(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text('{"a": [1, {"b": null}]}')
    assert read_json_object(tmp_path / "a.json") == {"a": [1, {"b": None}]}


@pytest.mark.parametrize("text", ["[1]", "{", "\xff", "[" * 100_000, "3", ""])
def test_what_is_none_is_refused(text: str, tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text(text, encoding="latin-1")
    with pytest.raises(DocumentError, match=r"expected a JSON object, got .*a\.json, which is not \("):
        read_json_object(tmp_path / "a.json")


def test_a_file_that_is_missing_or_long(tmp_path: Path) -> None:
    with pytest.raises(DocumentError, match=r"cannot read .*a\.json"):
        read_json_object(tmp_path / "a.json")
    (tmp_path / "a.json").write_text('{"a": 1}')
    with pytest.raises(DocumentError, match=r"expected a file of at most 7 bytes, got .*a\.json with more"):
        read_json_object(tmp_path / "a.json", 7)
