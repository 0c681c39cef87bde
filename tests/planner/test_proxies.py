"""Which token stands in for an unknown predecessor: small grids worked out by hand from the specification's table."""

import itertools
import re
from typing import Any

import pytest
from hypothesis import given

from diagplan.planner.compiler import compile_plan
from diagplan.planner.errors import SpecError
from diagplan.planner.layout import Layout
from diagplan.planner.plan import Plan
from diagplan.planner.policy import Policies
from diagplan.planner.schedule import Diagonal, Imported, NextToken, Schedule, ZipAR
from tests.support.strategies import PROXIES, Request, compiled, plans

Feed = tuple[int, int, int]


def proxies(plan: Plan) -> list[Feed]:
    """The feeds (source, position, target) whose source is not their position."""
    rows = zip(plan.source.tolist(), plan.position.tolist(), plan.target.tolist(), strict=True)
    return [(source, position, target) for source, position, target in rows if source not in (position, -1)]


def by_step(plan: Plan) -> list[list[Feed]]:
    """Every feed (source, position, target), step by step."""
    rows = list(zip(plan.source.tolist(), plan.position.tolist(), plan.target.tolist(), strict=True))
    offsets = plan.step_offsets.tolist()
    return [rows[first:last] for first, last in itertools.pairwise(offsets)]


# The supplement's grid: 3 x 3, tokens t1 to t9; one leading token makes t_i slot i.
NINE = Layout(frames=1, rows=3, cols=3, lead=1)


@pytest.mark.parametrize(
    ("k", "proxy", "expected"),
    [
        # t7 is predicted with token t4 at the position of t6 (the supplement).
        (1, "above", [(1, 3, 4), (4, 6, 7)]),
        (1, "latest", [(1, 3, 4), (4, 6, 7)]),
        (1, "previous-frame", [(1, 3, 4), (4, 6, 7)]),
        # Step 2: t6 is due then, t1 and t2 of the row above it are known, t2 is the newest.
        (1, "above-predecessor", [(1, 3, 4), (2, 6, 7)]),
        # k = 2: t4 comes in step 2, when t1 and t2 are known; t7 in step 4, when t4 and t5 are.
        (2, "above", [(1, 3, 4), (4, 6, 7)]),
        (2, "latest", [(2, 3, 4), (5, 6, 7)]),
        (2, "previous-frame", [(2, 3, 4), (5, 6, 7)]),
        (2, "above-predecessor", [(2, 3, 4), (3, 6, 7)]),
        (3, "above", []),
    ],
)
def test_supplement_grid(k: int, proxy: Any, expected: list[Feed]) -> None:
    assert proxies(compile_plan(NINE, Diagonal(k=k), Policies(proxy=proxy))) == expected


@pytest.mark.parametrize(
    ("schedule", "expected"),
    [
        # 4 x 4, window 2. Ideal: rows start in steps 0, 2, 4, 6, each with two tokens of the row above known.
        # Row 1: the predecessor lies in row 0, nothing above it: the newest of row 0, t2. Row 2 in step 4: row 0 is
        # complete, t4 its newest. Row 3 in step 6: row 1 is complete (t8 came in step 5).
        (ZipAR(window=2), [(2, 4, 5), (4, 8, 9), (8, 12, 13)]),
        # LlamaGen: row 0 alone, rows start in steps 0, 4, 6, 8: row 1 needs no proxy.
        (ZipAR(window=2, variant="llamagen"), [(4, 8, 9), (8, 12, 13)]),
        # Window 1: rows start in steps 0, 4, 5, 6. Row 2: t4 of row 0. Row 3: t5, t6 of row 1 are known, t6 is newest.
        (ZipAR(window=1, variant="llamagen"), [(4, 8, 9), (6, 12, 13)]),
        # A window of the whole width is next-token prediction.
        (ZipAR(window=4), []),
        (ZipAR(window=5, variant="llamagen"), []),
    ],
)
def test_zipar_windows(schedule: Schedule, expected: list[Feed]) -> None:
    plan = compile_plan(Layout(frames=1, rows=4, cols=4, lead=1), schedule, Policies(proxy="above-predecessor"))
    assert sorted(proxies(plan)) == expected


# One prompt frame 0 1 2 | 3 4 5, an action token 6, frame 0: 7 8 9 | 10 11 12, an action token 13, frame 1: 14 ... 19.
MINI_MINEWORLD = Layout(frames=2, rows=2, cols=3, prompt_frames=1, between_frames=1)
PREFILL: list[Feed] = [(slot, slot, -1) for slot in range(6)]


