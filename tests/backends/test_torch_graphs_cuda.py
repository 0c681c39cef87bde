"""CUDA graphs: the tokens of plain passes, no wait for the device inside the loop, and errors that are told."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from diagplan import Diagonal, NextToken, compile_plan  # noqa: E402
from diagplan.adapters.mc_ar import McAr  # noqa: E402
from diagplan.backends.errors import NumericError  # noqa: E402
from diagplan.backends.guidance import branches_of  # noqa: E402
from diagplan.backends.replay import new_state, prepare, replay  # noqa: E402
from diagplan.backends.sampling import Greedy, Sample  # noqa: E402
from diagplan.backends.torch_graphs import StaticPasses  # noqa: E402
from diagplan.planner.schedule import Schedule  # noqa: E402
from tests.support.cuda import GRID, grid_ids, grid_model, kernel_model, needs_cuda  # noqa: E402
from tests.support.mc_ar import GOLDEN, golden_weights  # noqa: E402
from tests.support.mineworld import DATA, GIVEN, META, golden_plan  # noqa: E402

pytestmark = needs_cuda

SCHEDULES: dict[str, Schedule] = {
    "next-token": NextToken(),
    "k=1": Diagonal(k=1),
    "k=2": Diagonal(k=2),
    "k=2 d=28": Diagonal(k=2, d=28),
}


@pytest.fixture
def no_waiting() -> Iterator[Any]:
    yield lambda: torch.cuda.set_sync_debug_mode("error")
    torch.cuda.set_sync_debug_mode("default")


@pytest.mark.parametrize("name", SCHEDULES)
@pytest.mark.parametrize(("batch", "guidance"), [(1, None), (2, None), (1, 2.5), (2, (2.0, -0.5, -0.5))], ids=str)
def test_graphs_give_the_tokens_of_plain_passes(name: str, batch: int, guidance: Any) -> None:
    model, plan = grid_model(), compile_plan(GRID, SCHEDULES[name])
    ids = grid_ids(batch * branches_of(guidance))
    for sampler in (Greedy(), Sample(temperature=1.3, top_p=0.9)):
        options: dict[str, Any] = {"sampler": sampler, "seed": 3, "batch": batch, "guidance": guidance}
        plain, fixed = (prepare(plan, model, static=static, **options) for static in (False, True))
        state = new_state(fixed, ids)
        tokens = replay(fixed, state).tokens
        assert 0 < state.static.graphs < len(fixed.passes)
        np.testing.assert_array_equal(tokens, replay(plain, new_state(plain, ids)).tokens)


@pytest.mark.parametrize("name", SCHEDULES)
def test_kernels_give_the_same_bits_in_graphs(name: str) -> None:
    """In bfloat16, padded or not, as long as passes have at most 256 rows."""
    model, plan, ids = kernel_model(), compile_plan(GRID, SCHEDULES[name]), grid_ids(2)
    plain, fixed = (
        prepare(plan, model, static=static, batch=2, sampler=Sample(), chunk=128) for static in (False, True)
    )
    want = replay(plain, new_state(plain, ids)).tokens
    np.testing.assert_array_equal(replay(fixed, new_state(fixed, ids)).tokens, want)


@pytest.mark.parametrize("name", META["cases"])
def test_the_golden_tokens_of_the_release(name: str) -> None:
    model = McAr(GOLDEN, {name: weight.cuda() for name, weight in golden_weights().items()})
    prepared = prepare(golden_plan(META["cases"][name]), model)
    assert prepared.static
    tokens = replay(prepared, new_state(prepared, GIVEN[None])).tokens
    np.testing.assert_array_equal(tokens[0].ravel(), DATA[f"tokens/{name}"].ravel())


def test_nobody_waits_for_the_device_inside_the_loop(no_waiting: Any) -> None:
    prepared = prepare(compile_plan(GRID, Diagonal(k=2)), grid_model(), sampler=Sample(top_p=0.8))
    state = new_state(prepared, grid_ids(1))
    passes = StaticPasses(prepared, state, capture=True)
    with torch.inference_mode():
        for number in range(len(prepared.passes)):
            passes.advance(number)
        torch.cuda.synchronize()
        no_waiting()
        for number in range(len(prepared.passes)):
            passes.advance(number)


def test_the_step_that_is_not_finite_is_told() -> None:
    prepared = prepare(compile_plan(GRID, Diagonal(k=2)), grid_model())
    state = new_state(prepared, grid_ids(1))

    def spoil(step: int, state: Any) -> None:
        if step == 30:
            state.cache.tensors[0].fill_(float("nan"))

    with pytest.raises(NumericError, match="step 31"):
        replay(prepared, state, on_step=spoil)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
def test_half_precision_runs_to_the_end(dtype: Any) -> None:
    model = grid_model(dtype=dtype)
    prepared = prepare(compile_plan(GRID, Diagonal(k=2)), model)
    done = replay(prepared, new_state(prepared, grid_ids(1)))
    assert done.complete
    assert done.tokens.min() >= 0
    assert done.tokens.max() < 100


def test_many_graphs_take_little_more_memory_than_one() -> None:
    """They share a pool: by far less than each with its own."""
    prepared = prepare(compile_plan(GRID, Diagonal(k=2)), grid_model(), batch=8, sampler=Sample(top_p=0.8))
    state = new_state(prepared, grid_ids(8))
    passes = StaticPasses(prepared, state, capture=True)
    taken: list[int] = []
    with torch.inference_mode():
        for number in range(len(prepared.passes)):
            before, graphs = torch.cuda.memory_reserved(), passes.graphs
            passes.advance(number)
            if passes.graphs > graphs:
                taken.append(torch.cuda.memory_reserved() - before)
    assert len(taken) > 6
    assert sum(taken) < 4 * max(taken)
