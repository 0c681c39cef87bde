"""``--tensor-parallel``: a command that torchrun starts once a rank, and that one of them speaks for."""

import functools
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from io import StringIO
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated, ParamSpec

import typer

from diagplan.adapters.devices import require_torch
from diagplan.cli.shared.models import MODEL, option
from diagplan.cli.shared.output import PROBLEM
from diagplan.planner.errors import DiagplanError, SpecError

if TYPE_CHECKING:
    from diagplan.adapters.parallel import ProcessRanks, Started

__all__ = ["TensorParallelOption", "for_all_ranks", "ranks_of_command", "unwritten"]

#: Seconds that a rank leaves to the one that speaks: the launcher ends all others when the first one ends.
_LEFT_TO_SPEAK = 5.0

TensorParallelOption = Annotated[
    bool,
    option(
        MODEL,
        "Spread the model over the processes of torchrun, a part on each; one of them writes. Left out: the model is "
        "whole in one process.",
        "--tensor-parallel",
    ),
]

P = ParamSpec("P")


def for_all_ranks(function: Callable[P, int | None]) -> Callable[P, int | None]:
    """Let the processes of torchrun run a command together where it has ``--tensor-parallel``.

    They meet first. Rank 0 prints, the others are silent; of an error the first that has one speaks, and the launcher
    ends the rest when that one ends. Stands below ``command``.
    """

    @functools.wraps(function)
    def run(*args: P.args, **kwargs: P.kwargs) -> int | None:
        if not kwargs.get("tensor_parallel"):
            return function(*args, **kwargs)
        require_torch()
        from diagplan.adapters.parallel import started_ranks

        with started_ranks() as started:
            try:
                ranks = started.meet(str(kwargs.get("device", "cpu")))
                with _heard(started):
                    code = function(*args, **kwargs)
                ranks.numbers(0)  # nobody leaves before rank 0 has written
            except (DiagplanError, MemoryError, OSError) as error:
                raise _said_once(started, error) from None
            return code

    return run


def ranks_of_command(tensor_parallel: bool, device: str) -> "tuple[ProcessRanks | None, str]":
    """The ranks that ``for_all_ranks`` has met, and this one's device; none of a command without the option."""
    if not tensor_parallel:
        return None, device
    from diagplan.adapters.parallel import met_ranks

    ranks = met_ranks()
    return ranks, ranks.device


@contextmanager
def unwritten(ranks: "ProcessRanks | None") -> Iterator[Path | None]:
    """A folder that goes again, for what ranks but the first would write; ``None`` where this one writes."""
    if ranks is None or not ranks.rank:
        yield None
        return
    with TemporaryDirectory(prefix="diagplan-rank-") as folder:
        yield Path(folder)


@contextmanager
def _heard(started: "Started") -> Iterator[None]:
    """What other ranks than the first print goes nowhere."""
    if not started.rank:
        yield
        return
    with redirect_stdout(StringIO()), redirect_stderr(StringIO()):
        yield


def _said_once(started: "Started", error: Exception) -> Exception:
    """The error as this rank says it; where another has spoken, an exit without words."""
    if not started.is_first_to_say():
        time.sleep(_LEFT_TO_SPEAK)
        return typer.Exit(PROBLEM)
    if not started.rank or not isinstance(error, DiagplanError):
        return error
    kind = SpecError if isinstance(error, SpecError) else DiagplanError
    return kind(f"rank {started.rank} of {started.world}: {error}")
