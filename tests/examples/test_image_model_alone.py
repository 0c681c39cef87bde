"""The worked example of docs/adapters.md runs where the repository is not: in an empty folder, from the package."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.pages import DOCS, ROOT, blocks, shows

pytest.importorskip("torch")


def test_the_example_runs_outside_the_repository(tmp_path: Path) -> None:
    """Only the package is on the path: a name that stands beside it in the repository cannot be imported."""
    site, folder = tmp_path / "site", tmp_path / "empty"
    site.mkdir()
    folder.mkdir()
    (site / "diagplan").symlink_to(ROOT / "diagplan", target_is_directory=True)
    example, printed = blocks(DOCS / "adapters.md")[:2]
    assert (example.kind, printed.kind) == ("python", "text")
    checked = (
        "import importlib.util, pathlib, diagplan\n"
        "assert importlib.util.find_spec('bench') is None and importlib.util.find_spec('planner') is None\n"
        f"assert pathlib.Path(diagplan.__file__).is_relative_to({str(site)!r})\n{example.text}"
    )
    env = os.environ | {"PYTHONPATH": str(site), "OMP_NUM_THREADS": "1", "PYTHONSAFEPATH": "1"}
    done = subprocess.run([sys.executable, "-c", checked], cwd=folder, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert shows(printed.text, done.stdout)
    assert not list(folder.iterdir())
