"""The theorems about every diagonal plan: steps, sources, special cases, speed-ups; and the table of all.

Each is a claim over unbounded integers, for any T, h, w, k, d of at least 1, and each has a false variant next to
it, a plausible slip, which shows that the claim can fail. The letters are those of ``symbols.py``; ``prover.py``
runs the table.
"""

from typing import Any

from diagplan.planner.proofs.symbols import Claim, Slots, Theorem, Use, Wavefront, before, larger, smaller
from diagplan.planner.proofs.theorems_cache import CACHE_THEOREMS
from diagplan.planner.proofs.theorems_speculation import SPECULATION_THEOREMS

__all__ = ["THEOREMS"]


def _product_order(z: Any, wrong: bool) -> Claim:
    a, b, c = z.Ints("a b c")
    return Claim(given=(b >= c,) if wrong else (a >= 0, b >= c), show=(a * b >= a * c,))


def _total_steps(z: Any, wrong: bool) -> Claim:
    v = Wavefront(z)
    f, r, c = z.Ints("f r c")
    last = (v.T - 1, v.h - 1, v.w - 1)
    total = (v.T - 1) * v.d + (v.h - 1) * v.k + v.w if wrong else v.total
    return Claim(
        given=(*v.given, v.has(f, r, c)),
        show=(v.step(f, r, c) >= 0, v.step(f, r, c) < total, z.And(v.has(*last), v.step(*last) == total - 1)),
    )


def _no_empty_step(z: Any, wrong: bool) -> Claim:
    v = Wavefront(z, clamp_d=not wrong)
    s, f, r, c = z.Ints("s f r c")
    return Claim(
        given=(
            *v.given,
            s >= 0,
            s < v.total,
            # The witness: the newest frame started, its newest row started, and the column left over.
            f == smaller(z, s / v.frame_delay, v.T - 1),
            r == smaller(z, (s - v.frame_delay * f) / v.row_delay, v.h - 1),
            c == s - v.frame_delay * f - v.row_delay * r,
        ),
        show=(v.has(f, r, c), v.step(f, r, c) == s),
    )


def _one_target_per_row(z: Any, wrong: bool) -> Claim:
    v = Wavefront(z)
    f, r, c, r2, c2 = z.Ints("f r c r2 c2")
    same_row = () if wrong else (r == r2,)
    return Claim(
        given=(*v.given, v.has(f, r, c), v.has(f, r2, c2), *same_row, v.step(f, r, c) == v.step(f, r2, c2)),
        show=(c == c2,),
    )


def _own_predecessor(z: Any, wrong: bool) -> Claim:
    v = Wavefront(z)
    f, r, c = z.Ints("f r c")
    complete = v.row_delay >= v.w - 1 if wrong else v.row_delay == v.w
    return Claim(
        given=(*v.given, v.has(f, r, c)),
        show=(
            z.Implies(c >= 1, v.step(f, r, c - 1) == v.step(f, r, c) - 1),
            z.Implies(r >= 1, v.ready((f, r - 1, v.w - 1), (f, r, 0)) == complete),
            z.Implies(f >= 1, v.ready((f - 1, v.h - 1, v.w - 1), (f, 0, 0)) == (v.frame_delay == v.frame_steps)),
        ),
    )


def _proxy_above(z: Any, wrong: bool) -> Claim:
    v = Wavefront(z)
    f, r, c = z.Ints("f r c")
    column = v.row_delay if wrong else 0
    return Claim(
        given=(*v.given, v.has(f, r, c)),
        show=(
            z.Implies(z.And(r >= 1, v.row_delay < v.w), v.ready((f, r - 1, column), (f, r, 0))),
            z.Implies(f >= 1, v.ready((f - 1, 0, 0), (f, 0, 0))),
        ),
    )


def _proxy_latest(z: Any, wrong: bool) -> Claim:
    v = Wavefront(z)
    f, r, c, r2, c2, row, col = z.Ints("f r c r2 c2 R C")
    row_start, newest = (f, r, 0), (f, r - 1, v.row_delay - 1)
    frame_start, newest_of_frame = (f, 0, 0), (f - 1, row, col)
    started = (v.frame_delay - 1) / v.row_delay
    return Claim(
        given=(
            *v.given,
            v.has(f, r, c),
            row == (started if wrong else smaller(z, started, v.h - 1)),
            col == v.frame_delay - 1 - v.row_delay * row,
        ),
        show=(
            z.Implies(r >= 1, z.And(v.has(*newest), v.step(*newest) == v.step(*row_start) - 1)),
            z.Implies(f >= 1, z.And(v.has(*newest_of_frame), v.step(*newest_of_frame) == v.step(*frame_start) - 1)),
            z.Implies(
                z.And(f >= 1, v.ready((f - 1, r2, c2), frame_start)),
                z.Not(before(z, newest_of_frame, (f - 1, r2, c2))),
            ),
        ),
    )


