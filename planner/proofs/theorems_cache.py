"""Theorems about cache slots: their order, who writes them when, and what a mask row reaches.

The letters are those of ``symbols.py``. A query for target t = (f, r, c) sits at position p = slot(t) - 1 and runs
in step s = step(t). A cell's slot is first written by the feed of the next cell, its successor (as the own
predecessor, or by a proxy); under ``refresh`` a token is fed in the step after it was generated.
"""

from typing import Any

from diagplan.planner.proofs.symbols import Claim, Expr, Slots, Theorem, Use, Wavefront, before, larger, smaller

__all__ = ["CACHE_THEOREMS"]

Cell = tuple[Expr, Expr, Expr]


def _cells(z: Any) -> tuple[Cell, Cell]:
    f, r, c, f2, r2, c2 = z.Ints("f r c f2 r2 c2")
    return (f, r, c), (f2, r2, c2)


def _in_order(a: Cell, b: Cell) -> Use:
    """Raster order for these two cells: a before b gives slot(a) < slot(b)."""
    return Use(lemma="raster-order", where=dict(zip(("f", "r", "c", "f2", "r2", "c2"), (*a, *b), strict=True)))


def _raster_order(z: Any, wrong: bool) -> Claim:
    v = Wavefront(z)
    slots = Slots(z, v)
    a, b = _cells(z)
    stride = v.h * v.w + slots.between_frames if wrong else slots.frame_stride

    def slot(cell: Cell) -> Expr:
        return stride * cell[0] + slots.row_stride * cell[1] + cell[2]

    return Claim(
        given=(v.T >= 1, v.h >= 1, v.w >= 1, *slots.given, v.has(*a), v.has(*b), before(z, a, b)),
        show=(slot(a) < slot(b),),
        using=(
            Use(lemma="product-order", where={"a": slots.row_stride, "b": b[1], "c": a[1] + 1}),
            Use(lemma="product-order", where={"a": slots.row_stride, "b": v.h - 1, "c": a[1]}),
            Use(lemma="product-order", where={"a": slots.row_stride, "b": b[1], "c": z.IntVal(0)}),
            Use(lemma="product-order", where={"a": slots.row_stride, "b": v.h, "c": z.IntVal(1)}),
            Use(lemma="product-order", where={"a": slots.frame_stride, "b": b[0], "c": a[0] + 1}),
        ),
    )


def _one_position_per_step(z: Any, wrong: bool) -> Claim:
    v = Wavefront(z)
    slots = Slots(z, v)
    a, b = _cells(z)
    # a comes first, so its slot can be the position of b but not the other way round.
    positions_differ = slots.slot(*b) - 1 != (slots.slot(*a) if wrong else slots.slot(*a) - 1)
    return Claim(
        given=(*v.given, *slots.given, v.has(*a), v.has(*b), v.step(*a) == v.step(*b), before(z, a, b)),
        show=(positions_differ,),
        using=(_in_order(a, b),),
    )


def _refresh_after_proxy(z: Any, wrong: bool) -> Claim:
    v = Wavefront(z)
    slots = Slots(z, v)
    (f, r, _), writer = _cells(z)
    end = (f, r, v.w - 1)
    # The cell after the row's last one in raster order: the next row's first, or the next frame's.
    next_f, next_r = z.Ints("f' r'")
    following = (next_f, next_r, z.IntVal(0))
    generated = v.step(*end)
    refresh = generated if wrong else generated + 1
    return Claim(
        given=(
            *v.given,
            *slots.given,
            v.has(*end),
            v.has(*writer),
            next_f == z.If(r < v.h - 1, f, f + 1),
            next_r == z.If(r < v.h - 1, r + 1, 0),
            slots.slot(*writer) - 1 == slots.slot(*end),  # its feed writes the slot of the row's last cell
        ),
        show=(
            z.And(writer[0] == next_f, writer[1] == next_r, writer[2] == 0),
            z.Implies(v.step(*writer) <= generated, v.step(*writer) < refresh),
            z.Implies(v.step(*writer) > generated, v.step(*writer) == generated + 1),
        ),
        using=(
            _in_order(end, writer),
            _in_order(writer, end),
            _in_order(writer, following),
            _in_order(following, writer),
        ),
    )


