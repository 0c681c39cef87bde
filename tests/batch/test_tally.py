"""Counts, a rate and an estimate."""

from typing import Any

import pytest

from diagplan.batch.messages import Outcome
from diagplan.batch.tally import Tally


def outcome(state: Any, number: int = 1) -> Outcome:
    return Outcome(number=number, id="a", state=state, frames=4, tokens=100, passes=2.5)


def test_rate_and_estimate_look_back_a_minute(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    monkeypatch.setattr("time.perf_counter", lambda: now)
    tally = Tally(2)
    first = tally.progress(0.0, 1)
    assert (first.clips_per_second, first.seconds_left) == (0.0, None)
    for second in range(1, 11):
        now = 100.0 + second
        tally.add(0, [outcome("done"), outcome("there")], 0.5)
        tally.progress(second / 100, 2)
    progress = tally.progress(0.1, 2)
    assert (progress.done, progress.there, progress.wrong, progress.workers) == (10, 10, 0, 2)
    assert progress.clips_per_second == pytest.approx(2.0)
    assert progress.seconds_left == pytest.approx(90.0)


def test_the_summary_adds_up(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0
    monkeypatch.setattr("time.perf_counter", lambda: now)
    tally = Tally(2, began=now)
    now = 2.0
    tally.open()
    tally.add(0, [outcome("done")], 1.0)
    tally.add(1, [outcome("done"), outcome("wrong"), outcome("done")], 3.0)
    now = 6.0
    document = tally.summary(stopped=False).document()
    assert (document["clips"], document["errors"], document["frames"], document["tokens"]) == (3, 1, 12, 300)
    assert (document["seconds"], document["opening_seconds"], document["frames_per_second"]) == (6.0, 2.0, 3.0)
    assert [one["clips"] for one in document["workers"]] == [1, 2]
    assert document["workers"][1]["frames_per_second"] == pytest.approx(8 / 3, abs=1e-3)


def test_marks_do_not_grow() -> None:
    tally = Tally(1)
    for number in range(1000):
        tally._marks.append((float(number), 0.0, 0))
    assert len(tally._marks) == 60