def test_mineworld_image_plan() -> None:
    policies = Policies(proxy="prompt", row_end="keep", proxy_kv="visible", visibility="causal")
    assert by_step(compile_plan(MINI_MINEWORLD, Diagonal(k=1), policies)) == [
        [*PREFILL, (6, 6, 7)],
        [(7, 7, 8), (2, 9, 10)],  # the cell of slot 9 in the prompt frame: row 0, column 2
        [(8, 8, 9), (10, 10, 11)],
        [(11, 11, 12)],  # 9 is known now, and never fed
        [(12, 12, -1), (13, 13, 14)],  # the last token of the frame and the action block in one pass
        [(14, 14, 15), (2, 16, 17)],
        [(15, 15, 16), (17, 17, 18)],
        [(18, 18, 19)],
    ]


def test_mineworld_video_plan() -> None:
    # Stacked rows, d = h k' = 2: the action token is fed while frame 0 is unfinished, its last token 12 never.
    policies = Policies(proxy="prompt", row_end="keep", proxy_kv="visible", visibility="causal")
    assert by_step(compile_plan(MINI_MINEWORLD, Diagonal(k=1, d=2), policies)) == [
        [*PREFILL, (6, 6, 7)],
        [(7, 7, 8), (2, 9, 10)],
        [(8, 8, 9), (10, 10, 11), (13, 13, 14)],
        [(11, 11, 12), (14, 14, 15), (2, 16, 17)],
        [(15, 15, 16), (17, 17, 18)],
        [(18, 18, 19)],
    ]


def test_refresh_plan() -> None:
    # In the step after a token was generated, it overwrites its proxy; a frame's last token is fed too. No step more.
    assert by_step(compile_plan(MINI_MINEWORLD, Diagonal(k=1, d=2), Policies(proxy="previous-frame"))) == [
        [*PREFILL, (6, 6, 7)],
        [(7, 7, 8), (2, 9, 10)],
        [(8, 8, 9), (10, 10, 11), (13, 13, 14)],
        [(9, 9, -1), (11, 11, 12), (14, 14, 15), (9, 16, 17)],  # 9 came in step 2: frame 0 stands in for frame 1
        [(12, 12, -1), (15, 15, 16), (17, 17, 18)],
        [(16, 16, -1), (18, 18, 19)],
    ]


# A prompt frame 0 1 | 2 3, then frames 4 5 | 6 7, 8 9 | 10 11, 12 13 | 14 15; k = 1, d = 1, nothing between.
# Steps: 4: 0, 5 6: 1, 7: 2; 8: 1, 9 10: 2, 11: 3; 12: 2, 13 14: 3, 15: 4. Slot 3 is given, so 4 needs no proxy.
OVERLAPPING = Layout(frames=3, rows=2, cols=2, prompt_frames=1)


@pytest.mark.parametrize(
    ("proxy", "sources"),
    [
        # Row starts see the token above; frame starts the first token of the frame before.
        ("above", {6: 4, 8: 4, 10: 8, 12: 8, 14: 12}),
        # The newest token of the predecessor's row, or of its frame: only the frame's first token is known by then.
        ("latest", {6: 4, 8: 4, 10: 8, 12: 8, 14: 12}),
        # The predecessor's cell in the prompt: (0, 1) at row starts, (1, 1) at frame starts.
        ("prompt", {6: 1, 8: 3, 10: 1, 12: 3, 14: 1}),
        # The same in the newest frame that has it: 5 came in step 1, in time for 10 in step 2; 7 comes in step 2, too
        # late for 12 in step 2, which falls back to the prompt; 9 came in step 2, in time for 14.
        ("previous-frame", {6: 1, 8: 3, 10: 5, 12: 3, 14: 9}),
        # Row starts have no row above the predecessor's: the newest of its row; frame starts as previous-frame.
        ("above-predecessor", {6: 4, 8: 3, 10: 8, 12: 3, 14: 12}),
    ],
)
def test_frame_starts(proxy: Any, sources: dict[int, int]) -> None:
    plan = compile_plan(OVERLAPPING, Diagonal(k=1, d=1), Policies(proxy=proxy))
    assert {target: source for source, _, target in sorted(proxies(plan))} == sources


def test_prompt_is_the_first_prompt_frame_and_previous_frame_the_last() -> None:
    # Prompt frames 0 1 | 2 3 and 4 5 | 6 7, frame 8 9 | 10 11: 10 in step 1 has its predecessor's cell in 1 and 5.
    layout = Layout(frames=1, rows=2, cols=2, prompt_frames=2)
    assert proxies(compile_plan(layout, Diagonal(k=1), Policies(proxy="prompt"))) == [(1, 9, 10)]
    assert proxies(compile_plan(layout, Diagonal(k=1), Policies(proxy="previous-frame"))) == [(5, 9, 10)]


