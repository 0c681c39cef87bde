"""The files that a command is to write, looked at before it computes anything."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from diagplan.cli.shared.output import require_distinct
from diagplan.planner.errors import DocumentError
from diagplan.schemas.atomic import require_ending

__all__ = ["IDS", "PLANS", "STATE", "Output", "require_outputs"]

#: Endings of a file of token ids, of a plan and of a state; a name without an ending is as good.
IDS, PLANS, STATE = (".npy", ""), (".json", ".json.gz", ".json.zst", ""), (".safetensors", "")


class Output(NamedTuple):
    """What an option names to be written.

    Attributes:
        option: as it is typed.
        path: ``None``: the option was left out.
        endings: that the file's name may have, ``""`` for none at all; empty: a folder is written.
    """

    option: str
    path: Path | None
    endings: tuple[str, ...] = ()


def require_outputs(*outputs: Output, inputs: Mapping[str, Path | None] | None = None) -> None:
    """Refuse, before the work, what could not be written after it.

    A device or a pipe that is there takes anything.

    Args:
        outputs: what is written.
        inputs: option -> path that is read; none of them is written over.

    Raises:
        SpecError: another ending than the format's, or one file named twice.
        DocumentError: a folder that is missing or closed, a file where a folder is to be, or the reverse.
    """
    require_distinct({one.option: one.path for one in outputs}, inputs or {})
    for one in outputs:
        if one.path is not None and not _is_special(one.path):
            if one.endings:
                require_ending(one.option, one.path, one.endings)
            (_require_place if one.endings else _require_no_file)(one.option, one.path)


def _require_place(option: str, path: Path) -> None:
    if os.path.isdir(path):  # noqa: PTH112 - os.path answers False where pathlib raises
        raise DocumentError(f"expected {option} to name a file, got {path}, which is a folder. Add a file's name.")
    if not os.path.isdir(path.parent):  # noqa: PTH112
        raise DocumentError(f"expected {option} in a folder that is there, got {path}. Make the folder.")
    if not os.access(path.parent, os.W_OK | os.X_OK):
        raise DocumentError(
            f"expected {option} in a folder that may be written to, got {path}. Change its permissions, or give "
            "another place."
        )


def _require_no_file(option: str, path: Path) -> None:
    if os.path.isfile(path):  # noqa: PTH113
        raise DocumentError(f"expected {option} to name a folder, got {path}, which is a file. Give another name.")


def _is_special(path: Path) -> bool:
    return os.path.exists(path) and not os.path.isfile(path) and not os.path.isdir(path)  # noqa: PTH110, PTH112, PTH113
