"""A trace of version 1 that must stay readable, valid, and what the shipped model chooses.

It is of next-token prediction on crafter-mini and its bundled clip, temperature 1, seed 1, in windows of 54.
"""

from pathlib import Path

import pytest

from diagplan import NextToken, check_trace_tokens, compile_plan, load_world, plan_digest, read_trace, verify_trace
from diagplan.planner.layout import Layout

TRACE = Path(__file__).resolve().parents[1] / "golden" / "crafter-mini-trace.json.gz"
PLAN = compile_plan(Layout(frames=7, rows=9, cols=12, prompt_frames=1, between_frames=3), NextToken())


def test_it_is_read_and_valid() -> None:
    trace = read_trace(TRACE)
    assert trace.plan == plan_digest(PLAN)
    assert (trace.dtype, trace.seed, trace.width, trace.draft, trace.advance) == (
        "float32", 1, 54, "previous-frame", "own",
    )  # fmt: skip
    assert trace.sampler["temperature"] == 1.0
    assert [sample.passes for sample in trace.samples] == [27]
    assert verify_trace(PLAN, trace).ok


def test_its_tokens_are_the_models() -> None:
    pytest.importorskip("torch")
    checked = check_trace_tokens(PLAN, read_trace(TRACE), load_world("crafter-mini", threads=1).load())
    assert checked.ok, checked.report.diagnostics
    assert checked.tokens is not None
    assert checked.tokens.tokens == PLAN.layout.tokens
