"""The theorems on steps, sources and speed-ups, and their false variants, against a plain walk through small plans."""

import re
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from diagplan.planner.proofs.prover import ProofResult
from diagplan.planner.proofs.theorems import THEOREMS
from diagplan.planner.proofs.theorems_cache import CACHE_THEOREMS
from diagplan.planner.proofs.theorems_speculation import SPECULATION_THEOREMS
from tests.support.walk import Cell, Walk, by_name, letters, verdicts

pytest.importorskip("z3", reason="the proofs need z3-solver: pip install 'diagplan[prove]'")

NAMES = [theorem.name for theorem in THEOREMS if theorem not in CACHE_THEOREMS + SPECULATION_THEOREMS]


def product_order(v: dict[str, int], wrong: bool) -> bool:
    a, b, c = v["a"], v["b"], v["c"]
    return not ((wrong or a >= 0) and b >= c) or a * b >= a * c


def total_steps(v: dict[str, int], wrong: bool) -> bool:
    walk = Walk(v)
    k, d = (walk.k, walk.d) if wrong else (min(walk.k, walk.w), min(walk.d, walk.alone))
    return walk.total == (walk.T - 1) * d + (walk.h - 1) * k + walk.w


def no_empty_step(v: dict[str, int], wrong: bool) -> bool:
    walk = Walk(v, clamp_d=not wrong)
    return not 0 <= v["s"] < walk.total or v["s"] in walk.step.values()


def one_target_per_row(v: dict[str, int], wrong: bool) -> bool:
    walk = Walk(v)
    (f, r, c), (_, r2, c2) = walk.cell(), walk.cell("f", "r2", "c2")
    return not (wrong or r == r2) or walk.step[f, r, c] != walk.step[f, r2, c2] or c == c2


def own_predecessor(v: dict[str, int], wrong: bool) -> bool:
    walk = Walk(v)
    f, r, c = walk.cell()
    least_k = walk.w - 1 if wrong else walk.w
    return all(
        (
            c == 0 or walk.step[f, r, c - 1] == walk.step[f, r, c] - 1,
            r == 0 or ((f, r - 1, walk.w - 1) in walk.ready((f, r, 0))) == (walk.k >= least_k),
            f == 0 or ((f - 1, walk.h - 1, walk.w - 1) in walk.ready((f, 0, 0))) == (walk.d >= walk.alone),
        )
    )


def proxy_above(v: dict[str, int], wrong: bool) -> bool:
    walk = Walk(v)
    f, r, _ = walk.cell()
    return all(
        (
            r == 0 or walk.k >= walk.w or (f, r - 1, walk.k if wrong else 0) in walk.ready((f, r, 0)),
            f == 0 or (f - 1, 0, 0) in walk.ready((f, 0, 0)),
        )
    )


def proxy_latest(v: dict[str, int], wrong: bool) -> bool:
    walk = Walk(v)
    f, r, _ = walk.cell()
    k, d = min(walk.k, walk.w), min(walk.d, walk.alone)
    row = (d - 1) // k if wrong else min((d - 1) // k, walk.h - 1)
    in_row = [cell for cell in walk.ready((f, r, 0)) if cell[:2] == (f, r - 1)] if r else []
    in_frame = [cell for cell in walk.ready((f, 0, 0)) if cell[0] == f - 1]
    return all(
        (
            r == 0 or max(in_row, key=walk.step.__getitem__) == (f, r - 1, k - 1),
            f == 0 or in_frame[-1] == (f - 1, row, d - 1 - k * row),
            f == 0 or walk.step[in_frame[-1]] == max(walk.step[cell] for cell in in_frame),
        )
    )


def proxy_prompt(v: dict[str, int], wrong: bool) -> bool:
    walk = Walk(v)
    r, first = v["r"], (-walk.prompt, 0, 0)
    if not wrong and walk.prompt == 0:
        return True
    sources = [(first[0], walk.h - 1, walk.w - 1), *([(first[0], r - 1, walk.w - 1)] if r else [])]
    return all(walk.slot[first] <= walk.slot[source] < walk.slot[0, 0, 0] for source in sources)


