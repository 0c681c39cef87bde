"""What the checker of traces derives, against plain loops; and that it shares nothing with what replays."""

import ast
from itertools import groupby
from math import ceil
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from diagplan.planner.plan import Plan
from diagplan.planner.trace_checker.facts import Entries, TraceFacts
from tests.support.invalid_traces import BASE, PLAN
from tests.support.speculation import speculate
from tests.support.strategies import Request, plans
from tests.support.trace_judge import entries_of, prompt_of

SOURCES = Path(__file__).resolve().parents[3] / "planner" / "trace_checker"


@given(plans(frames=3, side=4), st.integers(1, 9))
def test_entries(case: tuple[Request, Plan], width: int) -> None:
    _, plan = case
    facts, listed = Entries(plan), entries_of(plan)
    assert facts.count == len(listed)
    assert facts.step.tolist() == [entry.step for entry in listed]
    assert facts.target.tolist() == [entry.target for entry in listed]
    assert facts.step_end.tolist() == [sum(other.step <= entry.step for other in listed) for entry in listed]
    assert facts.prompt == prompt_of(listed)
    for slot in range(plan.positions):
        deciders = [number for number, entry in enumerate(listed) if entry.target == slot]
        uses = [number for number, entry in enumerate(listed) if entry.source == slot]
        assert facts.decider[slot] == (deciders[0] if deciders else -1)
        assert facts.first_use[slot] == (uses[0] if uses else len(listed))
    assert facts.targets_before.tolist() == [
        sum(entry.target >= 0 for entry in listed[:number]) for number in range(len(listed) + 1)
    ]
    widths = [len(list(group)) for _, group in groupby(listed, key=lambda entry: entry.step)]
    widths[0] -= prompt_of(listed)
    assert facts.most_passes(width) == sum(ceil(one / width) for one in widths)


@given(plans(frames=2, side=3), st.integers(1, 9), st.sampled_from(("own", "slowest")))
def test_what_is_due_is_what_the_simulator_accepts(case: tuple[Request, Plan], width: int, advance: str) -> None:
    trace = speculate(case[1], width=width, numbers=(0, 1), advance=advance).trace  # type: ignore[arg-type]
    facts = TraceFacts(case[1], trace)
    assert facts.due.tolist() == facts.accepted.tolist()
    assert (facts.right >= facts.due).all()
    assert facts.before.tolist() == facts.first.tolist()


def test_columns_of_a_batch_stand_one_behind_the_other() -> None:
    facts = TraceFacts(PLAN, BASE)
    assert facts.sample.tolist() == [0, 0, 0]
    assert facts.number.tolist() == [0, 1, 2]
    assert facts.guess_pass.tolist() == [0, 0, 1, 1, 2, 2]
    assert facts.chosen_slot.tolist() == [1, 2, 3, 3, 4, 5, 4, 5, 6]
    assert facts.right.tolist() == [2, 3, 6]


def test_it_shares_no_code_with_what_replays() -> None:
    """Neither the training plan nor anything of a replay: plan and trace as data, and its own folder."""
    allowed = {
        "diagplan.planner.layout", "diagplan.planner.plan", "diagplan.planner.trace",
    }  # fmt: skip
    for path in SOURCES.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("diagplan"):
                assert node.module in allowed or str(node.module).startswith("diagplan.planner.trace_checker"), path
