"""Backends: what loads a model for a runtime, one record each, found by its name.

A third party registers one by an entry point of the group ``diagplan.backends``; CONTRIBUTING.md says how.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from diagplan.adapters.contract import Model
from diagplan.adapters.options import LoadOptions
from diagplan.adapters.plugins import Table
from diagplan.backends.memory import Sizes

__all__ = ["BACKENDS", "Backend", "backend_named", "options_for"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Backend:
    """A runtime, as far as loading goes; replay itself asks a model for its ``runtime``.

    Attributes:
        name: by which it is asked for.
        title: one line for people.
        load: a model of a family by its name, from weights; it has passed the self-test of masks.
        sizes: what the same arguments would load, from headers, for estimates of memory; ``None``: not known before
            loading.
        exported: whether it runs exported models, whose family, sizes and dtype were chosen at export.
        packages: names of optional modules that it needs, for commands that say at once what is missing.
        claims: whether a folder is such a model by its files, which no other backend can run.
    """

    name: str
    title: str
    load: Callable[[str, str | Path, LoadOptions], Model]
    sizes: Callable[[str, str | Path, LoadOptions], Sizes | None]
    exported: bool = False
    packages: tuple[str, ...] = ()
    claims: Callable[[Path], bool] = lambda _: False


#: Every backend by name.
BACKENDS = Table(
    kind="backend",
    option="backend",
    record=Backend,
    group="diagplan.backends",
    built_in={
        "torch": "diagplan.backends.torch_backend:BACKEND",
        "onnx": "diagplan.backends.onnx_backend:BACKEND",
    },
)


def backend_named(name: str) -> Backend:
    """The record of a backend.

    Raises:
        SpecError: no such backend; the message lists those that there are.

    >>> backend_named("onnx").title
    'ONNX Runtime, models of `diagplan export-onnx`'
    """
    return BACKENDS.get(name)


def options_for(files: str | Path, options: LoadOptions) -> LoadOptions:
    """The options as the files ask for them: the folder of an exported model names the backend that runs it.

    Args:
        files: weights, or a world model's folder.
        options: whose backend gives way where it runs no exported models.
    """
    if backend_named(options.backend).exported:
        return options
    claiming = (record.name for record in BACKENDS.records() if record.exported and record.claims(Path(files)))
    name = next(claiming, None)
    return options if name is None else options.replaced(backend=name)
