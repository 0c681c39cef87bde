"""Speculation on CUDA, its passes as graphs: the tokens of replay step by step, waiting once a pass."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from diagplan import Diagonal, NextToken, Sample, Speculation, compile_plan  # noqa: E402
from diagplan.backends import replay as executor  # noqa: E402
from diagplan.backends import speculative  # noqa: E402
from diagplan.backends.sampling import Greedy  # noqa: E402
from tests.support.cuda import GRID, grid_ids, grid_model, kernel_model, needs_cuda  # noqa: E402

pytestmark = needs_cuda
SHORT = replace(GRID, frames=1)


@pytest.mark.parametrize("schedule", [NextToken(), Diagonal(k=2)], ids=repr)
@pytest.mark.parametrize("sampler", [Greedy(), Sample(top_p=0.9)], ids=repr)
@pytest.mark.parametrize("adaptive", [False, True])
@pytest.mark.parametrize(("batch", "guidance"), [(1, None), (2, None), (1, 2.0)])
def test_tokens_are_those_of_replay(schedule: Any, sampler: Any, adaptive: bool, batch: int, guidance: Any) -> None:
    plan, model = compile_plan(SHORT, schedule), grid_model()
    options: dict[str, Any] = {"sampler": sampler, "seed": 5, "batch": batch, "guidance": guidance}
    plain = executor.prepare(plan, model, **options)
    ids = grid_ids(plain.rows, layout=SHORT)
    want = executor.replay(plain, executor.new_state(plain, ids)).tokens
    ready = speculative.prepare(plan, model, Speculation(window=32, adaptive=adaptive), **options)
    for guesses in (None, want, np.where(np.arange(want.shape[-1]) == 7, 0, want)):
        state = speculative.new_state(ready, ids, guesses=guesses)
        done = speculative.replay(ready, state)
        np.testing.assert_array_equal(done.tokens, want)
        assert state.graphed.graphs > 0


@pytest.mark.parametrize("schedule", [NextToken(), Diagonal(k=2)], ids=repr)
@pytest.mark.parametrize("batch", [1, 2])
def test_kernels_are_exact_in_bfloat16(schedule: Any, batch: int) -> None:
    plan, model = compile_plan(SHORT, schedule), kernel_model()
    options: dict[str, Any] = {"sampler": Sample(), "seed": 2, "batch": batch, "chunk": 128}
    plain = executor.prepare(plan, model, **options)
    ids = grid_ids(batch, layout=SHORT)
    want = executor.replay(plain, executor.new_state(plain, ids)).tokens
    ready = speculative.prepare(plan, model, Speculation(window=40), **options)
    for guesses in (None, np.where(np.arange(want.shape[-1]) == 7, 0, want)):
        done = speculative.replay(ready, speculative.new_state(ready, ids, guesses=guesses))
        np.testing.assert_array_equal(done.tokens, want)
