"""Passes of fixed shape, run directly: the tokens of plain passes, shapes that are few, and steps that fail."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from torch.utils._python_dispatch import TorchDispatchMode  # noqa: E402

from diagplan import Diagonal, compile_plan  # noqa: E402
from diagplan.backends.guidance import branches_of  # noqa: E402
from diagplan.backends.replay import new_state, prepare, replay, restarted  # noqa: E402
from diagplan.backends.sampling import Greedy, Sample  # noqa: E402
from diagplan.backends.torch_graphs import GraphedForward, StaticPasses  # noqa: E402
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


class NoReads(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Refuses every operator that a host would wait for: numbers read back, and shapes that depend on values."""

    waits = ("_local_scalar_dense", "nonzero", "masked_select", "is_nonzero", "equal", "unique", "item")

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = func.overloadpacket.__name__
        assert name not in self.waits, f"{name} waits for the device"
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("sampler", [Greedy(), Sample(temperature=1.3, top_k=5, top_p=0.9, min_p=0.01)], ids=repr)
@pytest.mark.parametrize("guidance", [None, 2.5], ids=str)
def test_nothing_is_read_back_inside_the_loop(sampler: Any, guidance: Any) -> None:
    prepared = prepare(PLAN, golden_model(), static=True, sampler=sampler, guidance=guidance, guided_steps=None)
    state = new_state(prepared, np.repeat(GIVEN[None], prepared.rows, axis=0))
    passes = StaticPasses(prepared, state, capture=False)
    with torch.inference_mode(), NoReads():  # type: ignore[no-untyped-call]
        for number in range(len(prepared.passes)):
            passes.advance(number)
    with pytest.raises(AssertionError, match="_local_scalar_dense waits for the device"), NoReads():  # type: ignore[no-untyped-call]
        passes.failed_step()


def test_a_forward_on_buffers_gives_the_logits_of_a_plain_one() -> None:
    model, other = golden_model(), golden_model()
    forward, random = GraphedForward(model, capture=False), np.random.default_rng(0)
    for _ in range(2):
        caches = [m.new_cache(1, 64) for m in (model, other)]
        for first, n, rows in ((0, 8, None), (8, 8, None), (16, 4, [1, 3]), (20, 4, [0, 2]), (24, 8, None)):
            ids, slot = torch.from_numpy(random.integers(0, 9, (1, n))), torch.arange(first, first + n)
            mask = torch.arange(64) <= slot[:, None]
            wanted = None if rows is None else torch.tensor(rows)
            inputs = (ids, slot, slot, mask)
            with torch.inference_mode():
                got = forward(*inputs, caches[0], wanted)
                torch.testing.assert_close(got, other.forward(*inputs, caches[1], wanted), rtol=0, atol=0)
    assert forward.graphs == 0


def test_a_forward_runs_on_the_same_buffers_again() -> None:
    model = golden_model()
    forward, cache = GraphedForward(model, capture=False), model.new_cache(1, 64)
    ids, slot = torch.ones((1, 4), dtype=torch.int64), torch.arange(4)
    kept = []
    with torch.inference_mode():
        for _ in range(3):
            forward(ids, slot, slot, torch.arange(64) <= slot[:, None], cache, None)
            kept.append({id(x) for held in forward._held.values() for x in held.inputs})
    assert kept[0] == set()
    assert kept[1] == kept[2] != set()


def test_the_same_buffers_go_on_with_other_noise_and_another_prompt() -> None:
    model = golden_model()
    options: dict[str, Any] = {"sampler": Sample(temperature=1.3), "static": True}
    first = prepare(PLAN, model, seed=1, **options)
    moved = replace(first, seed=2, passes=prepare(PLAN, model, seed=2, **options).passes)
    state = new_state(first, GIVEN[None])
    replay(first, state)
    kept, other = state.static, (GIVEN[None] + 1) % 20
    again = restarted(moved, state, other)
    assert again is state
    assert int((state.tokens < 0).sum()) == LAYOUT.tokens + 1
    assert not any(tensor.any() for tensor in state.cache.tensors)  # type: ignore[attr-defined]
    tokens = replay(moved, again).tokens
    assert state.static is kept
    fresh = prepare(PLAN, model, seed=2, sampler=Sample(temperature=1.3))
    np.testing.assert_array_equal(tokens, replay(fresh, new_state(fresh, other)).tokens)


def test_another_plan_gets_buffers_of_its_own() -> None:
    model = golden_model()
    first, other = (prepare(compile_plan(LAYOUT, Diagonal(k=k)), model, static=True) for k in (2, 1))
    passes = StaticPasses(first, new_state(first, GIVEN[None]), capture=False)
    assert not passes.turned_to(other)
    assert not passes.turned_to(prepare(first.plan, model, static=True, sampler=Sample()))
    assert passes.prepared is first
