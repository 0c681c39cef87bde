"""Names say what they hold: none is a participle that any value could bear."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SOURCES = [
    path
    for folder in ("planner", "schemas", "adapters", "backends", "diagplan")
    for path in sorted((ROOT / folder).rglob("*.py"))
    if not any(parent.is_symlink() for parent in path.parents)
]
EMPTY = {"said", "made", "found"}
#: Public parameters, which stay: pictures that were made, beside the true ones; what a comparison found.
PUBLIC = {
    "diagplan/evaluation/metrics.py": {"made"},
    "diagplan/evaluation/pictures.py": {"made"},
    "diagplan/models/running.py": {"found"},
}


def names(tree: ast.AST) -> set[str]:
    """The names of parameters, of variables and of attributes that are set."""
    bound: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.arg):
            bound.add(node.arg)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            bound.add(node.id)
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
            bound.add(node.attr)
    return bound


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_names_say_what_they_hold(path: Path) -> None:
    empty = names(ast.parse(path.read_text(encoding="utf-8"))) & EMPTY
    assert empty == PUBLIC.get(path.relative_to(ROOT).as_posix(), set())


def test_the_law_sees() -> None:
    assert names(ast.parse("def f(said): self.made = [found for found in said]")) >= EMPTY
