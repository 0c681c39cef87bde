"""The theorems on cache slots and mask rows, and their false variants, against a plain walk through small plans."""

import pytest
from hypothesis import given

from diagplan.planner.proofs.prover import ProofResult
from diagplan.planner.proofs.theorems import THEOREMS
from diagplan.planner.proofs.theorems_cache import CACHE_THEOREMS
from tests.support.walk import Walk, by_name, letters, verdicts

pytest.importorskip("z3", reason="the proofs need z3-solver: pip install 'diagplan[prove]'")

NAMES = [theorem.name for theorem in CACHE_THEOREMS]


def raster_order(v: dict[str, int], wrong: bool) -> bool:
    walk = Walk(v)
    a, b = walk.cell(), walk.cell("f2", "r2", "c2")
    if a >= b:
        return True
    if wrong:
        stride = walk.h * walk.w + walk.b_f
        return stride * a[0] + walk.slot[0, a[1], a[2]] < stride * b[0] + walk.slot[0, b[1], b[2]]
    return walk.slot[a] < walk.slot[b]


def one_position_per_step(v: dict[str, int], wrong: bool) -> bool:
    walk = Walk(v)
    a, b = sorted((walk.cell(), walk.cell("f2", "r2", "c2")))
    if a == b or walk.step[a] != walk.step[b]:
        return True
    return walk.slot[b] - 1 != (walk.slot[a] if wrong else walk.slot[a] - 1)


def refresh_after_proxy(v: dict[str, int], wrong: bool) -> bool:
    walk = Walk(v)
    end, writer = (v["f"], v["r"], walk.w - 1), walk.cell("f2", "r2", "c2")
    if walk.slot[writer] - 1 != walk.slot[end]:
        return True
    generated = walk.step[end]
    refresh = generated if wrong else generated + 1
    by_proxy = end not in walk.ready(writer)
    return writer == walk.successor(end) and (
        walk.step[writer] < refresh if by_proxy else walk.step[writer] == generated + 1
    )


def refresh_adds_no_step(v: dict[str, int], wrong: bool) -> bool:
    walk = Walk(v)
    if walk.cell() == walk.cells[-1] and not wrong:
        return True
    return walk.step[walk.cell()] + 1 in walk.step.values()


def mask_row_visible(v: dict[str, int], wrong: bool) -> bool:
    walk = Walk(v)
    query, seen = walk.cell(), walk.cell("f2", "r2", "c2")
    if seen[2] == walk.w - 1 and seen != walk.cells[-1] and not walk.follows_directly(seen):
        return True
    s, following = walk.step[query], walk.successor(seen)
    written = following is not None and walk.step[following] <= s
    run = max(0, min(s - walk.step[seen[0], seen[1], 0] + wrong, walk.w - 1))
    described = (seen[2] < run or (seen[2] == walk.w - 1 and written)) if seen[:2] < query[:2] else seen < query
    return (described and seen[:2] <= query[:2]) == (walk.slot[seen] <= walk.slot[query] - 1 and written)


def mask_row_hidden(v: dict[str, int], wrong: bool) -> bool:
    walk = Walk(v)
    query, seen = walk.cell(), walk.cell("f2", "r2", "c2")
    s, p, q = walk.step[query], walk.slot[query] - 1, walk.slot[seen]
    refreshed = walk.step[seen] + 1
    following = walk.successor(seen)
    first = walk.step[following] if following is not None and walk.follows_directly(seen) else refreshed
    rule = q <= p and first <= s and (q == p or not (first < refreshed and s < refreshed))
    in_run = seen[2] < max(0, min(s - walk.step[seen[0], seen[1], 0], walk.w))
    described = in_run if wrong or seen[:2] < query[:2] else seen[:2] == query[:2] and seen[2] < query[2]
    return (q == p or described) == rule


def mask_row_given(v: dict[str, int], wrong: bool) -> bool:
    walk = Walk(v)
    query, g, j = walk.cell(), v["g"], v["j"]
    position = next((slot for slot, frame, index in walk.given if (frame, index) == (g, j)), None)
    if not 1 <= g < walk.T or position is None:
        return True
    s, p, written = walk.step[query], walk.slot[query] - 1, walk.step[g, 0, 0]
    return (written <= s if wrong else g <= query[0]) == (position <= p and written <= s)


STATEMENTS = by_name(
    raster_order,
    one_position_per_step,
    refresh_after_proxy,
    refresh_adds_no_step,
    mask_row_visible,
    mask_row_hidden,
    mask_row_given,
)


@pytest.fixture(scope="module")
def proved() -> dict[str, ProofResult]:
    return verdicts(NAMES)


@pytest.fixture(scope="module")
def disproved() -> dict[str, ProofResult]:
    return verdicts(NAMES, "wrong")


def test_every_theorem_has_a_statement_here_and_a_name_of_its_own() -> None:
    assert set(STATEMENTS) == set(NAMES)
    assert set(CACHE_THEOREMS) < set(THEOREMS)


@pytest.mark.parametrize("name", NAMES)
def test_every_theorem_is_proved(name: str, proved: dict[str, ProofResult]) -> None:
    result = proved[name]
    assert (result.verdict, result.counterexample) == ("proved", None)
    assert all(proved[lemma].verdict == "proved" for lemma in result.lemmas)


@pytest.mark.parametrize("name", NAMES)
def test_every_false_variant_is_refuted_by_integers_that_break_it(name: str, disproved: dict[str, ProofResult]) -> None:
    result = disproved[name]
    assert result.verdict == "refuted"
    assert result.counterexample is not None
    assert not STATEMENTS[name](result.counterexample, True)
    assert STATEMENTS[name](result.counterexample, False)


@pytest.mark.parametrize("name", NAMES)
def test_a_counterexample_is_small(name: str, disproved: dict[str, ProofResult]) -> None:
    assert all(abs(value) <= 6 for value in (disproved[name].counterexample or {}).values())


@given(letters())
def test_the_statements_hold_in_a_walk(v: dict[str, int]) -> None:
    for name, statement in STATEMENTS.items():
        assert statement(v, False), name
