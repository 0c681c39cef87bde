"""Passes of fixed shape, run directly: the tokens of plain passes, shapes that are few, and steps that fail."""

from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from diagplan import Diagonal, compile_plan  # noqa: E402
from diagplan.backends.guidance import branches_of  # noqa: E402
from diagplan.backends.replay import new_state, prepare, replay  # noqa: E402
from diagplan.backends.sampling import Greedy, Sample  # noqa: E402
from diagplan.backends.torch_graphs import StaticPasses  # noqa: E402
from tests.support.mc_ar import golden_model  # noqa: E402
from tests.support.mineworld import GIVEN, LAYOUT  # noqa: E402

PLAN = compile_plan(LAYOUT, Diagonal(k=2))


@pytest.mark.parametrize("sampler", [Greedy(), Sample(temperature=1.3, top_p=0.9)], ids=repr)
@pytest.mark.parametrize("guidance", [None, 2.5, (2.0, -0.5, -0.5)], ids=str)
def test_pass_by_pass_the_tokens_of_plain_passes(sampler: Any, guidance: Any) -> None:
    model = golden_model()
    options: dict[str, Any] = {"sampler": sampler, "seed": 3, "batch": 2, "guidance": guidance}
    ids = np.repeat(GIVEN[None], 2 * branches_of(guidance), axis=0)
    ids[-1, :24] = 5
    plain, fixed = (prepare(PLAN, model, static=static, **options) for static in (False, True))
    expected = replay(plain, new_state(plain, ids)).tokens
    state = new_state(fixed, ids)
    passes = StaticPasses(fixed, state, capture=False)
    with torch.inference_mode():
        for number in range(len(fixed.passes)):
            passes.advance(number)
    np.testing.assert_array_equal(state.tokens.numpy()[:2, LAYOUT.cell_slots()], expected)
    assert passes.failed_step() is None


def test_one_bucket_for_each_shape() -> None:
    prepared = prepare(PLAN, golden_model(), static=True)
    passes = StaticPasses(prepared, new_state(prepared, GIVEN[None]), capture=False)
    with torch.inference_mode():
        for number in range(len(prepared.passes)):
            passes.advance(number)
    shapes = {tuple(p.mask.shape) for p in prepared.passes}
    assert set(passes.buckets) == shapes
    assert len(shapes) < len(prepared.passes) / 2


@pytest.mark.parametrize("number", [0, 4, 9])
def test_the_first_step_that_is_not_finite_is_told(number: int) -> None:
    prepared = prepare(PLAN, golden_model(), static=True)
    state = new_state(prepared, GIVEN[None])
    passes = StaticPasses(prepared, state, capture=False)
    with torch.inference_mode():
        for i in range(len(prepared.passes)):
            if i == number:
                state.cache.tensors[0].fill_(float("nan"))  # type: ignore[attr-defined]
            passes.advance(i)
    assert passes.failed_step() == next(p.step for p in prepared.passes[number:] if len(p.target))
