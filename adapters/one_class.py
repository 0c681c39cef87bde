"""One class of a large library by its own module, without what its packages import besides.

diffusers' packages of models import every model that there is when one of them is asked for, and its modules import
torch's compiler and transformers where they are installed, though they do without: some seconds, before a replay that
takes two. Here the module is imported apart: empty packages stand in for those, what is optional is hidden, and
afterwards the library is forgotten, so that whoever imports it next gets the whole of it.
"""

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

__all__ = ["class_of_module"]


def class_of_module(module: str, name: str, *, packages: Sequence[str], hidden: Sequence[str] = ()) -> Any:
    """A class of a module, of whose packages only the module itself is imported.

    Where the library was imported before, or the module does not bear it, everything is imported as usual.

    Args:
        module: ``"diffusers.models.autoencoders.vq_model"``.
        name: of the class.
        packages: whose own ``__init__`` is left out, outer ones first.
        hidden: modules of other libraries that the module does without.

    Raises:
        ImportError: there is no such module, or no such class in it.
    """
    library = module.partition(".")[0]
    if library not in sys.modules:
        with suppress(Exception), _apart(library, packages, hidden):
            return getattr(import_module(module), name)
    import_module(library)
    try:
        return getattr(import_module(module), name)
    except AttributeError as error:
        raise ImportError(str(error)) from None


@contextmanager
def _apart(library: str, packages: Sequence[str], hidden: Sequence[str]) -> Iterator[None]:
    """Import with empty packages at the places of these and without what is hidden; then forget the library."""
    modules: dict[str, ModuleType | None] = sys.modules  # type: ignore[assignment]  # None: not to be imported
    concealed = [name for name in hidden if name not in modules]
    try:
        modules.update(dict.fromkeys(concealed))
        for package in packages:
            parent, _, name = package.rpartition(".")
            stand_in = ModuleType(package)
            stand_in.__path__ = [str(Path(place, name)) for place in import_module(parent).__path__]
            modules[package] = stand_in
        yield
    finally:
        for name in [*concealed, *(name for name in modules if name.partition(".")[0] == library)]:
            modules.pop(name, None)
