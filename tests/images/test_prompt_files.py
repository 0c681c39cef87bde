from pathlib import Path

import pytest

from diagplan.images.prompt_files import read_prompts
from diagplan.planner.errors import DocumentError


def test_lines_of_text_and_of_json(tmp_path: Path) -> None:
    text, lines = tmp_path / "a.txt", tmp_path / "a.jsonl"
    text.write_text("a cat\n\n  a dog, under a tree \n", encoding="utf-8")
    lines.write_text('{"prompt": "a cat"}\n\n"a dog, under a tree"\n', encoding="utf-8")
    assert read_prompts(text) == read_prompts(lines) == ["a cat", "a dog, under a tree"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "expected a prompt at least in"),
        ("{", "expected JSON in line 1 of"),
        ('"a"\n{"prompt": "b", "seed": 3}', "expected prompt alone in line 2 of .* got the key 'seed' too"),
        ('{"prompt": 3}', "expected a prompt as text in line 1 of .* got 3"),
        ('{"text": "a"}', "got the key 'text' too"),
        ("[]", "expected a prompt as text in line 1"),
        ('" "', "expected a prompt as text in line 1"),
    ],
)
def test_other_files_are_one_error(text: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text(text)
    with pytest.raises(DocumentError, match=message):
        read_prompts(tmp_path / "a.jsonl")


def test_bytes_that_are_no_text_and_no_file(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(b"\xff\xfe")
    with pytest.raises(DocumentError, match="expected prompts as UTF-8 text"):
        read_prompts(tmp_path / "a.txt")
    with pytest.raises(DocumentError, match="cannot read"):
        read_prompts(tmp_path / "b.txt")
