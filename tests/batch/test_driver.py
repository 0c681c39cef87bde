"""The driver: every job is settled once, whatever becomes of workers; it holds no more jobs than are in hand."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from diagplan.backends.errors import CapacityError, MismatchError
from diagplan.batch.driver import drive, error_of
from diagplan.batch.jobs import Job, JobSource, Later, WrongJob
from diagplan.batch.messages import Failed, Finished, Lost, Outcome, Ready, Reply, Told
from diagplan.batch.tally import Tally
from diagplan.planner.errors import DiagplanError, DocumentError

READY = Ready(identity={"model": 1})


class FakePool:
    """Workers that are lost as ``losses`` says: at each answer the next of them; then none is."""

    def __init__(self, losses: Sequence[bool] = (), poison: Sequence[str] = ()) -> None:
        self.due: list[tuple[int, Any]] = []
        self.losses, self.poison = list(losses), set(poison)
        self.done: set[str] = set()
        self.starts = Counter[int]()
        self.most = 0

    def start(self, number: int) -> None:
        self.starts[number] += 1
        self.due.append((number, None))

    def send(self, number: int, message: Sequence[Job]) -> None:
        self.due.append((number, message))
        self.most = max(self.most, sum(len(jobs or ()) for _, jobs in self.due))

    def wait(self, _: float) -> list[tuple[int, Reply]]:
        number, jobs = self.due.pop(0)
        if jobs is None:
            return [(number, READY)]
        lost = self.losses.pop(0) if self.losses else False
        outcomes = []
        for job in jobs:
            if job.id in self.poison:
                return [(number, Lost(reason="ended by signal 11"))]
            state: Any = "wrong" if job.text else "there" if job.id in self.done else "done"
            outcomes.append(Outcome(number=job.number, id=job.id, state=state, message=job.text or ""))
            self.done |= {job.id} if state == "done" else set()
            if lost:
                return [(number, Lost(reason="ended by signal 9"))]
        return [(number, Finished(outcomes=tuple(outcomes), seconds=0.1))]

    def close(self) -> None:
        pass


def source_of(*jobs: Job | WrongJob) -> JobSource:
    return JobSource((job, number / len(jobs)) for number, job in enumerate(jobs, 1))


def numbered(count: int, **texts: str) -> list[Job]:
    return [Job(number=i, id=f"j{i}", video=Path("v"), text=texts.get(f"j{i}")) for i in range(count)]


def driven(
    pool: FakePool, source: JobSource, count: int = 2, size: int = 3, **more: Any
) -> tuple[Tally, list[Outcome], bool]:
    tally, wrong = Tally(count), list[Outcome]()
    asked: dict[str, Any] = {"max_errors": None, "on_ready": lambda _: None, "on_pulse": lambda _: None, **more}
    return tally, wrong, drive(pool, source, tally, size=size, on_wrong=wrong.append, **asked)


@given(
    jobs=st.integers(0, 25),
    count=st.integers(1, 4),
    size=st.integers(1, 5),
    losses=st.lists(st.booleans(), max_size=12),
    poisoned=st.sets(st.integers(0, 24), max_size=2),
)
def test_every_job_is_settled_once(jobs: int, count: int, size: int, losses: list[bool], poisoned: set[int]) -> None:
    pool = FakePool(losses, [f"j{i}" for i in poisoned])
    tally, wrong, stopped = driven(pool, source_of(*numbered(jobs)), count, size)
    assert not stopped
    assert tally.there == 0  # what a lost worker had finished is counted as made
    assert tally.done + tally.wrong == jobs
    told = Counter(one.id for one in wrong)
    assert max(told.values(), default=0) <= 1
    assert {f"j{i}" for i in poisoned if i < jobs} <= set(told)
    assert all("lost over it" in one.message for one in wrong)
    if len([loss for loss in losses if loss]) < 2:  # a job is called wrong after three losses
        assert set(told) == {f"j{i}" for i in poisoned if i < jobs}


def test_a_source_may_wait_for_a_job_that_is_in_hand() -> None:
    done: list[str] = []
    asked = 0

    def waiting() -> Any:
        nonlocal asked
        first, *others = numbered(5)
        yield first, 0.2
        while not done:
            asked += 1
            yield Later(), 0.2
        assert done == ["j0"]
        for job in others:
            yield job, 1.0

    tally, wrong, stopped = driven(
        FakePool([True]), JobSource(waiting()), 3, 2, on_done=lambda outcome: done.append(outcome.id)
    )
    assert (tally.done, wrong, stopped) == (5, [], False)
    assert sorted(done) == [f"j{i}" for i in range(5)]
    assert asked >= 2  # when it was given out, and when its worker was lost


def test_errors_are_of_their_kind() -> None:
    assert type(error_of("MismatchError", "m")) is MismatchError
    assert (type(error_of("", "m")), str(error_of("", "m"))) == (DiagplanError, "m")
    pool = FakePool(poison=["j0"])
    _, wrong, _ = driven(pool, source_of(*numbered(1)))
    assert [one.kind for one in wrong] == ["CapacityError"]


def test_it_holds_only_what_is_in_hand() -> None:
    read = 0

    def endless() -> Any:
        nonlocal read
        for job in numbered(1000):
            read += 1
            yield job, read / 1000
            assert read - tally.settled <= 2 * 3 + 1

    pool, tally = FakePool(), Tally(2)
    drive(
        pool, JobSource(endless()), tally, size=3, max_errors=None, on_ready=lambda _: None, on_wrong=lambda _: None,
        on_pulse=lambda _: None,
    )  # fmt: skip
    assert tally.done == 1000
    assert pool.most <= 6


def test_what_is_no_job_and_what_comes_twice_is_told() -> None:
    twice = numbered(2)
    jobs: list[Job | WrongJob] = [twice[0], WrongJob(number=7, message="m"), twice[0], twice[1]]
    tally, wrong, _ = driven(FakePool(), source_of(*jobs), 1, 9)
    assert tally.done == 2
    assert [(one.number, one.message[:25]) for one in wrong] == [(7, "m"), (0, "expected ids that differ,")]


def test_too_many_errors_stop_early() -> None:
    pool = FakePool()
    jobs = numbered(30, j1="bad", j4="bad", j6="bad")
    tally, wrong, stopped = driven(pool, source_of(*jobs), 1, 1, max_errors=1)
    assert stopped
    assert [one.id for one in wrong] == ["j1", "j4"]
    assert tally.done == 3
    _, _, stopped = driven(FakePool(), source_of(*jobs), 1, 1, max_errors=3)
    assert not stopped


@pytest.mark.parametrize(
    ("kind", "error"), [("DocumentError", DocumentError), ("CapacityError", CapacityError), ("Other", DiagplanError)]
)
def test_what_no_worker_gets_over_ends_it(kind: str, error: type[DiagplanError]) -> None:
    class Full(FakePool):
        def wait(self, _: float) -> list[tuple[int, Reply]]:
            number, jobs = self.due.pop(0)
            return [(number, READY if jobs is None else Failed(kind=kind, message="The disk is full."))]

    with pytest.raises(error, match="The disk is full") as caught:
        driven(Full(), source_of(*numbered(4)))
    assert type(caught.value) is error


def test_workers_that_do_not_live_to_load_the_model() -> None:
    class Dying(FakePool):
        def wait(self, _: float) -> list[tuple[int, Reply]]:
            number, _ = self.due.pop(0)
            return [(number, Lost(reason="ended by signal 9"))]

    pool = Dying()
    with pytest.raises(CapacityError, match=r"expected workers that load the model, got 3 in a row .* signal 9"):
        driven(pool, source_of(*numbered(4)))
    assert sum(pool.starts.values()) == 4


def test_an_identity_can_be_refused() -> None:
    def refuse(identity: Any) -> None:
        raise MismatchError(f"another model: {identity}")

    with pytest.raises(MismatchError, match="another model"):
        driven(FakePool(), source_of(*numbered(4)), on_ready=refuse)


def test_later_ends_a_unit_and_is_asked_again() -> None:
    first, second, third = numbered(3)
    entries: list[Job | WrongJob | Later] = [first, second, Later(), Later(), third]
    sent: list[list[str]] = []

    class Idle(FakePool):
        def send(self, number: int, message: Sequence[Job]) -> None:
            sent.append([job.id for job in message])
            super().send(number, message)

        def wait(self, seconds: float) -> list[tuple[int, Reply]]:
            return super().wait(seconds) if self.due else []

    tally, wrong, _ = driven(Idle(), JobSource((entry, 0.0) for entry in entries), 1, 9)
    assert sent == [["j0", "j1"], ["j2"]]
    assert (tally.done, wrong) == (3, [])


def test_how_far_a_job_is_is_passed_on() -> None:
    told = Told(id="j0", passes=1, of=2, frames=0)

    class Telling(FakePool):
        def wait(self, seconds: float) -> list[tuple[int, Reply]]:
            answers = super().wait(seconds)
            return [(0, told), *answers] if isinstance(answers[0][1], Finished) else answers

    heard: list[Told] = []
    assert driven(Telling(), source_of(*numbered(1)), 1, on_told=heard.append)[0].done == 1
    assert heard == [told]
    assert driven(Telling(), source_of(*numbered(1)), 1)[0].done == 1  # where nobody listens
