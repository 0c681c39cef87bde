"""The driver: it gives jobs to workers, replaces those that are lost, and gives their jobs out again.

It holds the jobs that are in hand and no others, however many there are.
"""

from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from diagplan.backends.errors import CapacityError, MismatchError, NumericError
from diagplan.batch.jobs import Job, JobSource, Later, WrongJob
from diagplan.batch.messages import Failed, Finished, Lost, Outcome, Ready, Reply, Told
from diagplan.batch.tally import Tally
from diagplan.planner import errors
from diagplan.planner.errors import DiagplanError

__all__ = ["Pool", "drive", "error_of"]

#: Times that a worker may be lost over one job before the job is called wrong.
_PATIENCE = 3
#: Workers in a row that may be lost while they load: before any was ready, and after.
_FALSE_STARTS = 3, 12
#: Seconds between two looks at what else there is to do.
_PULSE = 0.5
_KINDS: Mapping[str, type[DiagplanError]] = {
    **{name: getattr(errors, name) for name in errors.__all__},
    **{kind.__name__: kind for kind in (CapacityError, MismatchError, NumericError)},
}


def error_of(kind: str, message: str) -> DiagplanError:
    """The error that a worker told of.

    Args:
        kind: the name of its class; one that is not known is ``DiagplanError``.
        message: its text.
    """
    return _KINDS.get(kind, DiagplanError)(message)


class Pool(Protocol):
    """Workers, wherever they are: ``diagplan.batch.processes`` or ``diagplan.batch.ray_actors``."""

    def start(self, number: int) -> None:
        """Start a worker, also in the place of one that is lost, and open it."""
        ...

    def send(self, number: int, message: Sequence[Job]) -> None:
        """Give a worker jobs; it has none."""
        ...

    def wait(self, seconds: float) -> list[tuple[int, Reply]]:
        """Answers that have come, waiting so long for the first of them."""
        ...

    def close(self) -> None:
        """End all workers."""
        ...


@dataclass(slots=True)
class _Unit:
    """Jobs that go to one worker together."""

    jobs: list[Job]
    losses: int = 0


def drive(
    pool: Pool,
    source: JobSource,
    tally: Tally,
    *,
    size: int,
    max_errors: int | None,
    on_ready: Callable[[Mapping[str, Any]], None],
    on_wrong: Callable[[Outcome], None],
    on_pulse: Callable[[int], None],
    on_done: Callable[[Outcome], None] = lambda _: None,
    on_told: Callable[[Told], None] | None = None,
) -> bool:
    """Have all jobs done.

    Args:
        pool: of as many workers as ``tally`` counts.
        source: of the jobs; where it says ``Later``, it is asked again after an answer, and twice a second.
        tally: counts what is done.
        size: jobs that a worker is given together.
        max_errors: wrong jobs after which no more are given out.
        on_ready: called with the identity that each worker tells; it may refuse it by an error.
        on_wrong: called with each job that cannot be done.
        on_pulse: called with the number of workers that are ready, after answers and twice a second.
        on_done: called with each other job that is settled.
        on_told: called with how far a job is.

    Returns:
        whether it was stopped by ``max_errors``.

    Raises:
        DiagplanError: what no worker can get over; or workers that do not stay alive.
    """
    driver = _Driver(pool, source, tally, size, max_errors, on_wrong, on_done)
    for number in range(tally.count):
        pool.start(number)
    while True:
        driver.give()
        if not driver.in_hand and (driver.stopped or (driver.empty and not driver.again)):
            on_pulse(len(driver.ready))
            return driver.stopped
        for number, reply in pool.wait(_PULSE):
            if isinstance(reply, Ready):
                on_ready(reply.identity)
            if not isinstance(reply, Told):
                driver.hear(number, reply)
            elif on_told is not None:
                on_told(reply)
        on_pulse(len(driver.ready))


