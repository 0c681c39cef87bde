"""The estimate of memory: against what is allocated, and in the error when there is too little."""

import re
from typing import Any

import pytest
from hypothesis import given, settings

torch = pytest.importorskip("torch")

from diagplan import Diagonal, Layout, NextToken, compile_plan  # noqa: E402
from diagplan.adapters.mc_ar import McAr, McArConfig, random_weights  # noqa: E402
from diagplan.backends import replay as executor  # noqa: E402
from diagplan.backends.errors import CapacityError  # noqa: E402
from diagplan.backends.memory import Memory, estimate_memory  # noqa: E402
from diagplan.planner.plan import Plan  # noqa: E402
from tests.example_adapter import ImageModel  # noqa: E402
from tests.strategies import plans  # noqa: E402

PLAN = compile_plan(Layout(frames=1, rows=4, cols=4, lead=3), Diagonal(k=2))


@settings(max_examples=25)
@given(plans().map(lambda made: made[1]))
def test_it_is_what_is_allocated(plan: Plan) -> None:
    model = ImageModel.random(plan.positions)
    prepared = executor.prepare(plan, model, batch=3, chunk=10**6, unverified=True, static=False)
    cache = model.new_cache(3, prepared.cache_slots)
    assert estimate_memory(model, plan, 3) == Memory(
        weights=sum(weight.nbytes for weight in model.weights.values()),
        cache=sum(part.nbytes for part in cache.tensors),
        masks=sum(p.mask.nbytes for p in prepared.passes),
    )


def test_shorter_chunks_take_no_more() -> None:
    plan = compile_plan(Layout(frames=1, rows=16, cols=16, prompt_frames=1), NextToken())
    model = ImageModel.random(plan.positions)
    prepared = executor.prepare(plan, model, chunk=7)
    assert sum(p.mask.nbytes for p in prepared.passes) <= estimate_memory(model, plan).masks


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_weights_of_mc_ar(dtype: Any) -> None:
    config = McArConfig(
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        vocab_size=50,
        max_position_embeddings=64,
    )
    weights = random_weights(config, dtype=dtype)
    assert McAr(config, weights).weight_bytes() == sum(weight.nbytes for weight in weights.values())


ERRORS = [torch.OutOfMemoryError("CUDA out of memory."), MemoryError()]


@pytest.mark.parametrize("where", ["prepare", "new_state", "replay"])
@pytest.mark.parametrize("error", [*ERRORS, RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried")])
def test_the_error_holds_the_estimate_and_what_to_change(
    where: str, error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*args: Any, **kwargs: Any) -> Any:
        raise error

    model = ImageModel.random(PLAN.positions)

    def attempt() -> None:
        if where == "prepare":
            monkeypatch.setattr(executor, "program", fail)
        prepared = executor.prepare(PLAN, model, batch=2)
        if where == "new_state":
            monkeypatch.setattr(model, "new_cache", fail)
        state = executor.new_state(prepared, [[0, 1, 2]] * 2)
        monkeypatch.setattr(model, "forward", fail)
        executor.replay(prepared, state)

    said = (
        "expected room on cpu for at least 0.0 MiB (weights 0.0 MiB, cache 0.0 MiB, masks 0.0 MiB), for 2 row(s) of "
        "batch, got an out-of-memory error. Take a smaller batch, fewer frames, or dtype bfloat16."
    )
    with pytest.raises(CapacityError, match=re.escape(said)):
        attempt()


def test_other_errors_stay_what_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    model = ImageModel.random(PLAN.positions)
    prepared = executor.prepare(PLAN, model)
    state = executor.new_state(prepared, [[0, 1, 2]])

    def fail(*args: Any, **kwargs: Any) -> Any:
        raise RuntimeError("shapes do not match")

    monkeypatch.setattr(model, "forward", fail)
    with pytest.raises(RuntimeError, match="shapes do not match"):
        executor.replay(prepared, state)


def test_it_reads_as_text() -> None:
    said = str(Memory(3 << 30, 5 << 20, 1 << 18))
    assert said == "3,077.2 MiB (weights 3,072.0 MiB, cache 5.0 MiB, masks 0.2 MiB)"
