"""Records of third parties: a package that is really installed, used from the command line and from Python."""

import os
import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from diagplan.adapters.families import FAMILIES, Family, family_named
from diagplan.adapters.plugins import Table, resolve
from diagplan.backends.table import BACKENDS, backend_named
from diagplan.planner.errors import DiagplanError, SpecError

ROOT = Path(__file__).resolve().parents[2]
PLUGIN = ROOT / "tests" / "support" / "toy-plugin"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that the plugin is installed into."""
    folder = tmp_path_factory.mktemp("site")
    source = folder / "source"  # a copy: a build leaves files behind
    for path in PLUGIN.rglob("*"):
        if path.is_file() and "__pycache__" not in path.parts:
            target = source / path.relative_to(PLUGIN)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(path.read_bytes())
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation", "--no-index"]
    done = subprocess.run(
        [*command, "--target", str(folder / "site"), str(source)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return folder / "site"


def run(site: Path, *arguments: object, code: str | None = None) -> subprocess.CompletedProcess[str]:
    """A process that has the plugin: the command line, or some code."""
    env = os.environ | {"PYTHONPATH": os.pathsep.join([str(site), str(ROOT)]), "OMP_NUM_THREADS": "1"}
    what = ["-m", "diagplan", *map(str, arguments)] if code is None else ["-c", code]
    return subprocess.run([sys.executable, *what], env=env, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def files(site: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Weights, a plan and given ids."""
    pytest.importorskip("torch")
    from safetensors.torch import save_file

    from diagplan import Diagonal, Layout, compile_plan, write_plan
    from diagplan.examples.image_model import IMAGE_IDS, ImageModel

    folder = tmp_path_factory.mktemp("files")
    layout = Layout(frames=1, rows=4, cols=4, lead=3, between_rows=1)
    save_file(ImageModel.random(positions=layout.positions).weights, folder / "toy.safetensors")
    write_plan(compile_plan(layout, Diagonal(k=2)), folder / "plan.json")
    np.save(folder / "given.npy", np.array([50, 51, 52, IMAGE_IDS, IMAGE_IDS, IMAGE_IDS]))
    return folder


def replayed(site: Path, files: Path, name: str, *options: object) -> np.ndarray:
    out = files / f"{name}.npy"
    done = run(site, "run", files / "plan.json", "--given", files / "given.npy", "-o", out, *options)
    assert done.returncode == 0, done.stderr
    tokens: np.ndarray = np.load(out)
    return tokens


def test_a_family_of_a_third_party_runs_from_the_command_line(site: Path, files: Path) -> None:
    from diagplan import Diagonal, Layout, compile_plan, replay
    from diagplan.examples.image_model import ImageModel

    layout = Layout(frames=1, rows=4, cols=4, lead=3, between_rows=1)
    model = ImageModel.random(positions=layout.positions)
    expected = replay(compile_plan(layout, Diagonal(k=2)), model, given=np.load(files / "given.npy"))
    weights = ("--adapter", "toy", "--weights", files / "toy.safetensors")
    np.testing.assert_array_equal(replayed(site, files, "torch", *weights), expected)
    np.testing.assert_array_equal(replayed(site, files, "own", *weights, "--backend", "toy-eager"), expected)


@pytest.mark.slow
@pytest.mark.skipif(not (find_spec("onnxruntime") and find_spec("onnxscript")), reason="needs the extra onnx")
def test_a_family_of_a_third_party_is_exported_and_loaded_back(site: Path, files: Path) -> None:
    export = files / "exported"
    done = run(site, "export-onnx", "--adapter", "toy", "--weights", files / "toy.safetensors", "-o", export)
    assert done.returncode == 0, done.stderr
    torch = replayed(site, files, "a", "--adapter", "toy", "--weights", files / "toy.safetensors")
    onnx = replayed(site, files, "b", "--adapter", "toy", "--weights", export, "--backend", "onnx")
    np.testing.assert_array_equal(onnx, torch)
    # What was exported replays where the plugin is not installed: the file says all that is needed.
    alone = run(files, "run", files / "plan.json", "--given", files / "given.npy", "-o", files / "c.npy", "--adapter",
                "toy", "--weights", export, "--backend", "onnx")  # fmt: skip
    assert alone.returncode == 0, alone.stderr
    np.testing.assert_array_equal(np.load(files / "c.npy"), torch)


def test_help_names_what_third_parties_add(site: Path) -> None:
    shown = run(site, "run", "--help").stdout
    assert "toy-eager" in shown
    assert "toy" in shown.replace("toy-eager", "")


def test_an_unknown_name_lists_what_there_is(site: Path, files: Path) -> None:
    done = run(
        site,
        "run",
        files / "plan.json",
        "--given",
        files / "given.npy",
        "--adapter",
        "llama",
        "--weights",
        "w",
        "-o",
        "o.npy",
    )
    assert done.returncode == 2
    assert re.search(r"expected adapter to be one of mc-ar, cosmos, wham, .*, toy, got adapter='llama'", done.stderr)
    with pytest.raises(SpecError, match="expected adapter to be one of mc-ar, cosmos, wham"):
        family_named("llama")
    with pytest.raises(SpecError, match="expected backend to be one of torch, onnx"):
        backend_named("tensorrt")


def test_the_recipe_counts_hold() -> None:
    """A family is at most three new files and one line, a backend two and one."""
    files = sorted(path.name for path in (PLUGIN / "src" / "toy_plugin").glob("*.py"))
    assert files == ["__init__.py", "backend.py", "family.py", "model.py"]
    lines = (PLUGIN / "pyproject.toml").read_text().splitlines()
    assert sum(line.startswith(("toy =", "toy-eager =")) for line in lines) == 2


@pytest.mark.parametrize(("table", "kind"), [(FAMILIES, "Family"), (BACKENDS, "Backend")])
def test_every_built_in_record_is_found_by_its_name(table: "Table[object]", kind: str) -> None:
    for name in table.built_in:
        record = table.get(name)
        assert type(record).__name__ == kind
        assert getattr(record, "name", None) == name


@pytest.mark.parametrize(
    ("reference", "message"),
    [
        ("diagplan.no_such_module:FAMILY", "expected the model family 'odd' at diagplan.no_such_module:FAMILY"),
        ("diagplan.adapters.mc_ar_family:NOTHING", "got an error: AttributeError: module"),
        ("raises_when_imported:FAMILY", "got an error: RuntimeError: no such driver"),
        ("diagplan.adapters.wham_family:FAMILY", "expected a Family named 'odd'"),
        ("diagplan.adapters.families:Family", "expected a Family named 'odd'"),
    ],
)
def test_a_broken_record_is_one_clear_error(
    reference: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "raises_when_imported.py").write_text('raise RuntimeError("no such driver")\n')
    monkeypatch.syspath_prepend(tmp_path)
    table: Table[Family] = Table(
        kind="model family", option="adapter", record=Family, group="diagplan.none", built_in={"odd": reference}
    )
    with pytest.raises(DiagplanError, match=message):
        table.get("odd")


def test_a_reference_names_a_module_and_an_attribute() -> None:
    assert resolve("diagplan.adapters.families:Family") is Family
