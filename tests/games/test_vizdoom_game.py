"""ViZDoom: an engine that ends, and leaves nothing behind."""

from pathlib import Path

import pytest

pytest.importorskip("av")

from diagplan.planner.errors import SpecError
from tests.support.games import game_or_skip


def test_vizdoom_ends_and_leaves_no_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    game = game_or_skip("vizdoom")
    try:
        game.reset(0)
        steps = [game.step("noop") for _ in range(540)]  # the scenario ends after 2,100 tics
    finally:
        game.close()
    first = next(number for number, step in enumerate(steps) if step.over)
    assert 500 < first < 530
    assert all(step.over for step in steps[first:])
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(SpecError, match="Call reset first"):
        game.step("noop")
