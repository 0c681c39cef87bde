"""A sample's tokens depend on its seed, its number and the plan alone, on every adapter and every backend."""

from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from diagplan import Diagonal, compile_plan  # noqa: E402
from diagplan.backends.sampling import Greedy, Sampler  # noqa: E402
from tests.support.conformance import BACKENDS, EOL, LAYOUT, MODELS, SAMPLERS, ids_for, is_slow, run  # noqa: E402

LAYOUTS = {"video": LAYOUT, "end-of-line": EOL}


def cases() -> list[Any]:
    """One model with every sampler; samplers know nothing of models, so of others one for each layout is enough."""
    every = [
        (sampler, layout, name, backend)
        for sampler in SAMPLERS
        for layout in LAYOUTS
        for name in MODELS
        for backend in BACKENDS
    ]
    few = [(SAMPLERS[0], "video"), (SAMPLERS[-1], "end-of-line")]
    return [
        case
        if not is_slow(*case[2:]) and (case[2] == "mc-ar-1d" or case[:2] in few)
        else pytest.param(*case, marks=pytest.mark.slow)
        for case in every
    ]


@pytest.mark.parametrize(("sampler", "layout_name", "model_name", "backend"), cases(), ids=str)
def test_tokens_do_not_depend_on_batch_or_lowering(
    sampler: Sampler, layout_name: str, model_name: str, backend: str
) -> None:
    layout = LAYOUTS[layout_name]
    model = MODELS[model_name](torch.float64)
    plan = compile_plan(layout, Diagonal(k=2))
    ids = ids_for(plan, model, batch=3)
    whole = run(backend, plan, model, ids, sampler, seed=5)
    np.testing.assert_array_equal(run(backend, plan, model, ids[:1], sampler, seed=5), whole[:1])
    for options in ({"slots": "step-order"}, {"pad": [3, 8]}, {"slots": "step-order", "pad": [1, 4]}):
        lowered = compile_plan(layout, Diagonal(k=2), **options)
        np.testing.assert_array_equal(run(backend, lowered, model, ids, sampler, seed=5), whole)
    np.testing.assert_array_equal(run(backend, plan, model, ids, sampler, seed=5, chunk=3), whole)
    if not isinstance(sampler, Greedy):
        assert (run(backend, plan, model, ids, sampler, seed=6) != whole).any()
        same = np.repeat(ids[:1], 2, axis=0)
        pair = run(backend, plan, model, same, sampler, seed=5)
        assert (pair[0] != pair[1]).any()
