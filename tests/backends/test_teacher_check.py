"""A teacher-forced pass finds every token of a replay to be the model's, and every other one not to be."""

import re
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

torch = pytest.importorskip("torch")

from diagplan import Greedy, Sample  # noqa: E402
from diagplan.backends.errors import MismatchError, NumericError  # noqa: E402
from diagplan.backends.prepared import Prepared, new_state, prepare  # noqa: E402
from diagplan.backends.replay import replay  # noqa: E402
from diagplan.backends.teacher_check import near_tie, teacher_check  # noqa: E402
from diagplan.planner.compiler import compile_plan  # noqa: E402
from diagplan.planner.errors import SpecError  # noqa: E402
from diagplan.planner.layout import Layout  # noqa: E402
from diagplan.planner.plan import Plan  # noqa: E402
from diagplan.planner.schedule import Diagonal, NextToken  # noqa: E402
from tests.support.hash_model import HashModel, NumpyHashModel  # noqa: E402
from tests.support.mc_ar import golden_model  # noqa: E402
from tests.support.strategies import Request, plans  # noqa: E402

LAYOUT = Layout(frames=2, rows=3, cols=4, lead=2, between_frames=1)
SAMPLERS = [
    Greedy(),
    Sample(),
    Sample(temperature=2.0, top_k=5),
    Sample(temperature=1.5, top_p=0.7),
    Sample(top_p=0.6, crossing="drop"),
    Sample(temperature=0.7, top_k=9, top_p=0.9, min_p=0.1),
]


def ids_for(prepared: Prepared, seed: int = 0) -> Any:
    shape = (prepared.rows, len(prepared.given_slots))
    return np.random.default_rng(seed).integers(0, prepared.model.vocab_size, shape)


def ran(prepared: Prepared, ids: Any) -> Any:
    return replay(prepared, new_state(prepared, ids)).tokens


@settings(max_examples=60, deadline=None)
@given(
    compiled=plans(frames=3, side=4), model=st.sampled_from((HashModel(), NumpyHashModel())), chunk=st.integers(1, 40)
)
def test_what_any_plan_replays_is_the_models(compiled: tuple[Request, Plan], model: HashModel, chunk: int) -> None:
    prepared = prepare(compiled[1], model, batch=2, chunk=chunk)
    ids = ids_for(prepared)
    tokens = ran(prepared, ids)
    report = teacher_check(prepared, ids, tokens)
    assert report.ok
    assert report.largest is None
    assert report.first == report.tokens == tokens.size


@settings(max_examples=60, deadline=None)
@given(compiled=plans(frames=2, side=4), data=st.data())
def test_a_token_that_is_not_the_models_is_named(compiled: tuple[Request, Plan], data: st.DataObject) -> None:
    prepared = prepare(compiled[1], HashModel(), batch=2)
    ids = ids_for(prepared)
    tokens = ran(prepared, ids)
    place = tuple(data.draw(st.integers(0, size - 1)) for size in tokens.shape)
    wrong = tokens.copy()
    wrong[place] = (wrong[place] + data.draw(st.integers(1, 250))) % 251
    report = teacher_check(prepared, ids, wrong)
    named = [one for one in report.above if (one.sample, one.slot) == (place[0], prepared.cell_slots[place[1:]])]
    assert [(one.token, one.best, one.shortfall) for one in named] == [(wrong[place], tokens[place], 1.0)]
    assert {one.sample for one in report.above} == {place[0]}


@pytest.mark.parametrize("sampler", SAMPLERS, ids=repr)
@pytest.mark.parametrize("schedule", [NextToken(), Diagonal(k=1), Diagonal(k=2, d=3)], ids=repr)
def test_samplers_on_a_real_model(sampler: Any, schedule: Any) -> None:
    model = golden_model()
    layout = Layout(frames=1, rows=4, cols=model.grid.cols if model.grid else 4, lead=3)
    prepared = prepare(compile_plan(layout, schedule), model, sampler=sampler, seed=5, batch=2, samples=[4, 9])
    ids = ids_for(prepared)
    tokens = ran(prepared, ids)
    report = teacher_check(prepared, ids, tokens)
    assert report.ok, report.above[:3]
    assert report.largest is None or report.largest.shortfall < 1e-4
    other = prepare(compile_plan(layout, schedule), model, sampler=sampler, seed=6, batch=2, samples=[4, 9])
    assert teacher_check(other, ids, tokens).ok == isinstance(sampler, Greedy)


