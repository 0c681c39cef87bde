"""The theorems, and their false variants, against a plain walk through small plans.

Nothing here uses the closed forms of the theorems where a walk can find the same: ``Walk`` starts rows and frames by
their delays, numbers the slots by counting, and finds the newest ready token by looking at all of them.
"""

import re
from collections.abc import Callable
from fractions import Fraction
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from diagplan.planner.proofs.prover import ProofResult, prove
from diagplan.planner.proofs.theorems import THEOREMS

pytest.importorskip("z3", reason="the proofs need z3-solver: pip install 'diagplan[prove]'")

Cell = tuple[int, int, int]
NAMES = [theorem.name for theorem in THEOREMS]


class Walk:
    """A plan of one size: the step and the slot of every cell, by walking through it."""

    def __init__(self, letters: dict[str, int], *, clamp_d: bool = True) -> None:
        self.letters = letters
        # A theorem on slots alone does not mention k and d.
        self.T, self.h, self.w, self.k, self.d = (letters.get(name, 1) for name in "Thwkd")
        self.b_r, self.b_f = letters.get("b_r", 0), letters.get("b_f", 0)
        self.prompt = letters.get("P", 0)
        self.step: dict[Cell, int] = {}
        frame_start = 0
        for f in range(self.T):
            row_start = frame_start
            for r in range(self.h):
                self.step.update({(f, r, c): row_start + c for c in range(self.w)})
                row_start += min(self.k, self.w)
            ended = self.step[f, self.h - 1, self.w - 1] + 1
            frame_start = min(frame_start + self.d, ended) if clamp_d else frame_start + self.d
        self.cells = list(self.step)
        self.slot: dict[Cell, int] = {}
        self.given: list[tuple[int, int, int]] = []  # slot, frame that it stands in front of, index in its block
        at = -self.prompt * (self.h * (self.w + self.b_r) - self.b_r + self.b_f)
        for f in range(-self.prompt, self.T):
            for r in range(self.h):
                for c in range(self.w):
                    self.slot[f, r, c] = at
                    at += 1
                at += self.b_r if r < self.h - 1 else 0
            self.given.extend((at + j, f + 1, j) for j in range(self.b_f))
            at += self.b_f

    @property
    def total(self) -> int:
        return max(self.step.values()) + 1

    @property
    def alone(self) -> int:
        return max(step for (f, _, _), step in self.step.items() if f == 0) + 1

    def cell(self, f: str = "f", r: str = "r", c: str = "c") -> Cell:
        return self.letters[f], self.letters[r], self.letters[c]

    def ready(self, target: Cell) -> list[Cell]:
        """The cells known when ``target`` is predicted, in raster order."""
        return [cell for cell in self.cells if self.step[cell] < self.step[target]]

    def successor(self, cell: Cell) -> Cell | None:
        return next((b for a, b in pairwise(self.cells) if a == cell), None)

    def follows_directly(self, cell: Cell) -> bool:
        following = self.successor(cell)
        return following is not None and self.slot[following] == self.slot[cell] + 1


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


#: For each theorem: does it (or its false variant) hold at these values? Values outside its assumptions count as yes.
STATEMENTS: dict[str, Callable[[dict[str, int], bool], bool]] = {
    statement.__name__.replace("_", "-"): statement
    for statement in (
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
        raster_order,
        one_position_per_step,
        refresh_after_proxy,
        refresh_adds_no_step,
        mask_row_visible,
        mask_row_hidden,
        mask_row_given,
    )
}


@pytest.fixture(scope="module")
def proved() -> dict[str, ProofResult]:
    return {result.name: result for result in prove()}


@pytest.fixture(scope="module")
def disproved() -> dict[str, ProofResult]:
    return {result.name: result for result in prove(variant="wrong")}


@st.composite
def letters(draw: st.DrawFn) -> dict[str, int]:
    def one(least: int, most: int) -> int:
        return draw(st.integers(least, most))

    v = {"T": one(1, 4), "h": one(1, 4), "w": one(1, 5), "k": one(1, 6), "d": one(1, 20)}
    v |= {"b_r": one(0, 2), "b_f": one(0, 3), "P": one(0, 2), "s": one(0, 80), "g": one(1, 4), "j": one(0, 2)}
    v |= {"f": one(0, v["T"] - 1), "r": one(0, v["h"] - 1), "c": one(0, v["w"] - 1)}
    v |= {"f2": one(0, v["T"] - 1), "r2": one(0, v["h"] - 1), "c2": one(0, v["w"] - 1)}
    return v


def test_every_theorem_has_a_statement_here_and_a_name_of_its_own() -> None:
    assert set(STATEMENTS) == set(NAMES)
    assert len(set(NAMES)) == len(NAMES)
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
