"""Theorems about speculative replay (docs/exact.md): progress, its bound, what accepted feeds saw, padding.

A plan's entries are its feeds in the order of their steps, numbered from 0 to N - 1. A pass feeds the run a to e - 1,
of which a are accepted already, so e = min(a + n, N) with a window of n. Step s holds the entries p to q - 1, so steps
are runs that do not overlap. A source that is not known is chosen by an entry of an earlier step, its decider: the
checker's rule DP204. Entry x sees entry y only if y <= x. What a pass makes of its run follows by induction from these.
"""

from typing import Any

from diagplan.planner.proofs.symbols import Claim, Expr, Theorem, Use, smaller

__all__ = ["SPECULATION_THEOREMS"]


def _window(z: Any) -> tuple[tuple[Expr, ...], Expr, Expr, Expr]:
    """The run of a pass: what is assumed of it, the first entry, its end, and the window."""
    a, e, n, total = z.Ints("a e n N")
    return (n >= 1, a >= 0, a < total, e == smaller(z, a + n, total)), a, e, n


def _pending_step(z: Any, a: Expr) -> tuple[tuple[Expr, ...], Expr, Expr]:
    """The step of the first entry that is not accepted, p to q - 1."""
    p, q, total = z.Ints("p q N")
    return (p >= 0, p <= a, a < q, q <= total), p, q


def _progress(z: Any, wrong: bool) -> Claim:
    run, a, e, n = _window(z)
    pending, p, q = _pending_step(z, a)
    x, d, start, end = z.Ints("x d p2 q2")  # an entry that was fed a wrong id, its decider, and its step
    apart = z.Or(z.And(start == p, end == q), end <= p, start >= q)
    # What is known cannot be wrong; so the decider is pending, and of an earlier step than x.
    decided = (d >= a, d < x) if wrong else (d >= a, d < start)
    return Claim(
        given=(*run, *pending, a <= x, x < e, start <= x, x < end, start >= 0, apart, *decided),
        show=(x >= q, z.And(x > a, e > a), z.And(smaller(z, q, a + n) <= x, smaller(z, q, a + n) <= e)),
    )


def _passes_of_step(z: Any, wrong: bool) -> Claim:
    a, b, q, n, left, after = z.Ints("a b q n c c2")  # b: what is accepted after the pass
    return Claim(
        given=(
            n >= 1,
            a >= 0,
            a < q,
            (left - 1) * n < q - a,
            q - a <= left * n,
            b >= (smaller(z, a + n - 1, q) if wrong else smaller(z, a + n, q)),
            b < q,
            (after - 1) * n < q - b,
            q - b <= after * n,
        ),
        show=(after <= left - 1, left >= 1),
        using=(
            Use(lemma="product-order", where={"a": n, "b": after - 1, "c": left - 1}),
            Use(lemma="product-order", where={"a": n, "b": z.IntVal(0), "c": left}),
        ),
    )


def _later_step(z: Any, wrong: bool) -> Claim:
    p, q, b, n, whole, left = z.Ints("p q b n c c2")
    return Claim(
        given=(
            n >= 1,
            *(() if wrong else (p <= b,)),
            b < q,
            (whole - 1) * n < q - p,
            q - p <= whole * n,
            (left - 1) * n < q - b,
            q - b <= left * n,
        ),
        show=(left <= whole,),
        using=(Use(lemma="product-order", where={"a": n, "b": left - 1, "c": whole}),),
    )


def _clean_reads(z: Any, wrong: bool) -> Claim:
    run, a, e, _ = _window(z)
    b, x, y, bad, position = z.Ints("b x y w P")
    row_of_bad = position if wrong else bad  # a row for each position: a wrong id may stand at that of y
    return Claim(
        given=(
            *run,
            # bad is any entry of the run that was fed a wrong id, and b is not beyond the first such.
            a <= bad,
            bad < e,
            a <= b,
            b <= bad,
            # x is accepted by this pass and sees y, or sees what sees y.
            a <= x,
            x < b,
            y >= 0,
            y <= x,
        ),
        show=(
            z.Or(y < a, z.And(a <= y, y < e)),  # accepted before, or fed in this very pass
            y != bad,
            row_of_bad != y,
        ),
    )


def _stale_rows(z: Any, wrong: bool) -> Claim:
    run, a, e, _ = _window(z)
    last, before, x, y = z.Ints("a0 e0 x y")  # the pass before fed a0 to e0 - 1 and left a accepted
    first = a + 1 if wrong else a  # a pass that leaves the first pending entry out
    return Claim(
        given=(*run, last >= 0, last <= a, a <= before, first <= x, x < e, a <= y, y < before, y <= x),
        show=(z.And(first <= y, y < e),),
    )


def _padding(z: Any, wrong: bool) -> Claim:
    run, a, e, n = _window(z)
    total, unwritten, feed, x, y = z.Ints("N U i x y")
    trash = total - 1 if wrong else total + unwritten
    return Claim(
        given=(*run, unwritten >= 0, feed >= 0, feed < n, a <= x, x < e, y >= 0, y <= x),
        show=(
            z.Implies(a + feed >= e, a + feed >= total),  # a feed behind the run is padding: there is no such entry
            trash != y,
            z.And(trash >= total, trash >= total + unwritten),
        ),
    )


SPECULATION_THEOREMS: tuple[Theorem, ...] = (
    Theorem(
        name="speculation-progress",
        words="whatever is guessed, no entry of the first pending step is fed a wrong id: a pass completes that step, "
        "or accepts as many entries as its window has, and at least one",
        formula="p <= a < q, a <= x < min(a+n, N), x in [p2, q2), decider(x) >= a in an earlier step => "
        "x >= q, so min(x, e) >= min(q, a+n) > a",
        wrong="the same where an entry may feed what its own step chooses",
        build=_progress,
    ),
    Theorem(
        name="speculation-step-passes",
        words="while a step is pending, each pass takes one off the passes that it still needs, its entries over the "
        "window, rounded up: it takes no more than that",
        formula="b >= min(a+n, q), b < q => ceil((q-b)/n) <= ceil((q-a)/n) - 1",
        wrong="the same if a pass accepts one entry less than its window has",
        build=_passes_of_step,
    ),
    Theorem(
        name="speculation-later-steps",
        words="a step of which some entries are accepted already needs no more passes than a whole one: so all passes "
        "are at most the sum over the steps of their entries over the window, rounded up",
        formula="p <= b < q => ceil((q-b)/n) <= ceil((q-p)/n)",
        wrong="the same for a step of which entries were taken back",
        build=_later_step,
    ),
    Theorem(
        name="speculation-clean-reads",
        words="no accepted entry saw a row of a wrong id, directly or through other rows: what it sees was accepted "
        "before, or fed in the same pass, before the first wrong id",
        formula="x < b <= w, y <= x => y < a or a <= y < e; y != w, row(w) != row(y), row(x) = x",
        wrong="the same with a row for each position, where the entry of a wrong id may have that of another",
        build=_clean_reads,
    ),
    Theorem(
        name="speculation-stale-rows",
        words="what a pass left rejected is fed again by the next one before anybody sees it",
        formula="a <= y < e0, y <= x, a <= x < e => a <= y < e",
        wrong="the same if a pass leaves out the first entry that is not accepted",
        build=_stale_rows,
    ),
    Theorem(
        name="speculation-padding",
        words="padding stands for no entry, and nobody sees the row that it writes",
        formula="a + i >= e, i < n => a + i >= N; y <= x < e <= N <= N + U = trash => y != trash",
        wrong="the same if padding writes the last entry's row",
        build=_padding,
    ),
)
