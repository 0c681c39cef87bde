"""Tests mirror sources: the test of a module is found by the module's path; no file is long."""

from pathlib import Path

import pytest

from tests.packaging.test_layering import FACE, MODULES, ROOT, folder_of

TESTS = ROOT / "tests"
LONGEST = 400


def files_for(module: str) -> list[Path]:
    """The test files of a module: ``planner/plan`` -> ``tests/planner/test_plan.py``, ``test_plan_<topic>.py``."""
    folder, _, name = module.rpartition("/")
    place = TESTS / folder
    return [path for path in place.glob(f"test_{name}*.py") if path.stem.removeprefix(f"test_{name}")[:1] in ("", "_")]


OWN = sorted(module for module in MODULES if not module.endswith("__init__") and folder_of(module) != FACE)


@pytest.mark.parametrize("module", OWN)
def test_every_module_has_a_test_by_its_path(module: str) -> None:
    assert files_for(module), f"{module}.py has no tests/{folder_of(module)}/test_{module.rpartition('/')[2]}.py"


def test_every_folder_of_tests_mirrors_one_or_says_what_it_is() -> None:
    folders = {folder_of(module) for module in MODULES}
    others = {"bench", "browser", "conformance", "docs", "golden", "packaging", "search", "support"}
    for path in TESTS.rglob("test_*.py"):
        folder = path.parent.relative_to(TESTS).as_posix().removeprefix(".")
        assert folder in folders or folder.split("/")[0] in others, f"{folder} mirrors no folder of the sources"


def test_no_file_is_long() -> None:
    files = [*MODULES.values(), *TESTS.rglob("*.py"), *(ROOT / "bench").rglob("*.py")]
    long = {
        path.relative_to(ROOT).as_posix(): n for path in files if (n := len(path.read_text().splitlines())) > LONGEST
    }
    assert long == {}


def test_a_missing_test_is_seen() -> None:
    assert files_for("planner/pla") == []
    assert TESTS / "planner" / "test_plan.py" in files_for("planner/plan")
