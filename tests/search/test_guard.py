"""The guard of the searches: what it finds, with small limits, and that it goes on after each."""

import contextlib
import os
import time
from pathlib import Path
from random import Random

import numpy as np
import pytest

from diagplan.planner.errors import DocumentError
from tests.search.guard import Based, Different, Judge, Limits, Row, judge_one, search

SMALL = Limits(memory=64 << 20)
#: For what hangs: on a busy machine anything may take so long.
SHORT = Limits(seconds=0.2)


def fine(rng: Random, folder: Path) -> tuple[int, int]:
    (folder / "input").write_text(str(rng.random()))
    return 1, 1


def refused(rng: Random, folder: Path) -> tuple[int, int]:
    raise DocumentError("expected another file")


def different(rng: Random, folder: Path) -> tuple[int, int]:
    raise Different("another outcome")


def raising(rng: Random, folder: Path) -> tuple[int, int]:
    raise KeyError("a key")


def slow(rng: Random, folder: Path) -> tuple[int, int]:
    time.sleep(0.3)
    return 1, 1


def hanging(rng: Random, folder: Path) -> tuple[int, int]:
    while True:
        with contextlib.suppress(BaseException):
            time.sleep(10)


def greedy(rng: Random, folder: Path) -> tuple[int, int]:
    np.ones(12 << 20, np.float64)  # 96 MiB, given back at once
    return 1, 1


def insatiable(rng: Random, folder: Path) -> tuple[int, int]:
    np.ones(150 << 20, np.float64)  # 1.2 GB
    return 1, 1


def killing(rng: Random, folder: Path) -> tuple[int, int]:
    (folder / "left behind").write_text("")
    os.kill(os.getpid(), 9)
    return 1, 1


@pytest.mark.parametrize(
    ("judge", "limits", "fault", "text"),
    [
        (different, SMALL, "different", "another outcome"),
        (raising, SMALL, "crashed", "KeyError: 'a key'"),
        (slow, SHORT, "hung", " s"),
        (hanging, SHORT, "hung", "ended after 1 s"),
        (greedy, SMALL, "over_memory", " MiB"),
        (insatiable, SMALL, "over_memory", "MemoryError"),
        (killing, SMALL, "crashed", "the process ended with -9"),
    ],
)
def test_a_fault_is_found_and_the_search_goes_on(judge: Judge, limits: Limits, fault: str, text: str) -> None:
    row = search("kind", judge, 2, "seed", limits=limits)
    assert (row.inputs, row.clean, getattr(row, fault)) == (2, False, 2)
    assert [finding.fault for finding in row.findings] == [fault, fault]
    assert [finding.seed for finding in row.findings] == ["kind/seed/0", "kind/seed/1"]
    assert all(text in finding.text for finding in row.findings)


@pytest.mark.parametrize(("judge", "accepted"), [(fine, 1), (refused, 0)])
def test_what_is_no_fault(judge: Judge, accepted: int) -> None:
    row = search("kind", judge, 5, "seed", limits=SMALL)
    assert row.clean
    assert (row.inputs, row.accepted, row.findings) == (5, 5 * accepted, [])


def test_memory_is_of_one_input_alone() -> None:
    """What one input took neither hides what the next takes, nor is charged to it."""
    for judge, clean in ((greedy, False), (fine, True), (greedy, False)):
        assert judge_one("kind", judge, "seed", SMALL).clean is clean


def test_nothing_is_left_of_a_killed_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    search("kind", killing, 2, "seed", limits=SMALL)
    assert list(tmp_path.iterdir()) == []


def test_a_judge_is_prepared_before_its_inputs_are_timed() -> None:
    made: list[float] = []

    def prepare() -> None:
        if not made:
            time.sleep(0.3)
        made.append(time.perf_counter())

    row = search("kind", Based(prepare, fine), 3, "seed", limits=Limits(seconds=0.25))
    assert (row.clean, row.inputs, len(made)) == (True, 3, 1)


def multiplying(rng: Random, folder: Path) -> tuple[int, int]:
    import torch

    torch.ones(512, 512) @ torch.ones(512, 512)
    return 1, 1


def test_torch_computes_in_a_fork_of_a_process_whose_threads_it_has_started() -> None:
    torch = pytest.importorskip("torch")
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        multiplying(Random(), Path())
        assert search("kind", multiplying, 3, "seed", limits=Limits(seconds=2)).clean
    finally:
        torch.set_num_threads(before)


def test_rows_add_up() -> None:
    row = Row(kind="kind", inputs=2, accepted=1, slowest=0.5, peak=3, seconds=1.0)
    row.add(Row(kind="kind", inputs=1, hung=1, slowest=0.1, peak=7, seconds=2.0))
    assert (row.inputs, row.accepted, row.hung, row.slowest, row.peak, row.seconds) == (3, 1, 1, 0.5, 7, 3.0)
    assert row.as_json()["hung"] == 1
