"""The vocabulary of the theorems, evaluated at integers: the closed forms, the schedule, the slots of a layout."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from diagplan.planner import formulas
from diagplan.planner.layout import Layout
from diagplan.planner.proofs.symbols import Slots, Wavefront, before, larger, smaller
from diagplan.planner.schedule import Diagonal, cell_steps

z3: Any = pytest.importorskip("z3", reason="the proofs need z3-solver: pip install 'diagplan[prove]'")

NUMBERS = st.integers(-9, 9)
CELLS = st.tuples(*[st.integers(0, 2)] * 3)


def at(term: Any, **letters: int) -> int:
    """The value of a term whose letters are replaced by integers; a truth counts as 1 or 0."""
    fixed = z3.simplify(z3.substitute(term, *((z3.Int(name), z3.IntVal(value)) for name, value in letters.items())))
    return int(z3.is_true(fixed)) if z3.is_bool(fixed) else fixed.as_long()


@given(NUMBERS, NUMBERS)
def test_smaller_and_larger(a: int, b: int) -> None:
    x, y = z3.Ints("x y")
    assert at(smaller(z3, x, y), x=a, y=b) == min(a, b)
    assert at(larger(z3, x, y), x=a, y=b) == max(a, b)


@given(CELLS, CELLS)
def test_before_is_raster_order(a: tuple[int, int, int], b: tuple[int, int, int]) -> None:
    cells = [tuple(map(z3.IntVal, cell)) for cell in (a, b)]
    assert at(before(z3, *cells)) == (a < b)


SIZES = st.fixed_dictionaries(
    {"T": st.integers(1, 3), "h": st.integers(1, 4), "w": st.integers(1, 4), "k": st.integers(1, 6)}
    | {"d": st.integers(1, 20)}
)


def named(v: dict[str, int], *, clamp_d: bool = True) -> dict[str, int]:
    """The letters that the assumptions name: k', F and d' of these sizes."""
    delay = formulas.frame_delay(v["d"], v["h"], v["w"], v["k"]) if clamp_d else v["d"]
    return {
        "k'": formulas.row_delay(v["k"], v["w"]),
        "F": formulas.frame_steps(v["h"], v["w"], v["k"]),
        "d'": delay,
    }


@given(SIZES, st.booleans())
def test_the_assumptions_hold_at_the_closed_forms_and_nowhere_else(v: dict[str, int], clamp_d: bool) -> None:
    given = z3.And(*Wavefront(z3, clamp_d=clamp_d).given)
    right = v | named(v, clamp_d=clamp_d)
    assert at(given, **right) == 1
    for name in named(v):
        assert at(given, **right | {name: right[name] + 1}) == 0
    for name in v:
        assert at(given, **right | {name: 0}) == 0


@given(SIZES)
def test_a_wavefront_is_the_schedule(v: dict[str, int]) -> None:
    wave, right = Wavefront(z3), v | named(v)
    assert at(wave.total, **right) == formulas.total_steps(v["T"], v["h"], v["w"], v["k"], v["d"])
    steps = cell_steps(Diagonal(k=v["k"], d=v["d"]), Layout(frames=v["T"], rows=v["h"], cols=v["w"], lead=1))
    f, r, c = z3.Ints("f r c")
    here = {"f": v["T"] - 1, "r": v["h"] - 1, "c": v["w"] // 2}
    assert at(wave.step(f, r, c), **right, **here) == steps[here["f"], here["r"], here["c"]]
    assert at(wave.has(f, r, c), **right, **here) == 1
    for name, size in (("f", "T"), ("r", "h"), ("c", "w")):
        for outside in (-1, v[size]):
            assert at(wave.has(f, r, c), **right, **here | {name: outside}) == 0


@given(SIZES, st.data())
def test_ready_is_known_in_an_earlier_step(v: dict[str, int], data: st.DataObject) -> None:
    wave, right = Wavefront(z3), v | named(v)
    steps = cell_steps(Diagonal(k=v["k"], d=v["d"]), Layout(frames=v["T"], rows=v["h"], cols=v["w"], lead=1))
    cells = [tuple(data.draw(st.integers(0, size - 1)) for size in steps.shape) for _ in range(2)]
    source, target = (tuple(map(z3.IntVal, cell)) for cell in cells)
    assert at(wave.ready(source, target), **right) == (steps[cells[0]] < steps[cells[1]])
    outside = z3.IntVal(-1), source[1], source[2]
    assert at(wave.ready(outside, target), **right) == 0


@given(SIZES, st.integers(0, 2), st.integers(0, 3), st.integers(0, 2))
def test_slots_are_the_layouts(v: dict[str, int], between_rows: int, between_frames: int, prompt: int) -> None:
    layout = Layout(
        frames=v["T"], rows=v["h"], cols=v["w"], lead=1, prompt_frames=prompt,
        between_rows=between_rows, between_frames=between_frames,
    )  # fmt: skip
    slots = Slots(z3, Wavefront(z3))
    letters = v | {"b_r": between_rows, "b_f": between_frames}
    letters |= {"S_r": layout.row_stride, "S_f": layout.frame_stride}
    assert at(z3.And(*slots.given), **letters) == 1
    assert at(z3.And(*slots.given), **letters | {"S_f": layout.frame_stride + 1}) == 0
    assert at(z3.And(*slots.given), **letters | {"S_r": layout.row_stride - 1}) == 0
    cells = layout.cell_slots(prompt=True)
    for f, r, c in ((-prompt, 0, 0), (v["T"] - 1, v["h"] - 1, v["w"] - 1)):
        want = cells[f + prompt, r, c] - layout.first_generated
        assert at(slots.slot(*map(z3.IntVal, (f, r, c))), **letters) == want
