"""What a driver and its workers say to each other; plain data."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol, runtime_checkable

from diagplan.batch.jobs import Job

__all__ = ["Failed", "Finished", "Lost", "Opening", "Outcome", "Ready", "Reply", "TellingWork", "Told", "Work"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Opening:
    """The first message to a worker.

    Attributes:
        opener: ``module:function``, which gets recipe and folder and returns a ``Work``.
        recipe: what is done with every job, as the opener takes it: of a batch a ``diagplan.batch.recipe.Recipe``.
        out: the folder of what is made.
    """

    opener: str
    recipe: Any
    out: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Ready:
    """The model is loaded, and the plan laid out.

    Attributes:
        identity: what decides about the tokens of all clips; the same of all workers of a batch.
    """

    identity: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What became of a job.

    Attributes:
        number, id: of the job.
        state: ``"done"`` now; ``"there"``: it was finished before; ``"wrong"``: it cannot be done.
        message: why it cannot.
        kind: the name of the error's class, where it is known.
        frames: generated, of pixels.
        tokens: generated.
        passes: of the transformer, shared by all clips of a batch: its part of them.
    """

    number: int
    id: str
    state: Literal["done", "there", "wrong"]
    message: str = ""
    frames: int = 0
    tokens: int = 0
    passes: float = 0.0
    kind: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finished:
    """What became of the jobs that a worker was given.

    Attributes:
        outcomes: one for each.
        seconds: that they took.
    """

    outcomes: tuple[Outcome, ...]
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Failed:
    """No worker could go on: files of the model, options, a full disk.

    Attributes:
        kind: the name of the error's class.
        message: of the error.
    """

    kind: str
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Lost:
    """A worker is gone, and another may take its place.

    Attributes:
        reason: as far as it is known.
    """

    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """How far a job is that a worker has in hand; not its last word.

    Attributes:
        id: of the job.
        passes: of the transformer so far.
        of: passes in all; 0: nobody knows.
        frames: of pixels that are there.
    """

    id: str
    passes: int
    of: int
    frames: int


#: What a worker answers.
Reply = Ready | Finished | Failed | Lost | Told


class Work(Protocol):
    """What a worker does; ``diagplan.batch.clips`` has the one for world models."""

    @property
    def identity(self) -> Mapping[str, Any]:
        """As of ``Ready``."""
        ...

    def do(self, jobs: Sequence[Job]) -> list[Outcome]:
        """Do jobs, and write what comes out.

        Raises:
            DiagplanError: no job can be done.
        """
        ...


@runtime_checkable
class TellingWork(Protocol):
    """Work that tells how far it is."""

    def tell_by(self, tell: Callable[[Told], None]) -> None:
        """From now on say by this function how far jobs are; what it raises ends the work."""
        ...
