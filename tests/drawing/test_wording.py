"""Plans in words."""

from dataclasses import replace

import numpy as np
import pytest

from diagplan.drawing.readout import StepFeeds, read_out, step_feeds
from diagplan.drawing.wording import (
    difference_words,
    feeds_words,
    given_words,
    profile_words,
    query_words,
    schedule_words,
    slot_words,
)
from diagplan.planner.compare import Difference, compare_plans
from diagplan.planner.compiler import compile_plan
from diagplan.planner.layout import Layout
from diagplan.planner.schedule import Diagonal, Imported, NextToken, Schedule, ZipAR
from tests.support.pictured import SMALL

LAYOUT = Layout(frames=2, rows=3, cols=4, prompt_frames=1, lead=2, between_frames=3, between_rows=1)


@pytest.mark.parametrize(
    ("schedule", "words"),
    [
        (NextToken(), "next-token decoding"),
        (Diagonal(k=2), "diagonal decoding, k=2, frames in sequence"),
        (Diagonal(k=2, d=5), "diagonal decoding, k=2 d=5"),
        (Diagonal(k=9, d=5), "diagonal decoding, k=9 (4 in force) d=5"),
        (ZipAR(window=2), "ZipAR, window=2"),
        (ZipAR(window=3, variant="llamagen"), "ZipAR as released for LlamaGen, window=3"),
        (Imported(steps=np.arange(24).reshape(2, 3, 4), label="by hand"), "order by hand"),
        (Imported(steps=np.arange(24).reshape(2, 3, 4), label="x" * 50), f"order {'x' * 37}..."),
    ],
    ids=str,
)
def test_a_schedule_with_its_delays(schedule: Schedule, words: str) -> None:
    assert schedule_words(compile_plan(LAYOUT, schedule)) == words


@pytest.mark.parametrize(
    ("layout", "words"),
    [
        (LAYOUT, "2 leading tokens, 1 prompt frame, 3 tokens between frames, 1 token between rows"),
        (Layout(frames=1, rows=2, cols=2, lead=1, between_rows=2), "1 leading token, 2 tokens between rows"),
        (Layout(frames=1, rows=1, cols=2, lead=1, between_rows=2, between_frames=5), "1 leading token"),
        (Layout(frames=3, rows=1, cols=2, prompt_frames=2), "2 prompt frames"),
    ],
)
def test_what_is_given(layout: Layout, words: str) -> None:
    assert given_words(layout) == words


def test_every_slot_has_its_own_name() -> None:
    names = [slot_words(LAYOUT, slot) for slot in range(LAYOUT.positions)]
    assert len(set(names)) == len(names)
    cells = LAYOUT.cell_slots(prompt=True)
    for (frame, row, col), slot in np.ndenumerate(cells):
        name = "prompt frame 0" if frame == 0 else f"frame {frame - 1}"
        assert names[slot] == f"{name} row {row} col {col}"
    given = set(range(LAYOUT.positions)) - set(cells.ravel().tolist())
    assert all(names[slot] == f"given {slot}" for slot in given)
    for outside in (-1, LAYOUT.positions):
        assert slot_words(LAYOUT, outside) == f"slot {outside} (outside)"


def feeds(*kinds: str) -> StepFeeds:
    none = np.zeros(len(kinds), dtype=np.int32)
    return StepFeeds(first=0, source=none, position=none, slot=none, target=none, kinds=kinds)  # type: ignore[arg-type]


def test_feeds_are_counted_by_kind() -> None:
    assert feeds_words(feeds()) == "none"
    assert feeds_words(feeds("given", "predictor", "given", "padding")) == "1 predictor, 2 given, 1 padding"
    assert feeds_words(feeds("proxy", "proxy", "predictor", "predictor", "late")) == "2 predictors, 2 proxies, 1 late"


def test_what_a_query_predicts() -> None:
    step = 9
    found = step_feeds(read_out(SMALL), step)
    (proxy,) = found.which("proxy").tolist()
    words = query_words(SMALL.layout, found, proxy)
    source, position = (slot_words(SMALL.layout, int(column[proxy])) for column in (found.source, found.position))
    assert words.startswith(f"Feed {proxy} of the step, at {position}, with the token of {source}, predicts frame ")
    silent = replace(found, target=np.full_like(found.target, -1))
    assert query_words(SMALL.layout, silent, proxy).endswith(", predicts nothing")
    assert query_words(SMALL.layout, found, None) == "The step has no query."


def test_a_profile_says_what_it_leaves_out() -> None:
    plan = compile_plan(Layout(frames=1, rows=2, cols=4, lead=3), Diagonal(k=1), pad=(4,))
    readout = read_out(plan)
    words = profile_words(readout)
    assert "; the prompt's 2 not counted" in words
    assert words.endswith(f"; {readout.padding} padding feeds not counted")
    assert profile_words(replace(readout, widths=readout.widths[:0])).endswith("the plan has no steps")


def test_each_kind_of_difference_is_named() -> None:
    a, b = (compile_plan(Layout(frames=1, rows=2, cols=4, lead=1), Diagonal(k=k)) for k in (1, 2))
    words = [difference_words(one, a, b) for one in compare_plans(a, b).feeds]
    assert "frame 0 row 1 col 0: step 1 in a, 2 in b" in words
    cell = int(a.layout.cell_slots()[0, 1, 0])
    said = {
        what: difference_words(Difference(position=cell - 1, target=cell, what=what, a=3, b=seen), a, b)
        for what, seen in (("only a", -1), ("only b", 5), ("source", 4), ("slot", 5), ("mask", 3))
    }
    assert said["only a"] == "frame 0 row 1 col 0: only a, in step 3"
    assert said["only b"] == "frame 0 row 1 col 0: only b, in step 5"
    assert said["source"] == "frame 0 row 1 col 0: fed frame 0 row 0 col 2 in a, frame 0 row 0 col 3 in b"
    assert said["slot"] == "frame 0 row 1 col 0: cache slot 3 in a, 5 in b"
    assert said["mask"] == "frame 0 row 1 col 0: sees 3 positions in a, 3 in b, not the same ones"
    late = Difference(position=2, target=-1, what="step", a=1, b=2)
    assert difference_words(late, a, b) == "the feed of frame 0 row 0 col 1 alone: step 1 in a, 2 in b"
