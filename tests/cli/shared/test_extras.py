"""What is not installed is said at once, all of it, before a folder is made."""

import subprocess
import sys
from pathlib import Path

import pytest

from diagplan.cli.shared.extras import EXTRAS, require_extras
from diagplan.planner.errors import MissingExtraError
from tests.packaging.test_packaging import PYPROJECT, ROOT

HIDE = """
import importlib.machinery
real = importlib.machinery.PathFinder.find_spec
def find_spec(name, path=None, target=None):
    return None if name in {hidden!r} else real(name, path, target)
importlib.machinery.PathFinder.find_spec = staticmethod(find_spec)
from diagplan.cli import app
app({arguments!r})
"""


def without(hidden: set[str], *arguments: object) -> subprocess.CompletedProcess[str]:
    code = HIDE.format(hidden=hidden, arguments=[str(argument) for argument in arguments])
    return subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)


def test_every_extra_is_one_of_the_package() -> None:
    assert set(EXTRAS) <= set(PYPROJECT["project"]["optional-dependencies"])


def test_what_is_there_is_not_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    require_extras()
    monkeypatch.setattr("diagplan.cli.shared.extras.EXTRAS", {"a": ("json",), "b": ("no_such_module", "neither")})
    require_extras("a")
    with pytest.raises(MissingExtraError) as caught:
        require_extras("a", "b")
    assert str(caught.value) == (
        "expected the packages of the extra b, got no no_such_module, neither. Install them: "
        "pip install 'diagplan[b]', or in a clone pip install -e '.[b]'."
    )


@pytest.mark.parametrize(
    ("command", "wanted"),
    [
        (("demo",), "torch,video"),
        (("record",), "video"),
        (("evaluate", "study", "--clips", "x"), "torch,video"),
        (("train", "tokenizer", "--clips", "x"), "torch,video"),
        (("export-onnx", "--model", "crafter-mini"), "torch"),
    ],
)
def test_nothing_is_made_where_extras_are_missing(command: tuple[str, ...], wanted: str, tmp_path: Path) -> None:
    out = tmp_path / "out"
    done = without({"torch", "av"}, *command, "-o", out)
    assert done.returncode == 1, done.stderr
    assert f"pip install 'diagplan[{wanted}]', or in a clone pip install -e '.[{wanted}]'." in done.stderr
    assert done.stderr.count("\n") == 1
    assert not out.exists()
