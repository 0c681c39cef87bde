"""One class of a large library by its own module, without what its packages import besides.

diffusers' packages of models import every model that there is when one of them is asked for: some seconds, SciPy and
much of transformers among them, before a replay that takes two. While the module is imported, empty packages stand in
for those, so that what the module itself needs is found in their folders, and nothing else is run.
"""

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

__all__ = ["class_of_module"]


def class_of_module(module: str, name: str, *, packages: Sequence[str]) -> Any:
    """A class of a module, of whose packages only the module itself is imported.

    Where a package was imported before, or the module does not bear it, everything is imported as usual.

    Args:
        module: ``"diffusers.models.autoencoders.vq_model"``.
        name: of the class.
        packages: whose own ``__init__`` is left out, outer ones first.

    Raises:
        ImportError: there is no such module, or no such class in it.
    """
    import_module(module.partition(".")[0])
    if not any(package in sys.modules for package in packages):
        with suppress(Exception), _empty(packages):
            return getattr(import_module(module), name)
    try:
        return getattr(import_module(module), name)
    except AttributeError as error:
        raise ImportError(str(error)) from None


@contextmanager
def _empty(packages: Sequence[str]) -> Iterator[None]:
    """Empty packages at the places of these; then they are gone, and whoever asks next imports the real ones."""
    added: list[str] = []
    try:
        for package in packages:
            parent = package.rpartition(".")[0]
            places = import_module(parent).__path__  # the outermost one, which is no part of them, is imported
            stand_in = ModuleType(package)
            stand_in.__path__ = [str(Path(place, package.rpartition(".")[2])) for place in places]
            sys.modules[package] = stand_in
            added.append(package)
        yield
    finally:
        for package in added:
            stand_in = sys.modules.pop(package)
            parent, _, name = package.rpartition(".")
            if vars(sys.modules.get(parent, stand_in)).get(name) is stand_in:
                delattr(sys.modules[parent], name)
