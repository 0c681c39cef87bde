"""The rules of a chain: each plan is valid, and finds in the cache what it does not feed.

Derived from the plans alone, without a look at what compiled them.
"""

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from diagplan.planner.chain import MAX_PLANS, Chain
from diagplan.planner.checker.diagnostics import Diagnostic, Verification
from diagplan.planner.checker.facts import Facts
from diagplan.planner.checker.verifier import verify_plan
from diagplan.planner.layout import require_int
from diagplan.planner.plan import Plan
from diagplan.planner.shown import shown

__all__ = ["JOINT_RULES", "JointRule", "chain_malformed", "verify_chain"]

Ints = NDArray[np.int64]
_NOWHERE = np.array([-1])  # one breach, of no slot


@dataclass(frozen=True, slots=True)
class JointRule:
    """One rule of a chain; ``find`` gives a message and a slot for each breach in one plan, all of them errors."""

    code: str
    sentence: str
    remedy: str
    find: "Callable[[_Joint], Iterator[tuple[str, Ints]]]"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Joint:
    """A plan of a chain, and the cache in which it begins.

    Attributes:
        number: of the plan, from 1.
        plan, before: it and the one before.
        kept: positions whose feeds of step 0 are left out, int64 [n].
        home: per position the cache slot of its newest write, -1 where there is none, int64 [positions].
        true: per position whether that write was its own token's, bool [positions].
        content: per cache slot the position it was written for last: -1 none, -2 padding, int64 [slots].
    """

    number: int
    plan: Plan
    before: Plan
    kept: Ints
    home: Ints
    true: NDArray[np.bool_]
    content: Ints


def verify_chain(chain: Chain, *, cap: int = 20) -> Verification:
    """Check a chain: every plan by every rule, then the joints between them if no plan has an error.

    Args:
        chain: any chain, also a foreign or damaged one.
        cap: the largest number of diagnostics kept of one rule and plan; all are counted.

    Returns:
        the report; its diagnostics say which plan they are of.

    Raises:
        SpecError: ``cap`` is not an integer of at least 1.

    >>> from diagplan import Diagonal, Layout, compile_chain
    >>> first, then = Layout(frames=1, rows=2, cols=2, lead=3), Layout(frames=1, rows=3, cols=3, lead=7)
    >>> verify_chain(compile_chain([first, then], Diagonal(k=1))).ok
    True
    """
    cap = require_int("cap", cap, 1)
    wrong = [(text, _NOWHERE) for text in chain_malformed(chain)]
    if wrong:
        return _report(JOINT_RULES[0], wrong, None, cap)
    reports = [_of_plan(verify_plan(plan, cap=cap), number) for number, plan in enumerate(chain.plans)]
    if all(report.ok for report in reports):
        asked = ((rule, joint) for joint in _joints(chain) for rule in JOINT_RULES[1:])
        for rule, joint in asked:
            breaches = [(text, slots) for text, slots in rule.find(joint) if len(slots)]
            if breaches:
                reports.append(_report(rule, breaches, joint.number, cap))
                break  # whatever follows takes it for granted
    counts: Counter[str] = Counter()
    for report in reports:
        counts.update(report.counts)
    return Verification(
        diagnostics=tuple(diagnostic for report in reports for diagnostic in report.diagnostics),
        counts=dict(counts),
        errors=sum(report.errors for report in reports),
        warnings=sum(report.warnings for report in reports),
    )


def _of_plan(report: Verification, number: int) -> Verification:
    return replace(report, diagnostics=tuple(replace(breach, plan=number) for breach in report.diagnostics))


def _report(rule: JointRule, breaches: list[tuple[str, Ints]], number: int | None, cap: int) -> Verification:
    texts = [(text.replace("{slot}", str(slot)), slot) for text, slots in breaches for slot in slots[:cap].tolist()]
    diagnostics = tuple(
        Diagnostic(
            code=rule.code, severity="error", step=None, feed=None, slot=None if slot < 0 else slot,
            message=f"{text}.", remedy=rule.remedy, plan=number,
        )
        for text, slot in texts[:cap]
    )  # fmt: skip
    count = sum(len(slots) for _, slots in breaches)
    return Verification(diagnostics=diagnostics, counts={rule.code: count}, errors=count, warnings=0)


def chain_malformed(chain: Chain) -> Iterator[str]:
    """DP700: what is wrong with the fields of a chain, in one text each."""
    plans, kept = chain.plans, chain.kept
    if type(plans) is not tuple or not all(type(plan) is Plan for plan in plans):
        yield f"expected plans to be a tuple of plans, got plans={shown(plans)}"
        return
    if not 2 <= len(plans) <= MAX_PLANS:
        yield f"expected 2 to {MAX_PLANS} plans, got {len(plans)}"
        return
    if type(kept) is not tuple or len(kept) != len(plans):
        yield f"expected kept to be a tuple of {len(plans)} lists of runs, got kept={shown(kept)}"
        return
    if kept[0] != ():
        yield f"expected nothing kept for the first plan, got kept={shown(kept[0])}"
    for number, runs in enumerate(kept):
        if type(runs) is not tuple or not all(_is_run(run) for run in runs):
            yield f"expected runs (start, end) for plan {number}, got kept={shown(runs)}"
        elif any(start >= end for start, end in runs) or any(a[1] >= b[0] for a, b in pairwise(runs)):
            yield f"expected sorted runs that are apart for plan {number}, got kept={shown(runs)}"
        elif runs and type(most := plans[number].positions) is int and runs[-1][1] > most:
            yield f"expected runs up to {shown(most)} for plan {number}, got kept={shown(runs)}"


