"""The layering law: the table in CONTRIBUTING.md, held against every import of every module."""

import ast
import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

import networkx as nx
import pytest

ROOT = Path(__file__).resolve().parents[2]


def modules() -> dict[str, Path]:
    """Every module of the package by its path within, without the suffix: ``planner/checker/rules``."""
    found = {}
    for folder, subfolders, names in os.walk(ROOT / "diagplan", followlinks=True):
        subfolders[:] = [name for name in subfolders if name != "__pycache__"]
        for name in names:
            if name.endswith(".py"):
                path = Path(folder, name)
                found[path.relative_to(ROOT / "diagplan").with_suffix("").as_posix()] = path
    return found


def law() -> dict[str, tuple[str, ...]]:
    """Folder -> folders and modules that it may import, in the table's order; ``all`` is everything above."""
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    table = text[text.index("| folder | concern | may import |") :].split("\n\n")[0].splitlines()[2:]
    rows: dict[str, tuple[str, ...]] = {}
    for line in table:
        folder, _, allowed = (cell.strip() for cell in line.strip("|").split("|"))
        names = re.findall(r"`([^`]+)`", allowed)
        rows[folder.strip("`")] = tuple(rows) if allowed == "all" else tuple(name.removesuffix(".py") for name in names)
    return rows


MODULES = modules()
LAW = law()
#: The face: its module and the old names that lead to the new ones.
FACE = ""


def folder_of(module: str) -> str:
    """The folder of a module; a package's own ``__init__`` is in it."""
    return module.rpartition("/")[0]


def imported(path: Path) -> Iterator[tuple[int, str]]:
    """Line and module of every import of diagplan's own modules, wherever it stands."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        match node:
            case ast.Import(names=aliases):
                targets = [alias.name for alias in aliases]
            case ast.ImportFrom(module=str(module), names=aliases):
                targets = [f"{module}.{alias.name}" for alias in aliases]
            case _:
                continue
        for target in targets:
            parts = target.split(".")
            if parts[0] == "diagplan":
                yield node.lineno, resolved("/".join(parts[1:]))


def resolved(place: str) -> str:
    """The module that an imported name lies in."""
    while place and place not in MODULES:
        if f"{place}/__init__" in MODULES:
            return f"{place}/__init__"
        place = place.rpartition("/")[0]
    return place or "__init__"


def graph(files: Mapping[str, Path]) -> "nx.DiGraph[str]":
    """Which module imports which."""
    edges: nx.DiGraph[str] = nx.DiGraph()
    for module, path in files.items():
        edges.add_node(module)
        edges.add_edges_from((module, target) for _, target in imported(path) if target != module)
    return edges


def allowed(module: str, target: str) -> bool:
    """Whether the law lets a module import another."""
    own, other = folder_of(module), folder_of(target)
    if target == "__init__":  # the version, which everyone may ask for
        return True
    return own in (other, FACE) or other in LAW[own] or target in LAW[own]


def test_every_folder_has_a_row() -> None:
    assert set(LAW) == {folder_of(module) for module in MODULES} - {FACE}


def test_rows_name_rows_above_them() -> None:
    rows = list(LAW)
    for number, (folder, names) in enumerate(LAW.items()):
        for name in names:
            place = name if name in LAW else folder_of(name)
            assert name in LAW or name in MODULES, f"the row of {folder} names {name}, which is not there"
            assert place in rows[:number], f"the row of {folder} names {name}, which is not above it"


@pytest.mark.parametrize("module", sorted(MODULES))
def test_imports_follow_the_law(module: str) -> None:
    for line, target in imported(MODULES[module]):
        assert allowed(module, target), f"{module}.py:{line} imports {target}"


def test_there_are_no_circles() -> None:
    circles = [sorted(circle) for circle in nx.strongly_connected_components(graph(MODULES)) if len(circle) > 1]
    assert circles == []


@pytest.mark.parametrize(
    ("module", "text"),
    [
        ("planner/plan", "def f():\n    from diagplan.schemas.files import read_plan\n"),
        ("backends/program", "from diagplan.adapters.mc_ar import McAr\n"),
        ("video/files", "import diagplan.games.clips\n"),
    ],
)
def test_a_back_arrow_is_refused(module: str, text: str, tmp_path: Path) -> None:
    path = tmp_path / "module.py"
    path.write_text(text)
    assert [allowed(module, target) for _, target in imported(path)] == [False]


def test_a_circle_is_found(tmp_path: Path) -> None:
    for one, other in (("plan", "stats"), ("stats", "plan")):
        (tmp_path / f"{one}.py").write_text(f"def f():\n    import diagplan.planner.{other}\n")
    files = {f"planner/{name}": tmp_path / f"{name}.py" for name in ("plan", "stats")}
    assert {"planner/plan", "planner/stats"} in list(nx.strongly_connected_components(graph(files)))