class _Driver:
    def __init__(
        self,
        pool: Pool,
        source: JobSource,
        tally: Tally,
        size: int,
        max_errors: int | None,
        on_wrong: Callable[[Outcome], None],
        on_done: Callable[[Outcome], None],
    ) -> None:
        self.pool, self.tally, self.size, self.max_errors = pool, tally, size, max_errors
        self.on_wrong, self.on_done = on_wrong, on_done
        self.jobs: Iterator[Job | WrongJob | Later] = iter(source)
        self.again: deque[_Unit] = deque()
        self.in_hand: dict[int, _Unit] = {}
        self.ready: set[int] = set()
        self.false_starts, self.opened = 0, False
        self.empty = False

    @property
    def stopped(self) -> bool:
        """Whether there are too many errors to go on."""
        return self.max_errors is not None and self.tally.wrong > self.max_errors

    def give(self) -> None:
        """Give jobs to every worker that is ready and has none."""
        for number in sorted(self.ready - self.in_hand.keys()):
            unit = None if self.stopped else self.again.popleft() if self.again else self._next()
            if unit is None:
                return
            self.in_hand[number] = unit
            self.pool.send(number, unit.jobs)

    def hear(self, number: int, reply: Reply) -> None:
        """Act on what a worker answered."""
        match reply:
            case Ready():
                self.ready.add(number)
                self.false_starts, self.opened = 0, True
            case Finished(outcomes=outcomes, seconds=seconds):
                unit = self.in_hand.pop(number)
                if unit.losses:  # what a lost worker had finished is this batch's own
                    outcomes = tuple(_as_done(one) for one in outcomes)
                self._settle(number, outcomes, seconds)
            case Failed(kind=kind, message=message):
                raise error_of(kind, message)
            case Lost(reason=reason):
                self._lost(number, reason)

    def _lost(self, number: int, reason: str) -> None:
        unit = self.in_hand.pop(number, None)
        self.tally.workers[number].losses += 1
        if number not in self.ready:
            self.false_starts += 1
            if self.false_starts >= _FALSE_STARTS[self.opened]:
                raise CapacityError(
                    f"expected workers that load the model, got {self.false_starts} in a row that were lost: {reason}. "
                    "Too little memory is the usual cause. Take fewer workers, or dtype bfloat16."
                )
        self.ready.discard(number)
        if unit is not None:
            self._again(number, unit, reason)
        self.pool.start(number)

    def _again(self, number: int, unit: _Unit, reason: str) -> None:
        """Nobody knows which of the jobs it was: each is given out alone, and called wrong after some losses."""
        losses = unit.losses + 1
        if len(unit.jobs) > 1:
            self.again.extend(_Unit([job], 1) for job in unit.jobs)
        elif losses < _PATIENCE:
            self.again.append(_Unit(unit.jobs, losses))
        else:
            message = f"expected a worker to live through this job, got {losses} that were lost over it: {reason}."
            job = unit.jobs[0]
            lost = Outcome(number=job.number, id=job.id, state="wrong", message=message, kind="CapacityError")
            self._settle(number, [lost], 0.0)

    def _settle(self, number: int, outcomes: Sequence[Outcome], seconds: float) -> None:
        self.tally.add(number, outcomes, seconds)
        for outcome in outcomes:
            (self.on_wrong if outcome.state == "wrong" else self.on_done)(outcome)

    def _next(self) -> _Unit | None:
        """The next jobs of the source; ``None``: there are no more, or none yet."""
        jobs: list[Job] = []
        names = {job.id for unit in (*self.in_hand.values(), *self.again) for job in unit.jobs}
        while len(jobs) < self.size and not self.empty and not self.stopped:
            entry = next(self.jobs, None)
            if entry is None:
                self.empty = True
            elif isinstance(entry, Later):
                break
            elif isinstance(entry, WrongJob):
                self._settle(0, [Outcome(number=entry.number, id=entry.id, state="wrong", message=entry.message)], 0.0)
            elif entry.id in names:
                message = f"expected ids that differ, got a second id={entry.id!r}. Name each job for itself."
                self._settle(0, [Outcome(number=entry.number, id=entry.id, state="wrong", message=message)], 0.0)
            else:
                names.add(entry.id)
                jobs.append(entry)
        return _Unit(jobs) if jobs else None


def _as_done(outcome: Outcome) -> Outcome:
    if outcome.state != "there":
        return outcome
    return Outcome(number=outcome.number, id=outcome.id, state="done", frames=outcome.frames, tokens=outcome.tokens)
