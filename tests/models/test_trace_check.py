"""A trace and its model: the books, the fingerprint, and every token derived anew."""

import re
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from diagplan import Greedy, Sample  # noqa: E402
from diagplan.backends.prepared import new_state, prepare  # noqa: E402
from diagplan.backends.replay import replay  # noqa: E402
from diagplan.models.trace_check import check_trace_tokens, traced_sampler  # noqa: E402
from diagplan.planner.compiler import compile_plan  # noqa: E402
from diagplan.planner.errors import SpecError  # noqa: E402
from diagplan.planner.layout import Layout  # noqa: E402
from diagplan.planner.schedule import NextToken  # noqa: E402
from diagplan.planner.trace import Trace  # noqa: E402
from tests.support.hash_model import HashModel  # noqa: E402
from tests.support.mc_ar import golden_model  # noqa: E402
from tests.support.speculation import oracle  # noqa: E402

PLAN = compile_plan(Layout(frames=2, rows=2, cols=3, lead=2), NextToken())
SAMPLE = {"name": "sample", "temperature": 1.5, "top_k": 9, "top_p": 0.9, "crossing": "keep", "min_p": None}


def traced(model: Any, given: Any = None, **fields: Any) -> tuple[Trace, Any]:
    """The trace of a replay of two samples, and the ids of all given slots of all rows."""
    sampler = Greedy() if "sampler" not in fields else Sample(temperature=1.5, top_k=9, top_p=0.9)
    options = {name: fields[name] for name in ("seed", "guidance", "guided_steps") if name in fields}
    prepared = prepare(PLAN, model, sampler=sampler, batch=2, **options)
    ids = np.random.default_rng(2).integers(0, model.vocab_size, (prepared.rows, len(prepared.given_slots)))
    state = new_state(prepared, ids)
    replay(prepared, state)
    tokens = np.asarray(prepared.runtime.numpy(state.tokens))[:2, : PLAN.positions]
    return oracle(PLAN, tokens, 4, **({"model": model.fingerprint()} | fields)), ids


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"sampler": SAMPLE, "seed": 7},
        {"guidance": 2.5},
        {"sampler": SAMPLE, "guidance": (1.5, -0.5), "guided_steps": (0, 5)},
    ],
    ids=str,
)
def test_a_right_trace(fields: dict[str, Any]) -> None:
    model = golden_model()
    trace, ids = traced(model, **fields)
    branch: Any = ids[2:] if "guidance" in fields else None
    checked = check_trace_tokens(
        PLAN, trace, model, unconditional=[branch] if isinstance(trace.guidance, tuple) else branch
    )
    assert checked.ok, checked.report.diagnostics[:2]
    assert checked.tokens is not None
    assert checked.tokens.tokens == 24
    if "sampler" in fields:
        assert not check_trace_tokens(
            PLAN, replace(trace, seed=8), model, unconditional=[branch] if isinstance(trace.guidance, tuple) else branch
        ).ok


def test_a_token_that_is_not_the_models_passes_the_books_but_not_the_model() -> None:
    model = HashModel()
    trace, _ = traced(model)
    tokens = np.stack([sample.tokens for sample in trace.samples])
    tokens[1, 9] = (tokens[1, 9] + 1) % 251
    checked = check_trace_tokens(PLAN, oracle(PLAN, tokens, 4, model="hash"), model, cap=1)
    assert set(checked.report.counts) == {"DT701"}
    first = checked.report.diagnostics[0]
    assert (first.code, first.sample) == ("DT701", 1)
    assert re.fullmatch(r"expected token=\d+ within 0.001, got token=\d+, which is 1 short of it\.", first.message)
    assert len(checked.report.diagnostics) == 1
    assert checked.tokens is not None
    assert any(one.slot == 9 for one in checked.tokens.above)


def test_another_model_is_said_and_its_tokens_are_checked_all_the_same() -> None:
    trace, _ = traced(HashModel())
    checked = check_trace_tokens(PLAN, replace(trace, model="other"), HashModel())
    assert [one.code for one in checked.report.diagnostics] == ["DT602"]
    assert checked.report.diagnostics[0].message == "expected model='other', got fingerprint='hash'."
    assert checked.tokens is not None
    assert checked.tokens.ok


def test_tokens_that_are_not_there_are_not_fed() -> None:
    trace, _ = traced(HashModel())
    tokens = trace.samples[0].tokens.copy()
    tokens[-1] = -1
    cut = replace(trace, samples=(replace(trace.samples[0], tokens=tokens), trace.samples[1]))
    checked = check_trace_tokens(PLAN, cut, HashModel())
    assert checked.tokens is None
    assert set(checked.report.counts) == {"DT108"}
    malformed = replace(trace, samples=(replace(trace.samples[0], tokens=tokens[:3]), trace.samples[1]))
    assert check_trace_tokens(PLAN, malformed, HashModel()).tokens is None


def test_samplers_by_name() -> None:
    trace, _ = traced(HashModel())
    assert traced_sampler(trace) == Greedy()
    assert traced_sampler(replace(trace, sampler=SAMPLE)) == Sample(temperature=1.5, top_k=9, top_p=0.9)
    with pytest.raises(SpecError, match=r"^expected a sampler named greedy or sample, got name='beam'\."):
        traced_sampler(replace(trace, sampler={"name": "beam"}))
