"""Any document: one error for whatever is wrong with its text."""

import gc

import pytest
from pydantic import BaseModel, ConfigDict

from diagplan.planner.errors import DocumentError
from diagplan.schemas.limits import MAX_KEYS
from diagplan.schemas.parsing import parse_document


class Note(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid")

    format: str
    version: int
    words: dict[str, int] = {}


def parsed(text: str | bytes) -> Note:
    return parse_document(
        Note, text, name="n.json", what="note", form="note", version=3, again="write it again", shorter="Be short."
    )


def test_a_document() -> None:
    assert parsed('{"format":"note","version":3}') == Note(format="note", version=3)
    assert gc.isenabled()


def test_what_is_no_text() -> None:
    with pytest.raises(DocumentError, match=r"^expected JSON in n.json, got what is no text\.$"):
        parsed(b"\x00\x00\x00\x20ftypisom\xff\xfe")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("{", "expected JSON in n.json, got a text that is not: "),
        ("17", 'expected a note in n.json, got JSON without "format": "note".'),
        ('{"format":"note","version":4}', "reads version 3. Install the diagplan that wrote it, or write it again."),
        ('{"format":"note","version":3,"words":{"a":1.5}}', "a valid note in n.json, got 1 problem(s): words.a"),
        ('{"format":"note","version":3,"' + "x" * 500 + '":1}', "got 1 problem(s): 'xxx"),
        ('{"format":"note","version":3,"words":{' + ",".join(f'"{i}":1' for i in range(MAX_KEYS + 1)) + "}}",
         f"an object has {MAX_KEYS + 1} keys"),
        ("[" + "[],[]," * 2_000_000 + "0]", "got 4000001 lists and objects, 0 keys and 4000000 commas. Be short."),
    ],
)  # fmt: skip
def test_what_is_refused(text: str, says: str) -> None:
    with pytest.raises(DocumentError) as caught:
        parsed(text)
    assert says in str(caught.value)
    assert len(str(caught.value)) < 400
    assert gc.isenabled()