def _is_run(run: object) -> bool:
    return type(run) is tuple and len(run) == 2 and all(type(end) is int and end >= 0 for end in run)


def _joints(chain: Chain) -> Iterator[_Joint]:
    """The later plans, each with the cache that those before it leave."""
    most = max(plan.positions for plan in chain.plans)
    home, true = np.full(most, -1), np.zeros(most, dtype=np.bool_)
    content = np.full(max(plan.cache_slots for plan in chain.plans), -1)
    for number, (plan, runs) in enumerate(zip(chain.plans, chain.kept, strict=True)):
        kept = np.concatenate([np.zeros(0, dtype=np.int64), *(np.arange(start, end) for start, end in runs)])
        if number:
            yield _Joint(
                number=number, plan=plan, before=chain.plans[number - 1], kept=kept, home=home.copy(),
                true=true.copy(), content=content.copy(),
            )  # fmt: skip
        facts = Facts(plan)
        left_out = (facts.step == 0) & facts.real & (plan.target < 0) & np.isin(plan.position, kept)
        run = np.flatnonzero(~left_out)
        content[plan.slot[run]] = np.where(facts.real[run], plan.position[run], -2)
        newest = facts.last_of_position
        newest = newest[~left_out[newest]]
        home[plan.position[newest]] = plan.slot[newest]
        true[plan.position[newest]] = ~facts.proxy[newest]


def _lead_too_short(joint: _Joint) -> Iterator[tuple[str, Ints]]:
    """DP701: a lead that does not hold all of the plan before."""
    least, lead = joint.before.positions, joint.plan.layout.lead
    if lead < least:
        text = f"expected lead >= {least} in a later plan, all positions of the plan before, got lead={lead}"
        yield text, _NOWHERE


def _not_left_out(joint: _Joint) -> Iterator[tuple[str, Ints]]:
    """DP702: kept positions that step 0 does not feed, or feeds to choose a token."""
    plan, facts = joint.plan, Facts(joint.plan)
    feeds = (facts.step == 0) & facts.real & (plan.target < 0) & (plan.position < plan.layout.lead)
    yield (
        "expected step 0 to feed the kept token {slot} of its lead alone, got no such feed",
        np.setdiff1d(joint.kept, plan.position[feeds]),
    )


def _not_held(joint: _Joint) -> Iterator[tuple[str, Ints]]:
    """DP703: kept positions whose own token the cache does not hold in the slot where the plan looks for it."""
    plan, facts, kept = joint.plan, Facts(joint.plan), joint.kept
    slot = np.full(plan.positions, -1)
    first = (facts.step == 0) & facts.real
    slot[plan.position[first]] = plan.slot[first]
    home, wanted = joint.home[kept], slot[kept]
    head = "expected the cache before step 0 to hold token {slot}, got "
    none = home < 0
    guess = ~none & ~joint.true[kept]
    elsewhere = ~none & ~guess & (home != wanted)
    gone = ~none & ~guess & ~elsewhere & (joint.content[np.maximum(home, 0)] != kept)
    for hit, what in (
        (none, "no write of it"),
        (guess, "its proxy's keys and values"),
        (elsewhere, "it in another cache slot than the plan's"),
        (gone, "its cache slot written over"),
    ):
        yield head + what, kept[hit]


def _zeros_written(joint: _Joint) -> Iterator[tuple[str, Ints]]:
    """DP704: slots that a plan may read as zeros, and that plans before it have written."""
    plan, facts = joint.plan, Facts(joint.plan)
    if plan.cache_initial != "zeros" or (plan.policies.visibility != "causal" and not len(plan.listed)):
        return
    written = joint.content[: plan.cache_slots] != -1
    written[plan.slot[(facts.step == 0) & facts.real]] = False
    if plan.trash_slot is not None:
        written[plan.trash_slot] = False
    yield (
        "expected zeros in cache slot {slot} before step 0, got a write of a plan before",
        np.flatnonzero(written),
    )


#: The rules of a chain, in the order in which they are asked of each plan, up to the first one that is broken.
JOINT_RULES = (
    JointRule(
        "DP700",
        "A chain has two plans or more, and for each the runs of positions that are kept.",
        "Compile the chain again, or correct the field.",
        lambda _: iter(()),  # asked of the chain before its plans
    ),
    JointRule(
        "DP701",
        "A later plan's lead holds every position of the plan before.",
        "Compile the layouts that chain_layouts gives.",
        _lead_too_short,
    ),
    JointRule(
        "DP702",
        "What is kept are tokens of the lead that step 0 would feed and that choose nothing.",
        "Take the position out of kept.",
        _not_left_out,
    ),
    JointRule(
        "DP703",
        "The cache holds every kept position's own token, in the slot in which the plan looks for it.",
        "Take the position out of kept, so that step 0 feeds it.",
        _not_held,
    ),
    JointRule(
        "DP704",
        "A slot that a plan may read as zeros was not written by a plan before it.",
        "Pad after chaining, or compile with visibility=written.",
        _zeros_written,
    ),
)