def _proxy_prompt(z: Any, wrong: bool) -> Claim:
    v = Wavefront(z)
    slots = Slots(z, v)
    f, r, c, frames = z.Ints("f r c P")
    first = slots.slot(-frames, 0, 0)
    row_source, frame_source = slots.slot(-frames, r - 1, v.w - 1), slots.slot(-frames, v.h - 1, v.w - 1)
    return Claim(
        given=(*v.given, *slots.given, v.has(f, r, c), frames >= (0 if wrong else 1)),
        show=(
            z.Implies(r >= 1, z.And(first <= row_source, row_source < 0)),
            z.And(first <= frame_source, frame_source < 0),
        ),
        using=(
            Use(lemma="product-order", where={"a": slots.row_stride, "b": r - 1, "c": z.IntVal(0)}),
            Use(lemma="product-order", where={"a": slots.row_stride, "b": v.h - 1, "c": r}),
            Use(lemma="product-order", where={"a": slots.row_stride, "b": v.h - 1, "c": z.IntVal(0)}),
            Use(lemma="product-order", where={"a": slots.frame_stride, "b": frames, "c": z.IntVal(1)}),
        ),
    )


def _proxy_previous_frame(z: Any, wrong: bool) -> Claim:
    v = Wavefront(z)
    f, r, c, i, back, back2 = z.Ints("f r c i j j2")
    row_start, frame_start = (f, r, 0), (f, 0, 0)
    # The least number of frames to go back: the ceiling of (w - k') / d', that of F / d' less the one frame between.
    row_back = (v.w - v.row_delay + v.frame_delay - 1) / v.frame_delay
    frame_back = (v.frame_steps + v.frame_delay - 1) / v.frame_delay - 1
    return Claim(
        given=(
            *v.given,
            v.has(f, r, c),
            back == (1 if wrong else larger(z, z.IntVal(1), row_back)),
            back2 == (1 if wrong else larger(z, z.IntVal(1), frame_back)),
        ),
        show=(
            z.Implies(z.And(r >= 1, back <= f), v.ready((f - back, r - 1, v.w - 1), row_start)),
            z.Implies(z.And(r >= 1, i >= 1, i < back), z.Not(v.ready((f - i, r - 1, v.w - 1), row_start))),
            z.Implies(z.And(f >= 1, back2 < f), v.ready((f - 1 - back2, v.h - 1, v.w - 1), frame_start)),
            z.Implies(z.And(f >= 1, i >= 1, i < back2), z.Not(v.ready((f - 1 - i, v.h - 1, v.w - 1), frame_start))),
        ),
    )


def _proxy_above_predecessor(z: Any, wrong: bool) -> Claim:
    v = Wavefront(z)
    f, r, c2, column = z.Ints("f r c2 C")
    start = (f, r, 0)
    return Claim(
        given=(
            *v.given,
            v.has(*start),
            r >= 2,
            column == (v.w - 1 if wrong else smaller(z, 2 * v.row_delay - 1, v.w - 1)),
        ),
        show=(
            v.ready((f, r - 2, column), start),
            z.Implies(v.ready((f, r - 2, c2), start), c2 <= column),
        ),
    )


def _next_token(z: Any, wrong: bool) -> Claim:
    v = Wavefront(z)
    f, r, c = z.Ints("f r c")
    whole_rows = () if wrong else (v.k >= v.w,)
    return Claim(
        given=(*v.given, v.has(f, r, c), v.d >= v.h * v.w, *whole_rows),
        show=(v.step(f, r, c) == (f * v.h + r) * v.w + c, v.total == v.T * v.h * v.w),
    )


def _clamping(z: Any, wrong: bool) -> Claim:
    v = Wavefront(z)
    f, r, c = z.Ints("f r c")
    in_sequence = v.d >= (v.frame_steps - 1 if wrong else v.frame_steps)
    return Claim(
        given=(*v.given, v.has(f, r, c)),
        show=(
            z.Implies(v.k >= v.w, v.step(f, r, c) == v.frame_delay * f + v.w * r + c),
            z.Implies(in_sequence, v.step(f, r, c) == v.frame_steps * f + v.row_delay * r + c),
            z.And(v.step(f, r, 0) < v.step(f, r + 1, 0), v.step(f, r + 1, 0) <= v.step(f, r, v.w - 1) + 1),
            z.And(v.step(f, 0, 0) < v.step(f + 1, 0, 0), v.step(f + 1, 0, 0) <= v.step(f, v.h - 1, v.w - 1) + 1),
        ),
    )