def test_guidance_pads_and_numbers_are_the_replays() -> None:
    model, plan = golden_model(dtype=torch.float64), compile_plan(LAYOUT, Diagonal(k=1))
    options: list[dict[str, Any]] = [
        {"guidance": 3.0},
        {"guidance": (1.5, -0.25, -0.25)},
        {"guidance": 2.0, "guided_steps": (0, 3)},
        {"guidance": 2.0, "pad": [0, 1]},
        {"pad": [1, 0]},
    ]
    for option in options:
        prepared = prepare(plan, model, sampler=Sample(), batch=2, chunk=5, **option)
        ids = ids_for(prepared)
        tokens = ran(prepared, ids)
        assert teacher_check(prepared, ids, tokens).ok, option
        plain = prepare(plan, model, sampler=Sample(), batch=2)
        assert not teacher_check(plain, ids[:2], tokens).ok, option


def test_bfloat16_has_a_wider_near_tie() -> None:
    assert [near_tie(dtype) for dtype in (torch.float32, np.dtype("float64"), torch.float16)] == [1e-3, 1e-3, 0.5]
    model = golden_model(dtype=torch.bfloat16)
    prepared = prepare(compile_plan(LAYOUT, NextToken()), model, sampler=Sample(), batch=1)
    ids = ids_for(prepared)
    report = teacher_check(prepared, ids, ran(prepared, ids))
    assert report.eps == 0.5
    assert report.ok


def test_eps_is_what_is_asked_and_the_largest_comes_first() -> None:
    prepared = prepare(compile_plan(LAYOUT, NextToken()), golden_model(), batch=1)
    ids = ids_for(prepared)
    tokens = (ran(prepared, ids) + 1) % 8
    report = teacher_check(prepared, ids, tokens)
    assert report.above
    assert report.largest == report.above[0]
    falls = [one.shortfall for one in report.above]
    assert falls == sorted(falls, reverse=True)
    assert teacher_check(prepared, ids, tokens, eps=falls[0]).ok
    assert len(teacher_check(prepared, ids, tokens, eps=0).above) == report.tokens - report.first


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        (
            lambda tokens: tokens[:, :1],
            MismatchError,
            "expected tokens as integers of shape [1, 2, 3, 4], got int64 of [1, 1, 3, 4].",
        ),
        (lambda tokens: tokens * 1.0, MismatchError, "expected tokens as integers of shape [1, 2, 3, 4], got float64"),
        (lambda tokens: tokens - 300, MismatchError, "expected tokens from 0 to 250, got "),
    ],
)
def test_wrong_arrays_are_refused(change: Any, error: type[Exception], message: str) -> None:
    prepared = prepare(compile_plan(LAYOUT, NextToken()), HashModel())
    ids = ids_for(prepared)
    with pytest.raises(error, match=re.escape(message)):
        teacher_check(prepared, ids, change(ran(prepared, ids)))
    with pytest.raises(SpecError, match=re.escape("expected eps >= 0, got eps=-1.0. 0 asks for the first choice.")):
        teacher_check(prepared, ids, ran(prepared, ids), eps=-1)


def test_logits_that_are_not_finite_name_their_step() -> None:
    class Broken(HashModel):
        def forward(self, *inputs: Any) -> Any:
            return super().forward(*inputs) * float("nan")

    prepared = prepare(compile_plan(LAYOUT, NextToken()), HashModel())
    ids = ids_for(prepared)
    tokens = ran(prepared, ids)
    broken = prepare(compile_plan(LAYOUT, NextToken()), Broken())
    with pytest.raises(NumericError, match="at step 0"):
        teacher_check(broken, ids, tokens)
