"""The window by measurement: of a model whose passes cost what they are told to."""

import random
import time
from typing import Any

import pytest

pytest.importorskip("torch")

from diagplan import Layout, NextToken, SpecError, compile_plan
from diagplan.backends.measured import ACCEPTED, accepted, measured_speculation, settled_speculation
from diagplan.planner.speculation import Speculation
from tests.support.hash_model import HashModel

VIDEO = compile_plan(Layout(frames=3, rows=9, cols=12, prompt_frames=1, between_frames=2), NextToken())
IMAGE = compile_plan(Layout(frames=1, rows=16, cols=16, lead=1), NextToken())


class Costly(HashModel):
    """A pass takes so many milliseconds, and so many for each feed."""

    def __init__(self, fixed: float, each: float, disturbed: random.Random | None = None) -> None:
        self.fixed, self.each, self.disturbed = fixed, each, disturbed
        self.clock = 0.0

    def forward(self, ids: Any, *others: Any) -> Any:
        self.clock += 1e-3 * (self.fixed + self.each * ids.shape[1])
        if self.disturbed is not None and self.disturbed.random() < 0.4:
            self.clock += 1e-3 * self.disturbed.uniform(1, 20)
        return super().forward(ids, *others)


def measured(model: Costly, plan: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setattr(time, "process_time", lambda: model.clock)
    return measured_speculation(plan, model)


def test_where_feeds_are_free_the_widest_windows_are_best(monkeypatch: pytest.MonkeyPatch) -> None:
    """And 120 accepts but 2.5 % less than 128."""
    found = measured(Costly(5, 0), VIDEO, monkeypatch)
    assert found.speculation == Speculation(window=120, draft="previous-frame", adaptive=True)
    assert found.expected == pytest.approx(accepted(120))
    assert 0.97 * accepted(128) < accepted(120) < accepted(128)


def test_of_windows_that_are_as_good_the_narrowest_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    cost = 5.0, 0.23
    gain = {w: accepted(w) / (cost[0] + cost[1] * w) for w in range(8, 129, 8)}
    alike = [w for w in gain if gain[w] >= 0.97 * max(gain.values())]
    assert len(alike) > 1
    assert (
        measured(Costly(*cost), VIDEO, monkeypatch).speculation.window == min(alike) != max(gain, key=gain.__getitem__)
    )


def test_where_feeds_cost_windows_are_narrow(monkeypatch: pytest.MonkeyPatch) -> None:
    windows = [measured(Costly(5, each), VIDEO, monkeypatch).speculation.window for each in (0.02, 0.1, 0.5)]
    assert windows == sorted(windows, reverse=True)
    assert windows[-1] < 40
    found = measured(Costly(5, 0.5), VIDEO, monkeypatch)
    times = {w: accepted(w) / (5 + 0.5 * w) for w in range(8, 129, 8)}
    assert times[found.speculation.window] > 0.9 * max(times.values())
    assert measured(Costly(1, 100), VIDEO, monkeypatch).speculation.window == 8
    assert measured(Costly(5, 0.1), IMAGE, monkeypatch).speculation.draft == "above"


def test_a_busy_machine_hides_no_window(monkeypatch: pytest.MonkeyPatch) -> None:
    times = {w: accepted(w) / (2 + 0.2 * w) for w in range(8, 129, 8)}
    for seed in range(40):
        found = measured(Costly(2, 0.2, random.Random(seed)), VIDEO, monkeypatch)
        assert times[found.speculation.window] > 0.8 * max(times.values()), seed


def test_passes_of_a_large_model_are_few(monkeypatch: pytest.MonkeyPatch) -> None:
    model = Costly(130, 6)
    found = measured(model, VIDEO, monkeypatch)
    assert model.clock < 3.1 * sum(found.seconds.values())


def test_what_passes_accept_is_between_what_was_measured() -> None:
    assert accepted(1) == 1
    assert accepted(12) == (ACCEPTED[8] + ACCEPTED[16]) / 2
    assert accepted(10_000) == max(ACCEPTED.values())


def test_a_speculation_stays_as_it_is() -> None:
    model, asked = HashModel(), Speculation(window=3)
    assert settled_speculation(asked, VIDEO, model) is asked
    assert settled_speculation("auto", VIDEO, model).adaptive
    with pytest.raises(SpecError, match="expected speculation to be a Speculation or 'auto', got"):
        settled_speculation("wide", VIDEO, model)  # type: ignore[arg-type]