def _zipar_llamagen_total(z: Any, wrong: bool) -> Claim:
    v = Wavefront(z)  # its k is the window, so k' = min(window, w)
    f, r, c, s = z.Ints("f r c s")
    f2, r2, c2, alone = z.Ints("f2 r2 c2 N")

    def step(f: Any, r: Any, c: Any) -> Any:
        return alone * f + z.If(r == 0, c, v.w + v.row_delay * (r - 1) + c)

    rest = s - alone * f2
    return Claim(
        given=(
            *v.given,
            v.has(f, r, c),
            alone == z.If(v.h == 1, v.w, 2 * v.w + (v.h - (1 if wrong else 2)) * v.row_delay),
            s >= 0,
            s < v.T * alone,
            # The witness for step s, as in no-empty-step.
            f2 == s / alone,
            r2 == z.If(rest < v.w, 0, 1 + smaller(z, (rest - v.w) / v.row_delay, v.h - 2)),
            c2 == rest - z.If(r2 == 0, 0, v.w + v.row_delay * (r2 - 1)),
        ),
        show=(
            z.And(step(f, r, c) >= 0, step(f, r, c) < v.T * alone),
            step(v.T - 1, v.h - 1, v.w - 1) == v.T * alone - 1,
            z.And(v.has(f2, r2, c2), step(f2, r2, c2) == s),
        ),
    )


def _r_spa(z: Any, wrong: bool) -> Claim:
    v = Wavefront(z)
    exact, approx = v.frame_steps, v.h * v.row_delay + v.w  # the denominators under h w
    error = v.h * v.w * approx - v.h * v.w * exact  # times exact * approx, as the bound below
    bound = (v.row_delay if wrong else v.w) * exact
    return Claim(
        given=(*v.given, v.d >= v.frame_steps),
        show=(
            v.h * v.w * v.total == v.T * v.h * v.w * exact,
            error > 0,
            error <= bound,
            (error == bound) == (v.k >= v.w),
        ),
        using=(
            Use(lemma="product-order", where={"a": v.h * v.w, "b": approx, "c": exact + 1}),
            Use(lemma="product-order", where={"a": v.h, "b": v.w, "c": z.IntVal(1)}),
            Use(lemma="product-order", where={"a": v.w, "b": v.w, "c": v.row_delay}),
            Use(lemma="product-order", where={"a": v.w, "b": v.w, "c": v.row_delay + 1}),
        ),
    )


def _r_diag(z: Any, wrong: bool) -> Claim:
    v = Wavefront(z)
    exact = v.T * v.h + v.w - 1  # the denominator under T h w
    bound = v.w - 1 if wrong else v.w * (v.w - 1)
    return Claim(
        given=(*v.given, v.k == 1, v.d == v.h),
        show=(
            v.total == exact,
            v.w * exact - v.T * v.h * v.w == bound,
            bound >= 0,
        ),
        using=(Use(lemma="product-order", where={"a": v.w, "b": v.w, "c": z.IntVal(1)}),),
    )


