"""The rules of a chain: a golden pair for each, and judged against what every slot holds, played feed by feed."""

import re
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from diagplan import Diagonal, Layout, NextToken, Plan, Policies, SpecError, chain_layouts, compile_chain, compile_plan
from diagplan.planner.chain import Chain
from diagplan.planner.chain_compiler import chain_of
from diagplan.planner.checker.chains import JOINT_RULES, verify_chain
from diagplan.planner.checker.verifier import verify_plan
from diagplan.planner.lowering import pad_steps, step_order_slots
from diagplan.planner.masks import iter_masks
from tests.support.strategies import chain_requests

GRID = Layout(frames=1, rows=2, cols=3, lead=3)
LAYOUTS = chain_layouts([GRID, GRID, GRID], 1)
CHAIN = compile_chain(LAYOUTS, Diagonal(k=1))
KEPT = compile_chain(LAYOUTS, Diagonal(k=1), Policies(row_end="keep"))
CAUSAL = Policies(visibility="causal")
ANY_LIST: Any = list(CHAIN.plans)


def keeping(chain: Chain, *runs: Any) -> Chain:
    """The chain with other runs for its second plan."""
    return replace(chain, kept=(chain.kept[0], runs, *chain.kept[2:]))


def padded_first(chain: Chain) -> Chain:
    """The first plan padded: its trash slot is the first slot of the second plan that it does not keep."""
    return replace(chain, plans=(pad_steps(chain.plans[0], [4]), *chain.plans[1:]))


def with_step_order() -> Chain:
    plans = [step_order_slots(CHAIN.plans[0]), *CHAIN.plans[1:]]
    return replace(CHAIN, plans=tuple(plans))


def moved() -> Chain:
    """The second plan feeds all anew, and its cache slots are numbered backwards: nothing stays where it was."""
    plan = CHAIN.plans[1]
    turned = replace(plan, slot=plan.cache_slots - 1 - plan.slot)
    return replace(CHAIN, plans=(CHAIN.plans[0], turned, CHAIN.plans[2]), kept=((), (), ((0, 1),)))


def written_over() -> Chain:
    """The second plan never feeds token 1, and puts a cell into its slot, where the third one looks for the token."""
    first, plan, third = compile_chain(LAYOUTS, NextToken()).plans
    feeds = np.flatnonzero(plan.position != 1)
    columns = {name: getattr(plan, name)[feeds] for name in ("source", "position", "slot", "target")}
    columns["slot"] = np.where(columns["position"] == 12, 1, columns["slot"])
    offsets = np.maximum(plan.step_offsets - 1, 0)
    other = replace(plan, policies=replace(plan.policies, row_end="custom"), step_offsets=offsets, **columns)
    return Chain(plans=(first, other, third), kept=((), ((0, 1), (2, 8)), ((1, 2),)))


def reading_zeros() -> Chain:
    """A cell far behind what is written is fed as late as the padding of the plan before has been there."""
    return padded_first(compile_chain(chain_layouts([GRID, GRID], 0), NextToken(), CAUSAL))


MOVED, WRITTEN_OVER = moved(), written_over()
CASES: list[tuple[str, Any, int, str, int | None]] = [
    ("DP700", replace(CHAIN, plans=ANY_LIST), 1, "expected plans to be a tuple of plans, got plans=", None),
    ("DP700", replace(CHAIN, plans=CHAIN.plans[:1], kept=((),)), 1, "expected 2 to 64 plans, got 1.", None),
    ("DP700", replace(CHAIN, kept=((), ())), 1, "expected kept to be a tuple of 3 lists of runs, got kept=", None),
    ("DP700", replace(CHAIN, kept=(((0, 1),), (), ())), 1, "expected nothing kept for the first plan, got kept=", None),
    ("DP700", keeping(CHAIN, (0, 1.0)), 1, "expected runs (start, end) for plan 1, got kept=", None),
    ("DP700", keeping(CHAIN, (True, 2)), 1, "expected runs (start, end) for plan 1, got kept=", None),
    ("DP700", keeping(CHAIN, (3, 3)), 1, "expected sorted runs that are apart for plan 1, got kept=", None),
    ("DP700", keeping(CHAIN, (4, 5), (0, 2)), 1, "expected sorted runs that are apart for plan 1, got kept=", None),
    ("DP700", keeping(CHAIN, (0, 17)), 1, "expected runs up to 16 for plan 1, got kept=", None),
    ("DP701", replace(CHAIN, plans=CHAIN.plans[:1] * 2, kept=((), ())), 1,
     "expected lead >= 9 in a later plan, all positions of the plan before, got lead=3.", None),
    ("DP702", keeping(CHAIN, (0, 8), (9, 10)), 1,
     "expected step 0 to feed the kept token 9 of its lead alone, got no such feed.", 9),
    ("DP702", keeping(CHAIN, (0, 8), (12, 14)), 2, "expected step 0 to feed the kept token 12 of its", 12),
    ("DP703", keeping(CHAIN, (0, 9)), 1, "expected the cache before step 0 to hold token 8, got no write of it.", 8),
    ("DP703", keeping(KEPT, (0, 8)), 1,
     "expected the cache before step 0 to hold token 5, got its proxy's keys and values.", 5),
    ("DP703", with_step_order(), 3,
     "expected the cache before step 0 to hold token 4, got it in another cache slot than the plan's.", 4),
    ("DP703", MOVED, 1, "expected the cache before step 0 to hold token 0, got it in another cache slot", 0),
    ("DP703", WRITTEN_OVER, 1,
     "expected the cache before step 0 to hold token 1, got its cache slot written over.", 1),
    ("DP704", reading_zeros(), 1, "expected zeros in cache slot 9 before step 0, got a write of a plan before.", 9),
]  # fmt: skip


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case[0]} {case[3][:60]}")
def test_golden_pairs(case: tuple[str, Chain, int, str, int | None]) -> None:
    code, chain, count, message, slot = case
    report = verify_chain(chain)
    assert report.counts[code] == report.errors == count
    first = next(found for found in report.diagnostics if found.severity == "error")
    assert (first.code, first.severity, first.slot, first.step, first.feed) == (code, "error", slot, None, None)
    assert first.plan == {"DP700": None}.get(code, 2 if chain in (WRITTEN_OVER, MOVED) else 1)
    assert first.message.startswith(message)
    assert re.fullmatch(r"expected .+, got .+\.", first.message)
    assert not report.ok


