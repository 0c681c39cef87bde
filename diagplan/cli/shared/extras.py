"""What a command needs that is optional, asked for before it does or writes anything."""

from pathlib import Path

from diagplan.adapters.options import LoadOptions
from diagplan.backends.table import backend_named, options_for
from diagplan.planner.extras import require_packages

__all__ = ["require_for"]


def require_for(purpose: str, files: str | Path, backend: str, *modules: str) -> None:
    """Say at once which libraries are missing of those of a backend and of others.

    Args:
        purpose: what they are needed for.
        files: weights or a world model's folder, which may name another backend: ``options_for``.
        backend: that is asked for.
        modules: the others, by the names that are imported.

    Raises:
        MissingExtraError: some are not installed.
        SpecError: no such backend.
    """
    runs = backend_named(options_for(files, LoadOptions(backend=backend)).backend)
    require_packages(purpose, *runs.packages, *modules)
