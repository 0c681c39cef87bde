"""One class of a package by its own module: what else the package imports comes when it is asked for."""

import subprocess
import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import pytest

from diagplan.adapters.one_class import class_of_module

PACKAGES = ("large.models", "large.models.kinds")


@pytest.fixture
def large(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A library whose packages import what is slow."""
    files = {
        "large/__init__.py": "",
        "large/models/__init__.py": "from large.models.kinds import Wanted\nimport large.slow\n",
        "large/models/base.py": "class Base:\n    pass\n",
        "large/models/kinds/__init__.py": "from large.models.kinds.wanted import Wanted\nimport large.slow\n",
        "large/models/kinds/wanted.py": "from large.models.base import Base\nclass Wanted(Base):\n    pass\n",
        "large/models/kinds/spoilt.py": "import large.models\nlarge.models.Wanted\nclass Spoilt:\n    pass\n",
        "large/slow.py": "",
    }
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    monkeypatch.syspath_prepend(str(tmp_path))
    yield tmp_path
    for name in [name for name in sys.modules if name.partition(".")[0] == "large"]:
        del sys.modules[name]


def test_what_is_slow_is_left_out(large: Path) -> None:
    found = class_of_module("large.models.kinds.wanted", "Wanted", packages=PACKAGES)
    assert found.__name__ == "Wanted"
    assert "large.slow" not in sys.modules
    assert not any(module.partition(".")[0] == "large" for module in sys.modules)
    assert import_module("large.models").Wanted is not found
    assert "large.slow" in sys.modules


def test_what_is_hidden_is_not_imported_and_found_again(large: Path) -> None:
    (large / "dear.py").write_text("")
    (large / "large/models/base.py").write_text(
        "try:\n    import dear\nexcept ImportError:\n    dear = None\nclass Base:\n    dear = dear\n"
    )
    wanted = ("large.models.kinds.wanted", "Wanted")
    assert class_of_module(*wanted, packages=PACKAGES, hidden=["dear"]).dear is None
    dear = import_module("dear")
    assert import_module("large.models").Wanted.dear is dear
    for name in [name for name in sys.modules if name.partition(".")[0] == "large"]:
        del sys.modules[name]
    assert class_of_module(*wanted, packages=PACKAGES, hidden=["dear"]).dear is dear  # it costs nothing any more
    del sys.modules["dear"]


def test_a_module_that_needs_what_is_hidden_gets_it(large: Path) -> None:
    (large / "dear.py").write_text("")
    (large / "large/models/base.py").write_text("import dear\nclass Base:\n    pass\n")
    found = class_of_module("large.models.kinds.wanted", "Wanted", packages=PACKAGES, hidden=["dear"])
    assert found is import_module("large.models").Wanted
    del sys.modules["dear"]


def test_a_package_that_is_there_is_used(large: Path) -> None:
    models = import_module("large.models")
    before = dict(sys.modules)
    found = class_of_module("large.models.kinds.wanted", "Wanted", packages=PACKAGES)
    assert found is models.Wanted
    assert all(sys.modules[package] is before[package] for package in PACKAGES)


def test_a_module_that_needs_its_packages_gets_them(large: Path) -> None:
    assert class_of_module("large.models.kinds.spoilt", "Spoilt", packages=PACKAGES).__name__ == "Spoilt"
    assert "large.slow" in sys.modules


def test_what_there_is_not(large: Path) -> None:
    for module, name in (("large.models.kinds.nothing", "X"), ("large.models.kinds.wanted", "X"), ("nowhere.x", "X")):
        with pytest.raises(ImportError):
            class_of_module(module, name, packages=PACKAGES)


def test_the_image_tokenizer_brings_neither_scipy_nor_every_model(tmp_path: Path) -> None:
    for needed in ("torch", "diffusers"):
        pytest.importorskip(needed)
    code = (
        "import sys; from diagplan.adapters.image_tokenizer import load_image_tokenizer, vq_class;"
        "from diagplan.worlds.loading import SHIPPED; load_image_tokenizer(SHIPPED['crafter-mini'] / 'tokenizer');"
        "print(*sorted({'scipy', 'transformers', 'torch._dynamo', 'diffusers'} & set(sys.modules)));"
        "from diffusers import VQModel; from diffusers.utils.torch_utils import maybe_allow_in_graph as real;"
        "print(VQModel.__module__ == vq_class().__module__, real.__module__, vq_class() is vq_class())"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout == "\nTrue torch._dynamo.decorators True\n"