def test_every_rule_has_a_golden_pair() -> None:
    assert [rule.code for rule in JOINT_RULES] == sorted({case[0] for case in CASES})
    for rule in JOINT_RULES:
        assert rule.sentence.endswith(".")
        assert rule.remedy.endswith(".")


def test_plans_are_judged_first() -> None:
    plan = CHAIN.plans[1]
    target = plan.target.copy()
    target[target == plan.layout.lead] = -1
    broken = replace(CHAIN, plans=(CHAIN.plans[0], replace(plan, target=target), CHAIN.plans[2]), kept=((), (), ()))
    report = verify_chain(broken)
    assert {found.plan for found in report.diagnostics if found.severity == "error"} == {1}
    assert report.diagnostics[0].message == "expected a feed with target=10, got none."
    assert report.counts["DP201"] == 1
    keep = Policies(row_end="keep")
    plans = [verify_chain(compile_chain(LAYOUTS, Diagonal(k=1), keep)), *(verify_plan(plan) for plan in KEPT.plans)]
    assert plans[0].ok
    assert plans[0].warnings == sum(report.warnings for report in plans[1:]) > 0


def test_breaches_are_counted_and_few_are_kept() -> None:
    report = verify_chain(keeping(with_step_order(), (0, 8)), cap=1)
    assert report.counts == {"DP703": 3}
    assert len(report.diagnostics) == 1
    with pytest.raises(SpecError, match="expected cap >= 1"):
        verify_chain(CHAIN, cap=0)


def held_alike(chain: Chain) -> bool:
    """Whether every feed of every plan sees the same tokens in the chain as in the plan alone, feed by feed."""
    cache: dict[int, tuple[int, int]] = {}  # slot -> position and source
    for plan, runs in zip(chain.plans, chain.kept, strict=True):
        kept = {slot for start, end in runs for slot in range(start, end)}
        alone: dict[int, tuple[int, int]] = {}
        rows = np.concatenate([mask for _, mask in iter_masks(plan)])
        for step, (start, end) in enumerate(zip(plan.step_offsets[:-1], plan.step_offsets[1:], strict=True)):
            fed = []
            for feed in range(start, end):
                written = int(plan.position[feed]), int(plan.source[feed])
                alone[int(plan.slot[feed])] = written
                prompt = plan.target[feed] < 0 and plan.position[feed] < plan.layout.lead
                if step or not prompt or plan.position[feed] not in kept:
                    cache[int(plan.slot[feed])] = written
                    fed.append(feed)
            for feed in fed:
                seen = np.flatnonzero(rows[feed]).tolist()
                if [alone.get(slot) for slot in seen] != [cache.get(slot) for slot in seen]:
                    return False
    return True


def _foreign(plan: Plan, kind: str) -> Plan:
    if kind == "step-order" and plan.policies.visibility != "causal":
        return step_order_slots(plan)
    return pad_steps(plan, [3]) if kind == "pad" else plan


@settings(max_examples=100)
@given(request=chain_requests(side=3), data=st.data())
def test_the_verdict_is_that_of_what_every_slot_holds(request: dict[str, Any], data: st.DataObject) -> None:
    """Plans lowered otherwise, and any runs kept: valid means alike, and DP703 means that some feed sees another."""
    chain = compile_chain(**request)
    kinds = st.sampled_from(("", "", "step-order", "pad"))
    chain = chain_of([_foreign(plan, data.draw(kinds)) for plan in chain.plans])
    number = data.draw(st.integers(1, len(chain.plans) - 1))
    runs = data.draw(st.sampled_from(("as compiled", "all", "one more")))
    lead = chain.plans[number].layout.lead
    more = {"as compiled": chain.kept[number], "all": ((0, lead - 1),) if lead > 1 else ()}.get(runs)
    if more is None:
        slot = data.draw(st.integers(0, lead - 1))
        inside = sorted({slot, *(s for start, end in chain.kept[number] for s in range(start, end))})
        edges = [s for s in inside if s - 1 not in inside], [s + 1 for s in inside if s + 1 not in inside]
        more = tuple(zip(*edges, strict=True))
    chain = replace(chain, kept=(*chain.kept[:number], more, *chain.kept[number + 1 :]))
    report = verify_chain(chain)
    if report.ok:
        assert held_alike(chain)
    if "DP703" in report.counts:
        assert not held_alike(chain)


def test_plans_of_one_layout_alone_are_no_chain() -> None:
    plan = compile_plan(GRID, NextToken())
    assert verify_chain(Chain(plans=(plan, plan), kept=((), ()))).counts == {"DP701": 1}
