"""What is installed, what an import loads, and what is public. Walks the tree, so new modules are covered."""

import ast
import importlib
import importlib.metadata
import inspect
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import diagplan

ROOT = Path(__file__).resolve().parents[2]
PYPROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
PACKAGES: list[str] = PYPROJECT["tool"]["setuptools"]["packages"]

#: The modules that extras bring.
EXTRAS = {
    "PIL", "av", "crafter", "diffusers", "matplotlib", "onnx", "onnxruntime", "safetensors", "skimage", "starlette",
    "torch", "transformers", "triton", "uvicorn", "vizdoom", "websockets", "yaml", "z3", "zstandard",
}  # fmt: skip
#: What `import diagplan` and the planner must not load: the extras, and what only the border and the face need.
HEAVY = EXTRAS | {"jsonschema", "pydantic", "rich", "typer"}


def package_files() -> Iterator[Path]:
    """Every file of the package as installed, relative to the root; the links are followed."""
    for folder, subfolders, names in os.walk(ROOT / "diagplan", followlinks=True):
        subfolders[:] = sorted(set(subfolders) - {"__pycache__"})
        yield from (Path(folder, name).relative_to(ROOT) for name in sorted(names))


def module_name(path: Path) -> str:
    """The dotted name under which a file is imported."""
    return ".".join(path.with_suffix("").parts).removesuffix(".__init__")


FILES = list(package_files())
MODULES = {module_name(path): path for path in FILES if path.suffix == ".py"}
PUBLIC = [name for name in MODULES if not any(part.startswith("_") for part in name.split("."))]
#: The root folders that are part of the package; all other packages lie in diagplan/ itself.
FOLDERS = ["adapters", "backends", "planner", "schemas"]


def run_python(code: str, cwd: Path) -> str:
    """What ``code`` prints in a fresh interpreter, away from the repository."""
    done = subprocess.run([sys.executable, "-W", "error", "-c", code], cwd=cwd, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_a_folder_of_the_same_name_beside_does_not_hide_it(tmp_path: Path) -> None:
    (tmp_path / "diagplan").mkdir()  # as a clone is called
    assert run_python("import diagplan; print(diagplan.compile_plan.__name__)", tmp_path) == "compile_plan"


def test_packages_are_the_folders_on_disk() -> None:
    assert sorted({".".join(path.parent.parts) for path in FILES if path.suffix == ".py"}) == sorted(PACKAGES)


def test_every_package_has_an_init() -> None:
    assert {name for name, path in MODULES.items() if path.name == "__init__.py"} == set(PACKAGES)


def test_links_are_relative_and_resolve() -> None:
    links = {path.name: path for path in (ROOT / "diagplan").iterdir() if path.is_symlink()}
    assert sorted(links) == FOLDERS
    for name, link in links.items():
        assert link.readlink() == Path("..", name)
        assert link.resolve() == ROOT / name
        assert (ROOT / name).is_dir()


def test_version_is_stated_once() -> None:
    assert diagplan.__version__ == importlib.metadata.version("diagplan")
    assert "version" in PYPROJECT["project"]["dynamic"]


def test_a_plain_install_needs_no_extra() -> None:
    names = {re.split(r"[^\w-]", line)[0] for line in PYPROJECT["project"]["dependencies"]}
    assert names == {"networkx", "numpy", "pydantic", "rich", "typer"}
    extras = [name for name in PYPROJECT["project"]["optional-dependencies"] if name not in ("all", "dev")]
    assert PYPROJECT["project"]["optional-dependencies"]["all"] == [f"diagplan[{','.join(extras)}]"]


def test_sdist_and_wheel_hold_every_file(tmp_path: Path) -> None:
    # A copy: setuptools takes leftovers of build/ and *.egg-info into what it builds.
    source, built, unpacked = tmp_path / "source", tmp_path / "built", tmp_path / "unpacked"
    skip = shutil.ignore_patterns("__pycache__")
    for name in ("diagplan", *FOLDERS):
        shutil.copytree(ROOT / name, source / name, symlinks=True, ignore=skip)
    for name in ("pyproject.toml", "MANIFEST.in", "LICENSE", "README.md"):
        if (ROOT / name).exists():
            shutil.copy2(ROOT / name, source / name)

    command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(built), str(source)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr

    expected = {path.as_posix() for path in FILES}
    (wheel,) = built.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(unpacked)
        assert {name for name in archive.namelist() if ".dist-info/" not in name} == expected
        assert any(name.endswith(".dist-info/licenses/LICENSE") for name in archive.namelist())
    (sdist,) = built.glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        members = {name.partition("/")[2] for name in archive.getnames() if archive.getmember(name).isfile()}
        assert not [member for member in archive.getmembers() if member.issym()]
    assert {name for name in members if name.startswith("diagplan/")} == expected
    assert "LICENSE" in members

    planner = run_python(
        f"import sys; sys.path.insert(0, {str(unpacked)!r}); import diagplan.planner; print(diagplan.planner.__file__)",
        cwd=tmp_path,
    )
    assert Path(planner) == unpacked / "diagplan" / "planner" / "__init__.py"


PLANNER = [name for name in MODULES if name.startswith("diagplan.planner")]
#: These load what they need where they use it: no extra; the command line is slow enough with typer and rich.
LAZY = [name for name in MODULES if re.match(r"diagplan\.(games|video|evaluation|study|cli)\b", name)]


def test_games_videos_and_commands_load_no_extra(tmp_path: Path) -> None:
    code = f"""
import importlib, sys
for name in {LAZY!r}:
    importlib.import_module(name)
print(*sorted({EXTRAS!r} & {{name.partition(".")[0] for name in sys.modules}}))
"""
    assert run_python(code, cwd=tmp_path) == ""


@pytest.mark.parametrize("names", [["diagplan"], PLANNER], ids=["diagplan", "planner"])
def test_import_is_light(names: list[str], tmp_path: Path) -> None:
    code = f"""
import importlib, sys
for name in {names!r}:
    importlib.import_module(name)
print(*sorted({HEAVY!r} & {{name.partition(".")[0] for name in sys.modules}}))
"""
    loaded = run_python(code, cwd=tmp_path)
    assert loaded == "", f"importing {names[0]} loads {loaded}"


def load(name: str) -> Any:
    """The module, or a skip where it needs an extra that is not installed."""
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] in EXTRAS:
            pytest.skip(f"needs {error.name}")
        raise


