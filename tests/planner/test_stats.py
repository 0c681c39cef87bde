"""The figures of a plan, counted again feed by feed in plain Python."""

import json
import re
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from diagplan.planner.compiler import compile_plan
from diagplan.planner.errors import SpecError
from diagplan.planner.layout import Layout
from diagplan.planner.plan import MaskRows, Plan
from diagplan.planner.schedule import Diagonal, NextToken
from diagplan.planner.stats import plan_stats
from diagplan.schemas.files import plan_to_json
from tests.support.semantics import meaning, queries_of
from tests.support.strategies import Request, compiled, plans


def unwritten_reads(plan: Plan) -> int:
    """Pairs of a feed and a cache slot that it sees and nobody has written, by the document's interpreter."""
    said = meaning(json.loads(plan_to_json(plan, masks="rule")))
    return sum(query.unwritten for _, query in queries_of(said))


def counted(plan: Plan) -> dict[str, object]:
    """Every figure of ``PlanStats``, from the columns alone."""
    feeds = list(zip(plan.source.tolist(), plan.position.tolist(), plan.target.tolist(), strict=True))
    prompt = plan.given.tolist()[0][1]  # every layout begins with a given token
    widths, prefill, written = [], 0, set()
    proxies = refreshes = 0
    for step, (first, last) in enumerate(pairwise(plan.step_offsets.tolist())):
        width = 0
        for source, position, target in feeds[first:last]:
            if source < 0:
                continue
            if step == 0 and position < prompt and target < 0:
                prefill += 1
            else:
                width += 1
            proxies += source != position
            refreshes += source == position and position in written
            written.add(position)
        widths.append(width)
    tokens = sum(target >= 0 for _, _, target in feeds)
    return {
        "steps": len(widths),
        "tokens": tokens,
        "feeds": sum(source >= 0 for source, _, _ in feeds),
        "prefill_feeds": prefill,
        "padding_feeds": sum(source < 0 for source, _, _ in feeds),
        "max_width": max(widths),
        "mean_width": round(sum(widths) / len(widths), 4),
        "width": widths,
        "speedup": round(tokens / len(widths), 4),
        "extra_steps": len(widths) - plan.schedule.steps,
        "positions": plan.positions,
        "cache_slots": plan.cache_slots,
        "proxies": proxies,
        "refreshes": refreshes,
        "unwritten_reads": unwritten_reads(plan),
    }


@given(plans(frames=3, side=5))
def test_figures_are_those_of_counting(case: tuple[Request, Plan]) -> None:
    request, plan = case
    stats = plan.stats()
    assert stats.as_dict() | {"width": stats.width.tolist()} == counted(plan)
    assert stats == plan_stats(plan)
    # And what they must be: every token once, and passes beyond the schedule's only under a cap.
    assert stats.tokens == request.layout.tokens
    assert stats.extra_steps >= 0
    assert request.max_width is not None or stats.extra_steps == 0
    assert stats.max_width <= (request.max_width or stats.feeds)
    assert sum(stats.width.tolist()) + stats.prefill_feeds == stats.feeds == plan.feeds - stats.padding_feeds


@given(plans(frames=2, side=4), st.data())
def test_figures_of_a_plan_with_another_source(case: tuple[Request, Plan], data: st.DataObject) -> None:
    """A proxy where the compiler puts none, on a refresh for one: it writes again, but is no refresh."""
    _, plan = case
    real = np.flatnonzero(plan.source >= 0).tolist()
    again = [feed for feed in real if plan.position[feed] in plan.position[real[: real.index(feed)]]]
    feed = data.draw(st.sampled_from(again or real))
    source = plan.source.copy()
    source[feed] = data.draw(st.integers(0, plan.positions - 1))
    changed = replace(plan, source=source)
    stats = changed.stats()
    assert stats.as_dict() | {"width": stats.width.tolist()} == counted(changed)


@given(plans(frames=2, side=4), st.data())
def test_listed_rows_count_as_they_stand(case: tuple[Request, Plan], data: st.DataObject) -> None:
    _, plan = case
    chosen = sorted(data.draw(st.sets(st.integers(0, plan.feeds - 1), min_size=1, max_size=4)))
    rows = [
        sorted(data.draw(st.sets(st.integers(0, plan.cache_slots), max_size=6).filter(lambda ends: len(ends) % 2 == 0)))
        for _ in chosen
    ]
    listed = MaskRows(
        feed=np.array(chosen),
        offsets=np.cumsum([0, *(len(ends) // 2 for ends in rows)]),
        runs=np.array([end for ends in rows for end in ends], dtype=np.int32),
    )
    changed = replace(plan, listed=listed)
    padding = {feed for feed, source in enumerate(plan.source.tolist()) if source < 0}
    if not padding & set(chosen):  # the interpreter asks nothing of padding
        assert changed.stats().unwritten_reads == unwritten_reads(changed)


@given(plans(frames=2, side=4), st.data())
def test_unwritten_reads_do_not_take_cache_slots_for_positions(case: tuple[Request, Plan], data: st.DataObject) -> None:
    """Figures are promised for plans that are not valid, too; the checker wants positions here."""
    request, _ = case
    causal = replace(request.policies, visibility="causal")
    plan = compiled(request, policies=causal, slots="position", pad=None)
    order = np.array(data.draw(st.permutations(range(plan.positions))))
    moved = replace(plan, slot=order[plan.slot])
    assert moved.stats().unwritten_reads == unwritten_reads(moved)


def test_figures_by_hand() -> None:
    # 2 x 3, k = 1: cells in steps 0 1 2 | 1 2 3; position 3 has a proxy in step 1 and its own token in step 3.
    stats = compile_plan(Layout(frames=1, rows=2, cols=3, lead=2), Diagonal(k=1)).stats()
    assert stats.as_dict() == {
        "steps": 4, "tokens": 6, "speedup": 1.5, "feeds": 8, "prefill_feeds": 1, "padding_feeds": 0, "max_width": 2,
        "mean_width": 1.75, "extra_steps": 0, "positions": 8, "cache_slots": 8, "proxies": 1, "refreshes": 1,
        "unwritten_reads": 0,
    }  # fmt: skip
    assert stats.width.tolist() == [1, 2, 2, 2]


def test_stats_are_values() -> None:
    plan = compile_plan(Layout(frames=1, rows=2, cols=3, lead=2), Diagonal(k=1))
    stats = plan.stats()
    assert hash(stats) == hash(plan.stats())
    assert stats != compile_plan(plan.layout, NextToken()).stats()
    assert stats != replace(stats, width=stats.width[::-1])
    assert not stats.width.flags.writeable


@pytest.mark.parametrize("name", ["layers", "kv_heads", "head_dim", "bytes_per_value", "batch"])
def test_bytes_of_the_cache(name: str) -> None:
    stats = compile_plan(Layout(frames=1, rows=2, cols=2, lead=1), NextToken()).stats()
    sizes = {"layers": 3, "kv_heads": 5, "head_dim": 7, "bytes_per_value": 4, "batch": 11}
    assert stats.cache_bytes(**sizes) == 2 * stats.cache_slots * 3 * 5 * 7 * 4 * 11
    assert stats.cache_bytes(**sizes | {name: np.int32(1 << 30)}) == stats.cache_bytes(**sizes | {name: 1 << 30})  # type: ignore[arg-type]
    with pytest.raises(SpecError, match="^" + re.escape(f"expected {name} >= 1, got {name}=0. ")):
        stats.cache_bytes(**sizes | {name: 0})
