"""The law of messages: a value of a file, a document or an argument is shown by ``shown``, so that it is bounded first.

What the law reads: every f-string inside a call of an error or of ``warn``. There no value is formatted by ``!r``; what
stands behind "got " or "=" is ``shown`` or a bounded thing by its form, or is listed here with the reason; and what a
library says of a value is cut.
"""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from diagplan.planner import errors

ROOT = Path(__file__).resolve().parents[2]
SOURCES = [
    path for folder in ("adapters", "schemas", "backends", "planner") for path in sorted((ROOT / folder).rglob("*.py"))
]
#: Calls whose result is short whatever they are given.
BOUNDED = {"shown", "len", "listed", "named_briefly"}
#: Facts of arrays, of files and of our own records that are short: a dtype, a shape, the least number, a name.
FACTS = re.compile(
    r"(\.(dtype|shape(\[\d\]|\))?|ndim|size|path|strerror|name|__name__|feeds|positions|slots|rows|errors)"
    r"|\.(min|max)\(\)|\[:\d+\]| / _[A-Z]+)$"
)
#: Names of paths and of settings, which are ours or the system's.
NAMES = {"path", "folder", "place", "index", "source", "about", "name", "key", "field.name", "self.option"}
#: Others, and why they are short.
CHECKED = {
    "sizes that the constructor has checked": {
        "self.dim", "self.n_heads", "self.n_kv_heads", "self.n_embd", "self.n_head", "self.head_size", "self.width",
        "self.num_attention_heads", "self.num_key_value_heads", "self.hidden_size", "self.image_vocab",
        "self.vocab_size", "config.n_layers", "config.n_layer", "config.num_hidden_layers",
        "layout.lead", "layout.between_rows",
    },
    "numbers of shapes and counts, of arrays of integers": {
        "layers", "vocab", "codes", "cells", "positions", "given", "length", "rows", "size", "worst",
        "free / 2 ** 20", "array[wrong][0]", "blocks[row, place]", "offsets[-1]", "grid[0]", "grid[1]",
        "list(np.shape(ids))", "self.only_batch", "listed", "containers", "_opset(graph)", "_opset(model) or 'none'",
    },
    "words of ours, or cut where they are made": {
        "kinds", "got", "at", "named", "places", "used", "device", "_summary(error)", "type(cause).__name__",
        "expected", "str(error) or 'too deep nesting'", "os.fspath(path)",
        "', '.join((name[:60] for name in unknown[:4]))", "_named(domains) or 'its own'", "_named(nested)",
        "_named(foreign)", "what", "words", "scaled",
    },
}  # fmt: skip
#: json, gzip and zstd tell of a place in a file, and not what stands there.
SAY_PLACES = {"schemas/files.py", "schemas/orders.py", "schemas/parsing.py"}


def messages(tree: ast.AST) -> Iterator[ast.JoinedStr]:
    """The f-strings of messages."""
    for call in ast.walk(tree):
        if isinstance(call, ast.Call) and re.search(r"(?<!Assertion)Error$|\bwarn$", ast.unparse(call.func)):
            yield from (node for node in ast.walk(call) if isinstance(node, ast.JoinedStr))


def is_short(value: ast.expr) -> bool:
    text = ast.unparse(value)
    asked = value.values[0] if isinstance(value, ast.BoolOp) else value  # ``listed(...) or "none"``
    called = isinstance(asked, ast.Call) and ast.unparse(asked.func) in BOUNDED
    return called or bool(FACTS.search(text)) or text in NAMES.union(*CHECKED.values())


def unbounded(source: str) -> list[str]:
    """What a module's messages format without a bound."""
    found = []
    for message in messages(ast.parse(source)):
        before = ""
        for part in message.values:
            if isinstance(part, ast.FormattedValue):
                reported = before.endswith(("got ", "="))
                if part.conversion != -1 or (reported and not is_short(part.value)):
                    found.append(ast.unparse(part.value))
            before = str(part.value) if isinstance(part, ast.Constant) else ""
    return found


def said_by_libraries(source: str) -> list[str]:
    """The handlers in whose messages an error stands uncut that is not one of ours."""
    found = []
    for handler in ast.walk(ast.parse(source)):
        if not isinstance(handler, ast.ExceptHandler) or handler.type is None or handler.name is None:
            continue
        caught = {ast.unparse(kind) for kind in getattr(handler.type, "elts", [handler.type])}
        whole = any(
            isinstance(part, ast.FormattedValue) and ast.unparse(part.value) in (handler.name, f"str({handler.name})")
            for message in messages(handler)
            for part in message.values
        )
        if whole and not caught <= {*errors.__all__, "RecursionError"}:
            found.append(ast.unparse(handler.type))
    return found


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_values_are_shown(path: Path) -> None:
    source = path.read_text(encoding="utf-8")
    assert unbounded(source) == []
    if path.relative_to(ROOT).as_posix() not in SAY_PLACES:
        assert said_by_libraries(source) == []


@pytest.mark.parametrize(
    ("message", "found"),
    [
        ("f'got {value!r}.'", ["value"]),
        ("f'expected {kind!a}, got {shown(value)}.'", ["kind"]),
        ("f'got k={value}.'", ["value"]),
        ("f'got {keys[key]} and {other.thing}'", ["keys[key]"]),
        ("f'got k={shown(value)}, {len(value)} and {path}'", []),
        ("f'expected one of {names}' + f'got {value:g}'", ["value"]),
    ],
)
def test_the_law_sees(message: str, found: list[str]) -> None:
    assert unbounded(f"raise SpecError({message}, 3) from None") == found
    assert unbounded(f"return errors.DocumentError({message})".replace("return ", "")) == found
    assert unbounded(f"raise AssertionError({message})") == []


def test_the_law_sees_what_libraries_say() -> None:
    handler = "try: pass\nexcept {} as error:\n    raise SpecError(f'a {{{}}}')"
    assert said_by_libraries(handler.format("(ValueError, SpecError)", "error")) == ["(ValueError, SpecError)"]
    assert said_by_libraries(handler.format("ValueError", "str(error)[:200]")) == []
    assert said_by_libraries(handler.format("SpecError", "error")) == []


def test_no_reason_has_outlived_its_message() -> None:
    text = "\n".join(ast.unparse(ast.parse(path.read_text(encoding="utf-8"))) for path in SOURCES)
    stale = [
        word for words in CHECKED.values() for word in words if f"{{{word}}}" not in text and f"{{{word}:" not in text
    ]
    assert stale == []
