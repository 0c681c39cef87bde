"""The errors that users can cause: one family, and the planner and the border raise no others on purpose."""

import ast
import builtins
from pathlib import Path

import pytest

from diagplan.planner import errors
from diagplan.planner.errors import DiagplanError, SpecError
from diagplan.planner.layout import Layout

ROOT = Path(__file__).resolve().parents[2]
SOURCES = [path for folder in ("planner", "schemas") for path in sorted((ROOT / folder).rglob("*.py"))]
#: pydantic turns the ValueErrors of validators into one DocumentError, json those of its hooks; a path that is a
#: folder or a device, or may not be written, is turned by the function around it; an assertion is our own bug.
CAUGHT = {"AssertionError", "ValueError", "IsADirectoryError", "FileExistsError", "PermissionError"}
#: Functions that return the error to raise.
MADE_BY = {"missing_packages": "MissingExtraError"}


@pytest.mark.parametrize("name", errors.__all__)
def test_every_error_is_one_family_and_a_value_error(name: str) -> None:
    error = getattr(errors, name)
    assert issubclass(error, DiagplanError)
    assert issubclass(error, ValueError)
    assert error.__doc__
    with pytest.raises(DiagplanError, match=r"^expected A, got b$"):
        raise error("expected A, got b")


def test_nothing_else_is_defined_there() -> None:
    defined = {name for name, value in vars(errors).items() if isinstance(value, type)}
    assert defined == set(errors.__all__)


def raised_names(path: Path) -> set[str]:
    """The names of the exceptions that a file raises."""
    raises = [node.exc for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))) if isinstance(node, ast.Raise)]
    names = {ast.unparse(exc.func if isinstance(exc, ast.Call) else exc) for exc in raises if exc is not None}
    return {MADE_BY.get(name, name) for name in names}


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_the_planner_and_the_border_raise_these_errors(path: Path) -> None:
    assert raised_names(path) <= {*errors.__all__} | CAUGHT


def test_the_scan_sees_raises() -> None:
    names = set().union(*map(raised_names, SOURCES))
    assert {"SpecError", "DocumentError", "MissingExtraError"} <= names
    assert set(names) - set(errors.__all__) <= set(dir(builtins))


def test_a_user_may_catch_value_error() -> None:
    with pytest.raises(ValueError, match=r"^expected rows >= 1, got rows=0\.") as caught:
        Layout(frames=1, rows=0, cols=1, lead=1)
    assert type(caught.value) is SpecError