def proxy_previous_frame(v: dict[str, int], wrong: bool) -> bool:
    walk = Walk(v)
    f, r, _ = walk.cell()
    k, d = min(walk.k, walk.w), min(walk.d, walk.alone)

    def newest(target: Cell, row: int, below: int) -> int:
        found = [cell[0] for cell in walk.ready(target) if cell[1:] == (row, walk.w - 1) and cell[0] < below]
        return max(found, default=-1)

    back = 1 if wrong else max(1, -((k - walk.w) // d))
    back2 = 1 if wrong else max(1, -(-walk.alone // d) - 1)
    return all(
        (
            r == 0 or max(f - back, -1) == newest((f, r, 0), r - 1, f),
            f == 0 or max(f - 1 - back2, -1) == newest((f, 0, 0), walk.h - 1, f - 1),
        )
    )


def proxy_above_predecessor(v: dict[str, int], wrong: bool) -> bool:
    walk = Walk(v)
    f, r, _ = walk.cell("f", "r", "r")
    if r < 2:
        return True
    claimed = walk.w - 1 if wrong else min(2 * min(walk.k, walk.w) - 1, walk.w - 1)
    return max(c for f2, r2, c in walk.ready((f, r, 0)) if (f2, r2) == (f, r - 2)) == claimed


def next_token(v: dict[str, int], wrong: bool) -> bool:
    walk = Walk(v)
    if walk.d < walk.h * walk.w or (walk.k < walk.w and not wrong):
        return True
    return walk.step[walk.cell()] == walk.cells.index(walk.cell()) and walk.total == len(walk.cells)


def clamping(v: dict[str, int], wrong: bool) -> bool:
    walk = Walk(v)
    f, r, c = walk.cell()
    at_w = Walk({**v, "k": walk.w})
    in_sequence = Walk({**v, "d": walk.alone})
    row, frame = walk.step[f, r, 0], walk.step[f, 0, 0]
    return all(
        (
            walk.k < walk.w or walk.step[f, r, c] == at_w.step[f, r, c],
            walk.d < walk.alone - wrong or walk.step[f, r, c] == in_sequence.step[f, r, c],
            r == walk.h - 1 or row < walk.step[f, r + 1, 0] <= walk.step[f, r, walk.w - 1] + 1,
            f == walk.T - 1 or frame < walk.step[f + 1, 0, 0] <= walk.step[f, walk.h - 1, walk.w - 1] + 1,
        )
    )


def zipar_llamagen_total(v: dict[str, int], wrong: bool) -> bool:
    T, h, w, window = (v[name] for name in "Thwk")
    starts = [0]
    for row in range(h - 1):
        starts.append(starts[-1] + (w if row == 0 else min(window, w)))
    alone = w if h == 1 else 2 * w + (h - 1 if wrong else h - 2) * min(window, w)
    return {alone * f + start + c for f in range(T) for start in starts for c in range(w)} == set(range(T * alone))


def r_spa(v: dict[str, int], wrong: bool) -> bool:
    walk = Walk({**v, "d": v["h"] * v["w"]})
    k = min(walk.k, walk.w)
    error = Fraction(len(walk.cells), walk.total) - Fraction(walk.h * walk.w, walk.h * k + walk.w)
    bound = Fraction(k if wrong else walk.w, walk.h * k + walk.w)
    return 0 < error <= bound and (error == bound) == (walk.k >= walk.w)


def r_diag(v: dict[str, int], wrong: bool) -> bool:
    walk = Walk({**v, "k": 1, "d": v["h"]})
    n = walk.T * walk.h + walk.w - 1
    error = Fraction(walk.w - 1 if wrong else walk.w * (walk.w - 1), n)
    return walk.total == n and walk.w - Fraction(len(walk.cells), walk.total) == error >= 0


STATEMENTS = by_name(
    product_order,
    total_steps,
    no_empty_step,
    one_target_per_row,
    own_predecessor,
    proxy_above,
    proxy_latest,
    proxy_prompt,
    proxy_previous_frame,
    proxy_above_predecessor,
    next_token,
    clamping,
    zipar_llamagen_total,
    r_spa,
    r_diag,
)


@pytest.fixture(scope="module")
def proved() -> dict[str, ProofResult]:
    return verdicts(NAMES)


@pytest.fixture(scope="module")
def disproved() -> dict[str, ProofResult]:
    return verdicts(NAMES, "wrong")


def test_every_theorem_has_a_statement_here_and_a_name_of_its_own() -> None:
    assert set(STATEMENTS) == set(NAMES)
    names = [theorem.name for theorem in THEOREMS]
    assert len(set(names)) == len(names)
    for theorem in THEOREMS:
        assert re.fullmatch(r"[a-z]+(-[a-z]+)*", theorem.name)
        assert theorem.words
        assert theorem.formula
        assert theorem.wrong


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


@given(letters(), st.tuples(*[st.integers(-5, 5)] * 3))
def test_the_statements_hold_in_a_walk(v: dict[str, int], abc: tuple[int, int, int]) -> None:
    for name, statement in STATEMENTS.items():
        at = dict(zip("abc", abc, strict=True)) if name == "product-order" else v
        assert statement(at, False), name