def test_previous_frame_falls_back_to_latest() -> None:
    # No prompt frame: lead 0, frames 1 2 | 3 4 and 5 6 | 7 8. 3: the newest of row 0. 5 in step 1: no frame before
    # the predecessor's, its row is empty, so the newest of its frame, 1. 7 in step 2: cell (0, 1) of frame 0 is known.
    plan = compile_plan(Layout(frames=2, rows=2, cols=2, lead=1), Diagonal(k=1, d=1))
    assert proxies(plan) == [(1, 2, 3), (1, 4, 5), (2, 6, 7)]


def test_latest_looks_at_the_row_before_the_frame() -> None:
    # 3 x 2, k = 1, d = 3 (lead 0, frames 1 2 | 3 4 | 5 6 and 7 8 | ...). Frame 1 starts in step 3: frame 0 has all but
    # slot 6 (steps 0 1 | 1 2 | 2 3); slots 4 and 5 are equally new, and 5 lies in the predecessor's row.
    plan = compile_plan(Layout(frames=2, rows=3, cols=2, lead=1), Diagonal(k=1, d=3), Policies(proxy="latest"))
    assert (5, 6, 7) in proxies(plan)


def test_an_imported_cell_with_unknown_left_neighbour_is_treated_alike() -> None:
    # Right column first: 2 and 4 come before 1's right neighbours. Slots 0 1 2 3 4 with a lead; order [[0, 2], [1, 3]].
    plan = compile_plan(
        Layout(frames=1, rows=2, cols=2, lead=1), Imported(steps=[[0, 2], [1, 1]]), Policies(proxy="latest")
    )
    # 3 in step 1 (predecessor 2 comes in step 2): the newest of row 0 is 1. 4 in step 1 (predecessor 3 in step 1):
    # row 1 has nothing yet, the newest of the frame is 1. 2 in step 2 follows 1.
    assert sorted(proxies(plan)) == [(1, 2, 3), (1, 3, 4)]


@pytest.mark.parametrize(
    ("proxy", "source"),
    [
        # The cell above the target, not above its predecessor; the last in raster order of equally new ones.
        ("above", 3),
        ("latest", 3),
        ("previous-frame", 3),
        # Of the row above the predecessor's only up to its column: 3 stands behind it.
        ("above-predecessor", 2),
    ],
)
def test_equally_new_tokens(proxy: Any, source: int) -> None:
    # 2 x 3, slots 1 2 3 | 4 5 6 in steps 0 1 1 | 2 2 2. 6 in step 2: 5 comes in step 2, 2 and 3 came in step 1.
    plan = compile_plan(
        Layout(frames=1, rows=2, cols=3, lead=1), Imported(steps=[[0, 1, 1], [2, 2, 2]]), Policies(proxy=proxy)
    )
    assert (source, 5, 6) in proxies(plan)


def test_prompt_needs_a_prompt_frame() -> None:
    message = (
        "expected a prompt frame for proxy='prompt', got prompt_frames=0. The policy feeds the first prompt frame's "
        "token. Give prompt_frames >= 1 or another proxy, say proxy='latest'."
    )
    with pytest.raises(SpecError, match=f"^{re.escape(message)}$"):
        compile_plan(NINE, Diagonal(k=1), Policies(proxy="prompt"))
    # Where no proxy is needed, none is missed.
    assert proxies(compile_plan(NINE, NextToken(), Policies(proxy="prompt"))) == []


@pytest.mark.parametrize("proxy", PROXIES)
def test_given_tokens_between_rows_and_frames_make_proxies_unnecessary(proxy: Any) -> None:
    layout = Layout(frames=3, rows=4, cols=5, prompt_frames=1, between_rows=1, between_frames=2)
    for schedule in (Diagonal(k=1, d=1), Diagonal(k=2), ZipAR(window=1, variant="llamagen")):
        assert proxies(compile_plan(layout, schedule, Policies(proxy=proxy))) == []


@given(plans(frames=3, side=4))
def test_a_proxy_feeds_only_where_the_predecessor_is_unknown(case: tuple[Request, Plan]) -> None:
    request, _ = case
    plan = compiled(request, pad=None, max_width=None)
    step = dict(zip(plan.target.tolist(), plan.feed_steps().tolist(), strict=True))
    for source, position, target in proxies(plan):
        assert step[position] >= step[target]
        assert position == target - 1
        assert source in step or source in {s for a, b in plan.given.tolist() for s in range(a, b)}
        assert step.get(source, -1) < step[target]
    fed = {target: (source, position) for steps in by_step(plan) for source, position, target in steps if target >= 0}
    for target, (source, position) in fed.items():
        if step.get(position, -1) < step[target]:
            assert source == position == target - 1
