"""One suite over every adapter and every backend: what replay means, whoever does it.

A new adapter adds a branch to ``MODELS``, a new backend one to ``BACKENDS``; the tests run over them unchanged.
"""

from typing import Any

import numpy as np
import pytest
from hypothesis import given as given_examples
from hypothesis import settings
from hypothesis import strategies as st

torch = pytest.importorskip("torch")

from diagplan import Diagonal, NextToken, Policies, compile_plan  # noqa: E402
from diagplan.adapters.contract import allowed_ids  # noqa: E402
from diagplan.backends import replay as executor  # noqa: E402
from diagplan.backends.reference import reference_replay  # noqa: E402
from diagplan.backends.sampling import Sampler  # noqa: E402
from diagplan.planner.plan import Plan  # noqa: E402
from tests.support.conformance import BACKENDS, LAYOUT, MODELS, SAMPLERS, ids_for, pairs, run, small_plans  # noqa: E402

pytestmark = pytest.mark.parametrize(("model_name", "backend"), pairs())


@settings(max_examples=15, deadline=None)
@given_examples(plan=small_plans(), sampler=st.sampled_from(SAMPLERS), seed=st.integers(0, 5))
def test_backend_equals_reference(model_name: str, backend: str, plan: Plan, sampler: Sampler, seed: int) -> None:
    """In float64, where ties are out of reach: the same tokens from the same seeds."""
    model = MODELS[model_name](torch.float64)
    ids = ids_for(plan, model, seed=seed)
    tokens, _ = reference_replay(plan, model, torch.from_numpy(ids), sampler, [seed], [0])
    got = run(backend, plan, model, ids, sampler, seed=seed)
    np.testing.assert_array_equal(got[0], tokens[0].numpy()[plan.layout.cell_slots()])
    allowed = allowed_ids(model.vocabulary, plan.layout)[plan.layout.cell_slots().ravel()]
    assert (got[0].ravel() >= allowed[:, 0]).all()
    assert (got[0].ravel() < allowed[:, 1]).all()


def test_full_rows_in_sequence_are_next_token_prediction(model_name: str, backend: str) -> None:
    model = MODELS[model_name](torch.float64)
    plan = compile_plan(LAYOUT, NextToken())
    ids = ids_for(plan, model)
    want = run(backend, plan, model, ids)
    for policies in (Policies(), Policies(row_end="keep", proxy_kv="visible", visibility="causal")):
        np.testing.assert_array_equal(run(backend, compile_plan(LAYOUT, Diagonal(k=4), policies), model, ids), want)


def test_guidance_mixes_the_logits(model_name: str, backend: str) -> None:
    model = MODELS[model_name](torch.float64)
    plan = compile_plan(LAYOUT, Diagonal(k=2))
    conditional, unconditional = ids_for(plan, model, seed=1), ids_for(plan, model, seed=2)
    both = np.concatenate([conditional, unconditional])
    runtime = BACKENDS[backend]

    def guided(scale: Any) -> np.ndarray:
        prepared = runtime.prepare(plan, model, guidance=scale)
        ids = both if isinstance(scale, float) else np.concatenate([both, conditional])
        done: executor.Replayed = runtime.replay(prepared, runtime.new_state(prepared, ids))
        return done.tokens

    np.testing.assert_array_equal(guided(1.0), run(backend, plan, model, conditional))
    assert (guided(4.0) != guided(1.0)).any()
    np.testing.assert_array_equal(guided((0.5, 0.0, 0.5)), guided(1.0))