def _refresh_adds_no_step(z: Any, wrong: bool) -> Claim:
    v = Wavefront(z)
    cell, _ = _cells(z)
    # The last frame's last row end has no successor and is never fed; the false variant feeds it too.
    last = z.And(cell[0] == v.T - 1, cell[1] == v.h - 1, cell[2] == v.w - 1)
    return Claim(
        given=(*v.given, v.has(*cell), *(() if wrong else (z.Not(last),))),
        show=(v.step(*cell) + 1 < v.total,),
        using=(
            Use(lemma="product-order", where={"a": v.row_delay, "b": v.h - 1, "c": cell[1]}),
            Use(lemma="product-order", where={"a": v.row_delay, "b": v.h - 2, "c": cell[1]}),
            Use(lemma="product-order", where={"a": v.frame_delay, "b": v.T - 1, "c": cell[0]}),
            Use(lemma="product-order", where={"a": v.frame_delay, "b": v.T - 2, "c": cell[0]}),
        ),
    )


def _next_start(z: Any, v: Wavefront, cell: Cell) -> Expr:
    """The step in which the row after the cell's starts: the next row, or the next frame's first."""
    return z.If(cell[1] < v.h - 1, v.step(cell[0], cell[1] + 1, 0), v.step(cell[0] + 1, 0, 0))


def _mask_row_visible(z: Any, wrong: bool) -> Claim:
    v = Wavefront(z)
    slots = Slots(z, v)
    query, seen = _cells(z)
    s, p = v.step(*query), slots.slot(*query) - 1
    row_end = seen[2] == v.w - 1
    written = z.If(row_end, _next_start(z, v, seen), v.step(*seen) + 1)
    since = s - v.step(seen[0], seen[1], 0) + (1 if wrong else 0)
    earlier_row = z.Or(seen[0] < query[0], z.And(seen[0] == query[0], seen[1] < query[1]))
    own_row = z.And(seen[0] == query[0], seen[1] == query[1])
    runs = z.If(
        earlier_row,
        z.Or(seen[2] < smaller(z, larger(z, since, z.IntVal(0)), v.w - 1), z.And(row_end, written <= s)),
        z.And(own_row, seen[2] < query[2]),
    )
    directly = z.If(seen[1] < v.h - 1, slots.between_rows == 0, slots.between_frames == 0)
    return Claim(
        given=(*v.given, *slots.given, v.has(*query), v.has(*seen), z.Implies(row_end, directly)),
        show=(runs == z.And(slots.slot(*seen) <= p, written <= s),),
        using=(_in_order(seen, query), _in_order(query, seen)),
    )


def _mask_row_hidden(z: Any, wrong: bool) -> Claim:
    v = Wavefront(z)
    slots = Slots(z, v)
    query, seen = _cells(z)
    s, p, q = v.step(*query), slots.slot(*query) - 1, slots.slot(*seen)
    refreshed = v.step(*seen) + 1
    directly = z.If(seen[1] < v.h - 1, slots.between_rows == 0, slots.between_frames == 0)
    written = z.If(z.And(seen[2] == v.w - 1, directly), _next_start(z, v, seen), refreshed)
    holds_proxy = z.And(written < refreshed, s < refreshed)
    since = s - v.step(seen[0], seen[1], 0)
    earlier_row = z.Or(seen[0] < query[0], z.And(seen[0] == query[0], seen[1] < query[1]))
    own_row = z.And(seen[0] == query[0], seen[1] == query[1])
    run = seen[2] < smaller(z, larger(z, since, z.IntVal(0)), v.w)
    reached = run if wrong else z.If(earlier_row, run, z.And(own_row, seen[2] < query[2]))
    described = z.Or(q == p, reached)
    rule = z.And(q <= p, written <= s, z.Or(q == p, z.Not(holds_proxy)))
    return Claim(
        given=(*v.given, *slots.given, v.has(*query), v.has(*seen)),
        # Each case in a query of its own: older releases of Z3 are slow on all at once.
        show=(
            z.Implies(seen[2] < v.w - 1, described == rule),
            z.Implies(z.And(seen[2] == v.w - 1, seen[1] < v.h - 1), described == rule),
            z.Implies(z.And(seen[2] == v.w - 1, seen[1] == v.h - 1), described == rule),
        ),
        using=(_in_order(seen, query), _in_order(query, seen)),
    )