THEOREMS: tuple[Theorem, ...] = (
    Theorem(
        name="product-order",
        words="multiplying by a number that is not negative keeps order (a lemma for the others)",
        formula="a >= 0, b >= c => a b >= a c",
        wrong="so does multiplying by any number",
        build=_product_order,
    ),
    Theorem(
        name="total-steps",
        words="the steps run from 0 to (T-1) d' + (h-1) k' + w - 1, and the last cell is generated in the last",
        formula="0 <= step(f,r,c) < (T-1) d' + (h-1) k' + w = step(T-1,h-1,w-1) + 1",
        wrong="the total is (T-1) d + (h-1) k + w, without the clamping",
        build=_total_steps,
    ),
    Theorem(
        name="no-empty-step",
        words="every step generates at least one token",
        formula="0 <= s < total => s = step(f,r,c), f = min(s div d', T-1), r = min((s - d' f) div k', h-1)",
        wrong="the same with d in place of d': a gap opens between frames",
        build=_no_empty_step,
    ),
    Theorem(
        name="one-target-per-row",
        words="no two targets of one row share a step",
        formula="step(f,r,c) = step(f,r,c2) => c = c2",
        wrong="nor do two targets of one frame in different columns",
        build=_one_target_per_row,
    ),
    Theorem(
        name="own-predecessor",
        words="within a row the predecessor is generated one step earlier; at a row start it is known exactly if "
        "k' = w, at a frame start exactly if d' = F: elsewhere only a proxy can be fed",
        formula="step(f,r,c-1) = step(f,r,c) - 1; step(f,r-1,w-1) < step(f,r,0) <=> k' = w; "
        "step(f-1,h-1,w-1) < step(f,0,0) <=> d' = F",
        wrong="at a row start it is known from k' = w - 1 on",
        build=_own_predecessor,
    ),
    Theorem(
        name="proxy-above",
        words="policy above: the token over a row start, and the first token of the frame before, are known earlier",
        formula="step(f,r-1,0) < step(f,r,0); step(f-1,0,0) < step(f,0,0)",
        wrong="so is the token k' columns to the right of the one above",
        build=_proxy_above,
    ),
    Theorem(
        name="proxy-latest",
        words="policy latest: the newest token of row r-1 is (f,r-1,k'-1), generated in the step just before the row "
        "start; the last ready cell of frame f-1 in raster order is (f-1,R,C), generated in the step just before the "
        "frame start, so none is newer",
        formula="R = min((d'-1) div k', h-1), C = d' - 1 - k' R: step(f,r-1,k'-1) = step(f,r,0) - 1, "
        "step(f-1,R,C) = step(f,0,0) - 1; step(f-1,r2,c2) < step(f,0,0) => (f-1,r2,c2) not after (f-1,R,C)",
        wrong="R = (d'-1) div k', without the last row as its limit",
        build=_proxy_latest,
    ),
    Theorem(
        name="proxy-prompt",
        words="policy prompt: with at least one prompt frame, the source lies in it, before every generated cell",
        formula="P >= 1 => slot(-P,0,0) <= slot(-P,r-1,w-1), slot(-P,h-1,w-1) < slot(0,0,0)",
        wrong="the same without a prompt frame, P >= 0",
        build=_proxy_prompt,
    ),
    Theorem(
        name="proxy-previous-frame",
        words="policy previous-frame: the newest frame that has the predecessor's cell ready is f-j at a row start, "
        "f-1-j2 at a frame start (where these are below 0 the prompt, known from the start, or latest)",
        formula="j = max(1, ceil((w-k') / d')), j2 = max(1, ceil(F / d') - 1): step(f-j,r-1,w-1) < step(f,r,0) <= "
        "step(f-i,r-1,w-1), step(f-1-j2,h-1,w-1) < step(f,0,0) <= step(f-1-i,h-1,w-1) for 1 <= i < j, j2",
        wrong="the nearest frame has it always, j = j2 = 1",
        build=_proxy_previous_frame,
    ),
    Theorem(
        name="proxy-above-predecessor",
        words="policy above-predecessor: the newest token of row r-2 ready at a row start is in column "
        "min(2k'-1, w-1) (for r = 1 latest, at a frame start previous-frame)",
        formula="C = min(2k'-1, w-1): step(f,r-2,C) < step(f,r,0), and step(f,r-2,c2) < step(f,r,0) => c2 <= C",
        wrong="the token straight above the predecessor is ready, C = w - 1",
        build=_proxy_above_predecessor,
    ),
    Theorem(
        name="next-token",
        words="k >= w with d >= h w is next-token prediction: the step is the raster index",
        formula="k >= w, d >= h w => step(f,r,c) = (f h + r) w + c, total = T h w",
        wrong="frames in sequence are enough, d >= h w with any k",
        build=_next_token,
    ),
    Theorem(
        name="clamping",
        words="k > w gives the steps of k = w, d > F those of d = F; each row and each frame starts after the one "
        "before it starts and at the latest in the step after it ends",
        formula="k >= w => k' = w; d >= F => d' = F; 0 < k' <= w, 0 < d' <= F, on steps",
        wrong="d = F - 1 already gives the steps of d = F",
        build=_clamping,
    ),
    Theorem(
        name="zipar-llamagen-total",
        words="ZipAR's LlamaGen release takes 2 w + (h-2) min(window, w) steps a frame, w for one row, none empty",
        formula="step = N f + (c in row 0, w + k' (r-1) + c below); N = 2 w + (h-2) k', k' = min(window, w): "
        "0 <= step < T N, attained, every step used",
        wrong="it takes 2 w + (h-1) min(window, w)",
        build=_zipar_llamagen_total,
    ),
    Theorem(
        name="r-spa",
        words="with frames in sequence the ratio to next-token steps is exactly h w / F; the published "
        "h w / (h k' + w) is below it, by at most w / (h k' + w) and by just that only for k >= w",
        formula="T h w / total = h w / F; 0 < h w / F - h w / (h k' + w) <= w / (h k' + w), equal <=> k >= w",
        wrong="the error is at most k' / (h k' + w)",
        build=_r_spa,
    ),
    Theorem(
        name="r-diag",
        words="for k = 1, d = h the ratio to next-token steps is exactly T h w / (T h + w - 1), and the published w is "
        "above it by exactly w (w-1) / (T h + w - 1)",
        formula="total = T h + w - 1; w - T h w / total = w (w-1) / (T h + w - 1) >= 0",
        wrong="the error is (w-1) / (T h + w - 1)",
        build=_r_diag,
    ),
    *CACHE_THEOREMS,
    *SPECULATION_THEOREMS,
)
