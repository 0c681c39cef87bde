"""The demonstration: pictures side by side, the table, the files; on the shipped model and on frames made by hand."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("av")
pytest.importorskip("PIL")
pytest.importorskip("skimage")

from diagplan.games.clips import Clip
from diagplan.study import demonstration
from diagplan.study.demonstration import (
    WAYS,
    Outcome,
    as_rows,
    demonstrate,
    save_demonstration,
    side_by_side,
)
from diagplan.video.files import read_video
from diagplan.worlds.generation import Generated

HEIGHT, WIDTH = 48, 64


def flat(level: int, frames: int = 3) -> Any:
    return np.full((frames, HEIGHT, WIDTH, 3), level, np.uint8)


def outcome(plan: str, passes: int) -> Outcome:
    return Outcome(
        plan=plan, passes=passes, tokens_a_pass=4.5, seconds=1.234, frames_per_second=2.5,
        speedup_passes=3.0, speedup_time=1.5, psnr=20.04, ssim=0.9, same_as_ntp=0.123,
    )  # fmt: skip


@pytest.mark.parametrize("at", [None, 0, 2])
def test_three_ways_stand_in_a_row_under_what_is_played(at: int | None) -> None:
    ways = {str(number): flat(40 * number) + np.arange(3, dtype=np.uint8)[:, None, None, None] for number in range(6)}
    page = side_by_side(ways, {name: f"way {name}" for name in ways}, at, "do", flat(250)[0])
    height, width = 2 * HEIGHT, 2 * WIDTH
    assert page.shape == (32 + 2 * (28 + height), 3 * width, 3)
    for number in range(6):
        row, col = divmod(number, 3)
        top = 32 + row * (28 + height) + 28
        picture = page[top : top + height, col * width : (col + 1) * width]
        assert set(picture.ravel().tolist()) == {250 if at is None else 40 * number + at}


def test_the_table_is_rounded_for_people() -> None:
    columns, cells = as_rows([outcome("k=2", 196)])
    assert len(columns) == len(cells[0])
    assert cells == [["k=2", 196, "1.23", "2.5", "3.00", "1.50", "20.0", "0.900", "12.3%"]]


def test_the_files_of_a_demonstration(tmp_path: Path) -> None:
    clip = Clip(frames=flat(5, 4), actions=("noop", "do", "noop"), moved=(None, None, None))
    table = [outcome("next-token", 20), outcome("k=2", 8)]
    made = {
        row.plan: Generated(flat(90), tokens=np.zeros((3, 2, 2), np.int64), seconds=1.0, tokenizer_seconds=0, passes=1)
        for row in table
    }  # fmt: skip
    written = save_demonstration(tmp_path, clip, table, made, flat(20), flat(5)[0])
    assert [path.name for path in written] == ["side-by-side.mp4", "side-by-side.gif", "sheet.png", "table.json"]
    assert len(read_video(written[0])) == 1 + 3 + 2  # the prompt, the frames, the last for a while
    assert json.loads(written[3].read_text())["plans"] == [asdict(row) for row in table]


def test_every_plan_is_run_and_compared_with_the_first(monkeypatch: pytest.MonkeyPatch) -> None:
    """A world that generates grey frames, one level brighter a pass less; the clock of every second run is slow."""
    seconds = iter([1.0] * len(WAYS) + [9.0] * len(WAYS) + [3.0] * len(WAYS))
    runs: list[int] = []

    class Small:
        context_frames, height, width, model = 4, HEIGHT, WIDTH, None

    def compiled(_world: Any, frames: int, schedule: Any) -> Any:
        from diagplan import Layout, compile_plan

        return compile_plan(Layout(frames=frames, rows=4, cols=6, prompt_frames=1), schedule)

    def generated(plan: Any, _world: Any, prompt: Any, _blocks: Any, *, speculation: Any) -> Generated:
        assert prompt.shape == (1, HEIGHT, WIDTH, 3)
        passes = plan.steps if speculation is None else 9
        runs.append(passes)
        tokens = np.full((3, 4, 6), plan.steps == 72)
        return Generated(flat(100), tokens.astype(np.int64), next(seconds), tokenizer_seconds=0, passes=passes)

    monkeypatch.setattr(demonstration, "compile_for", compiled)
    monkeypatch.setattr(demonstration, "generate", generated)
    monkeypatch.setattr(demonstration, "prompt_tokens", lambda *_: None)
    monkeypatch.setattr(demonstration, "settled_speculation", lambda choice, *_: choice)
    clip = Clip(frames=flat(110, 9), actions=("noop",) * 8, moved=(None,) * 8)
    count: list[None] = []
    small: Any = Small()
    table, made, truth = demonstrate(small, clip, np.zeros((8, 1), np.int64), on_run=lambda: count.append(None))
    assert len(count) == 3 * len(WAYS) == len(runs)
    assert runs[:6] == runs[6:12] == runs[12:]  # in turn
    assert truth.shape == (3, HEIGHT, WIDTH, 3)
    assert list(made) == [row.plan for row in table] == list(WAYS)
    first = table[0]
    assert (first.passes, first.seconds, first.speedup_passes, first.speedup_time) == (72, 3.0, 1, 1)  # the median
    assert first.frames_per_second == 1
    assert (first.tokens_a_pass, table[1].tokens_a_pass) == (1, 8)
    assert [row.same_as_ntp for row in table] == [1, 1, 0, 0, 0, 0]
    assert first.psnr == pytest.approx(20 * np.log10(25.5))
    assert [row.speedup_passes for row in table] == [72 / row.passes for row in table]
