"""Optional libraries: each is one of its extra's, and what is missing is named at once."""

import re
import subprocess
import sys

import pytest

from diagplan.planner.errors import MissingExtraError
from diagplan.planner.extras import PACKAGES, missing_packages, require_packages
from tests.packaging.test_packaging import PYPROJECT, ROOT

NAMES = {"torch": "torch", "yaml": "pyyaml", "skimage": "scikit-image", "PIL": "pillow", "z3": "z3-solver"}


@pytest.mark.parametrize("module", PACKAGES)
def test_every_extra_brings_its_libraries(module: str) -> None:
    for extra in PACKAGES[module].extras:
        brought = " ".join(PYPROJECT["project"]["optional-dependencies"][extra])
        assert re.search(rf"(^| ){NAMES.get(module, module)}[>=-]", brought), (module, extra)


@pytest.mark.parametrize(
    ("modules", "listed", "extras"),
    [
        (["av"], "av for videos, got none. Install it", "video"),
        (["torch", "av"], "PyTorch and av for videos, got none. Install them", "torch,video"),
        (["onnx", "PIL", "av"], "onnx, pillow and av for videos, got none. Install them", "onnx,video"),
        (["PIL"], "pillow for videos, got none. Install it", "pictures"),
        (["PIL", "matplotlib"], "pillow and matplotlib for videos, got none. Install them", "pictures,train"),
        (["safetensors", "onnx"], "safetensors and onnx for videos, got none. Install them", "onnx"),
    ],
)
def test_all_that_is_missing_and_the_fewest_extras_that_bring_it(modules: list[str], listed: str, extras: str) -> None:
    message = f"expected {listed}: pip install 'diagplan[{extras}]'; "
    message += f"in a clone of the repository: pip install -e '.[{extras}]'."
    assert str(missing_packages("videos", modules)) == message
    assert str(missing_packages("videos", modules, instead="Or wait.")) == f"{message} Or wait."
    assert ", got half of it. Install" in str(missing_packages("videos", modules, got="half of it"))


def test_what_is_there_is_not_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    require_packages("nothing")
    require_packages("a third party's", "no_such_module_of_any_extra")
    monkeypatch.setitem(sys.modules, "av", None)
    monkeypatch.setitem(sys.modules, "torch", sys)
    with pytest.raises(MissingExtraError, match=r"^expected av for videos"):
        require_packages("videos", "torch", "av", "av")


def test_asking_imports_nothing() -> None:
    code = (
        "import sys; from diagplan.planner.extras import PACKAGES, require_packages\n"
        "try:\n    require_packages('all', *PACKAGES)\nexcept ValueError:\n    pass\n"
        "print(sorted(set(PACKAGES) & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
