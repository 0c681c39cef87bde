"""The queue: who passes with whom, who waits for company, what goes back, who is watched."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from diagplan.batch.messages import Told
from diagplan.serve.board import Board
from diagplan.serve.spool import StoredJob


def stored(number: int, layout: str = "x", **more: Any) -> StoredJob:
    return StoredJob(id=f"j{number}", number=number, accepted=0.0, request="r", entry={}, layout=layout, **more)


def board(*layouts: str) -> Board:
    made = Board()
    for layout in layouts:
        made.add(stored(made.number(), layout))
    return made


def taken(made: Board, size: int, wait: float = 0.0) -> list[str]:
    return [entry.stored.id for entry in made.take(size, wait)[0]]


def test_jobs_of_one_layout_pass_together_the_oldest_first() -> None:
    made = board("x", "y", "x", "x", "y")
    assert [made.place(f"j{i}") for i in range(1, 6)] == [1, 2, 3, 4, 5]
    assert taken(made, 2) == ["j1", "j3"]
    assert [made.place(f"j{i}") for i in range(1, 6)] == [None, 1, None, 2, 3]
    assert (taken(made, 9), taken(made, 9), taken(made, 9)) == (["j2", "j5"], ["j4"], [])
    assert (made.queued, made.running) == (0, 5)


@given(st.lists(st.sampled_from("xyz"), max_size=12), st.integers(1, 4))
def test_every_job_is_taken_once_and_the_oldest_is_always_among_them(layouts: list[str], size: int) -> None:
    made, left, order = board(*layouts), set(range(1, len(layouts) + 1)), list[int]()
    while left:
        numbers = [int(name[1:]) for name in taken(made, size)]
        assert numbers[0] == min(left)
        assert len({layouts[number - 1] for number in numbers}) == 1
        left -= set(numbers)
        order += numbers
    assert sorted(order) == list(range(1, len(layouts) + 1))
    assert made.take(size, 0.0) == ([], None)


def test_a_job_waits_for_company_so_long() -> None:
    made = board("x")
    group, left = made.take(2, 5.0)
    assert group == []
    assert left is not None
    assert 4.0 < left <= 5.0
    made.add(stored(9, "x"))
    assert taken(made, 2, 5.0) == ["j1", "j9"]  # enough of them need not wait
    before = Board([stored(1)])
    assert taken(before, 2, 5.0) == ["j1"]  # left by an earlier service: it has waited


def test_what_nobody_does_any_more_goes_back_to_the_head() -> None:
    made = board("x", "x", "x")
    taken(made, 2)
    entry = made.get("j1")
    assert entry is not None
    made.cancel(entry)
    made.back()
    assert made.running == 0
    assert taken(made, 9) == ["j2", "j3"]


def test_cancelled_ended_forgotten() -> None:
    made = board("x", "x", "x")
    taken(made, 1)
    entries = [made.get(f"j{i}") for i in (1, 2, 3)]
    first, second, third = entries
    assert first is not None
    assert second is not None
    assert third is not None
    assert made.cancel(second)
    assert not made.cancel(second)
    assert made.place("j3") == 1
    assert made.cancel(first)
    assert made.busy(first)
    assert not made.busy(second)
    assert made.states() == {"queued": 1, "running": 1, "done": 0, "wrong": 0, "cancelled": 2}
    assert made.old(0, None) == [second]  # a worker still has the other one
    assert made.settle("j1") is first
    assert made.old(0, None) == [second]  # its end is being written
    assert made.busy(first)
    made.release(first)
    assert made.settle("j1") is None
    assert made.old(0, None) == [second, first]
    made.forget(first)
    assert made.get("j1") is None
    assert made.old(1, None) == []
    assert made.old(1, before=1e12) == [second]


def test_watchers_hear_of_their_job() -> None:
    made = board("x", "x")
    heard: list[str] = []
    for name in ("j1", "j2"):
        entry = made.get(name)
        assert entry is not None
        entry.watchers.add(lambda name=name: heard.append(name))  # type: ignore[misc]
    taken(made, 1)
    assert heard == ["j1", "j2"]  # the second has moved up
    made.told(Told(id="j1", passes=3, of=9, frames=2))
    made.told(Told(id="j1", passes=1, of=9, frames=0))  # begun anew
    made.told(Told(id="none", passes=1, of=9, frames=0))
    assert heard == ["j1", "j2", "j1", "j1"]
    entry = made.get("j1")
    assert entry is not None
    assert (entry.passes, entry.of, entry.shown) == (1, 9, 2)


def test_what_was_there_before() -> None:
    jobs = [stored(1, state="done", ended=5.0, frames=3), stored(4), stored(2, state="wrong", ended=2.0)]
    made = Board(jobs)
    assert made.number() == 5
    assert [entry.stored.id for entry in made.old(0, None)] == ["j2", "j1"]
    assert made.states() == {"queued": 1, "running": 0, "done": 1, "wrong": 1, "cancelled": 0}
    done = made.get("j1")
    assert done is not None
    assert done.shown == 3
    tokens_only = Board(jobs, pictures=False).get("j1")
    assert tokens_only is not None
    assert tokens_only.shown == 0
