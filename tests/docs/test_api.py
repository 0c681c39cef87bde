"""docs/api.md is what ``make docs`` makes of today's signatures and docstrings."""

import ast
from collections import Counter

import pytest

import diagplan
from docs.make_api import GROUPS, PAGE, api_page, public_names, signature
from tests.support.pages import sections


def test_the_committed_page_is_what_the_command_makes() -> None:
    assert PAGE.read_text(encoding="utf-8") == api_page(), "run: make docs"


def test_every_public_name_is_on_the_page_once() -> None:
    assert public_names() == tuple(diagplan.__all__)
    assert Counter(name for group in GROUPS.values() for name in group) == Counter(diagplan.__all__)
    found = sections(PAGE)
    assert set(found) == set(diagplan.__all__)
    for name, text in found.items():
        assert "\n```py\n" in text, name


@pytest.mark.parametrize("name", [name for name in diagplan.__all__ if name != "__version__"])
def test_an_entry_has_the_sentence_of_its_object(name: str) -> None:
    """Read from the source; the imported object says the same."""
    value = getattr(diagplan, name)
    if not callable(value):
        return
    first = (value.__doc__ or "").strip().splitlines()[0].replace("``", "`")
    assert first in sections(PAGE)[name]


@pytest.mark.parametrize(
    "text",
    [
        "f(a: int, /, b: str = 'x', *more: int, c: bool = True, **rest: str) -> int",
        "g(*, d: float | None = None)",
        "h()",
    ],
)
def test_signatures_read_as_they_are_written(text: str) -> None:
    (node,) = ast.parse(f"def {text}: ...").body
    assert isinstance(node, ast.FunctionDef)
    assert signature(node) == text