@pytest.mark.parametrize("name", PUBLIC)
def test_public_surface(name: str) -> None:
    module = load(name)
    assert (module.__doc__ or "").strip(), f"{name} has no docstring"
    assert isinstance(module.__all__, list)
    assert len(set(module.__all__)) == len(module.__all__)
    for public in module.__all__:
        value = getattr(module, public)
        if inspect.isclass(value) or inspect.isroutine(value):
            doc = (value.__doc__ or "").strip()
            assert doc, f"{name}.{public} has no docstring"
            assert not doc.startswith(f"{public}("), f"{name}.{public} has only the docstring that dataclass wrote"


def test_names_that_are_loaded_when_asked_for_are_those_that_type_checkers_see() -> None:
    tree = ast.parse(Path(diagplan.__file__).read_text(encoding="utf-8"))
    seen = {
        node.module: tuple(alias.name for alias in node.names)
        for block in tree.body
        if isinstance(block, ast.If)
        for node in block.body
        if isinstance(node, ast.ImportFrom)
    }
    assert seen == diagplan._PLACES
    assert sorted([*(name for names in seen.values() for name in names), "__version__"]) == sorted(diagplan.__all__)
    assert set(diagplan.__all__) <= set(dir(diagplan))
    with pytest.raises(AttributeError, match="module 'diagplan' has no attribute 'nothing'"):
        diagplan.nothing  # type: ignore[attr-defined]  # noqa: B018


def test_the_package_itself_loads_nothing(tmp_path: Path) -> None:
    """Until the command line has said what Ctrl-C means: ``tests/test_main.py``."""
    code = "import sys, diagplan; print([name for name in sys.modules if name[:9] in ('diagplan.', 'numpy')])"
    assert run_python(code, cwd=tmp_path) == "[]"


def test_linter_sees_every_file_once() -> None:
    command = [sys.executable, "-m", "ruff", "check", "--show-files"]
    shown = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    python = [Path(line).relative_to(ROOT) for line in shown.stdout.splitlines() if line.endswith(".py")]
    folders = ("diagplan", *FOLDERS, "tests", "bench")
    expected = [path.relative_to(ROOT) for folder in folders for path in real_files(folder)]
    assert len({(ROOT / path).resolve() for path in python}) == len(python)
    assert set(expected) <= set(python)


def real_files(folder: str) -> Iterator[Path]:
    """The Python files of one root folder; the links are not followed."""
    for place, _, names in os.walk(ROOT / folder):
        yield from (Path(place, name) for name in names if name.endswith(".py"))


@pytest.mark.parametrize("name", ["planner.compiler.compile_plan", "schemas.files.read_plan", "worlds.plans.plan_for"])
def test_modules_of_public_names_are_there_without_an_import_of_their_own(name: str) -> None:
    code = f"import diagplan; print(diagplan.{name}.__name__)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == name.rsplit(".", 1)[1]