def _mask_row_given(z: Any, wrong: bool) -> Claim:
    v = Wavefront(z)
    slots = Slots(z, v)
    query, _ = _cells(z)
    g, j = z.Ints("g j")  # token j of the block in front of frame g
    s, p = v.step(*query), slots.slot(*query) - 1
    written = v.step(g, 0, 0)
    position = slots.slot(g, 0, 0) - slots.between_frames + j
    described = written <= s if wrong else g <= query[0]
    first, last = (g, z.IntVal(0), z.IntVal(0)), (g - 1, v.h - 1, v.w - 1)
    return Claim(
        given=(*v.given, *slots.given, v.has(*query), g >= 1, g < v.T, j >= 0, j < slots.between_frames),
        show=(described == z.And(position <= p, written <= s),),
        using=(
            _in_order(first, query),
            _in_order(query, last),
            Use(lemma="product-order", where={"a": v.frame_delay, "b": query[0], "c": g}),
            Use(lemma="product-order", where={"a": v.row_delay, "b": query[1], "c": z.IntVal(0)}),
        ),
    )


CACHE_THEOREMS: tuple[Theorem, ...] = (
    Theorem(
        name="raster-order",
        words="slots follow raster order, so two cells never share a slot",
        formula="(f,r,c) before (f2,r2,c2) => slot(f,r,c) < slot(f2,r2,c2); "
        "slot = S_f f + S_r r + c, S_r = w + b_r, S_f = h S_r - b_r + b_f",
        wrong="the same with frame stride h w + b_f, which forgets the given tokens between rows",
        build=_raster_order,
    ),
    Theorem(
        name="one-position-per-step",
        words="no two targets of a step have the same cache position",
        formula="step(t) = step(t2), t != t2 => slot(t) - 1 != slot(t2) - 1",
        wrong="no target of a step lies at the position of another one",
        build=_one_position_per_step,
    ),
    Theorem(
        name="refresh-after-proxy",
        words="only its successor's feed and its refresh write a row's last slot: a proxy before the refresh in "
        "step(token) + 1, the token itself exactly in it",
        formula="slot(t) - 1 = slot(f,r,w-1) => t = successor, and step(t) < step(f,r,w-1) + 1 for a proxy, "
        "step(t) = step(f,r,w-1) + 1 without",
        wrong="the refresh may run in the very step that generates the token",
        build=_refresh_after_proxy,
    ),
    Theorem(
        name="refresh-adds-no-step",
        words="every token but the last of all can be fed in the step after it was generated, and no step is added",
        formula="t != (T-1,h-1,w-1) => step(t) + 1 < (T-1) d' + (h-1) k' + w",
        wrong="the last token of all can be fed too",
        build=_refresh_adds_no_step,
    ),
    Theorem(
        name="mask-row-visible",
        words="visible proxies: of the cells that the next cell follows directly, the slots q <= p written at a step "
        "<= s are, of each earlier row, a run that grows by one column a step plus the last column once the next row "
        "has started, of the own row the columns before c, and nothing else",
        formula="q <= p and written(q) <= s <=> earlier row: c2 < clamp(s - d' f2 - k' r2, 0, w-1) or (c2 = w-1 and "
        "next row's start <= s); own row: c2 < c; later rows: never",
        wrong="the run is one column longer: it reaches a slot that is written later",
        build=_mask_row_visible,
    ),
    Theorem(
        name="mask-row-hidden",
        words="hidden proxies under refresh: besides p itself a query sees, of each earlier row, one run that grows by "
        "one column a step, of the own row the columns before c, and nothing else",
        formula="q <= p and written(q) <= s and (q = p or q holds no proxy at s) <=> q = p or earlier row: "
        "c2 < clamp(s - d' f2 - k' r2, 0, w); own row: c2 < c; later rows: never",
        wrong="the run alone is the rule for every row: it reaches slots beyond the position",
        build=_mask_row_hidden,
    ),
    Theorem(
        name="mask-row-given",
        words="of the given tokens between frames, fed as the next frame starts, a query sees exactly the blocks in "
        "front of its own and of earlier frames",
        formula="block in front of frame g: q <= p and d' g <= s <=> g <= f",
        wrong="a query sees every block that has been written, d' g <= s",
        build=_mask_row_given,
    ),
)
