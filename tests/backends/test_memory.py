"""The estimate of memory: against what is allocated, and in the error when there is too little."""

import re
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

torch = pytest.importorskip("torch")

from diagplan import Diagonal, Layout, NextToken, compile_plan  # noqa: E402
from diagplan.adapters.mc_ar import McAr, McArConfig, random_weights  # noqa: E402
from diagplan.backends import replay as executor  # noqa: E402
from diagplan.backends import speculative  # noqa: E402
from diagplan.backends.errors import CapacityError  # noqa: E402
from diagplan.backends.memory import Memory, estimate_memory, require_memory  # noqa: E402
from diagplan.examples.image_model import ImageModel  # noqa: E402
from diagplan.planner.errors import DiagplanError  # noqa: E402
from diagplan.planner.plan import Plan  # noqa: E402
from diagplan.planner.speculation import Speculation  # noqa: E402
from tests.support.invalid_plans import cases  # noqa: E402
from tests.support.strategies import plans  # noqa: E402

PLAN = compile_plan(Layout(frames=1, rows=4, cols=4, lead=3), Diagonal(k=2))


@settings(max_examples=25)
@given(plans().map(lambda made: made[1]))
def test_it_is_what_is_allocated(plan: Plan) -> None:
    model = ImageModel.random(plan.positions)
    prepared = executor.prepare(plan, model, batch=3, chunk=10**6, unverified=True, static=False)
    cache = model.new_cache(3, prepared.cache_slots)
    estimate = estimate_memory(model, plan, 3, chunk=10**6)
    assert estimate.weights == sum(weight.nbytes for weight in model.weights.values())
    assert estimate.cache == sum(part.nbytes for part in cache.tensors)
    assert estimate.masks == sum(p.mask.nbytes for p in prepared.passes)


@settings(max_examples=25)
@given(plans().map(lambda made: made[1]), st.integers(1, 9))
def test_passes_are_those_of_the_program(plan: Plan, chunk: int) -> None:
    model = ImageModel.random(plan.positions)
    prepared = executor.prepare(plan, model, chunk=chunk, unverified=True, static=False)
    assert estimate_memory(model, plan, chunk=chunk).masks == sum(p.mask.nbytes for p in prepared.passes)
    # Without widths the logits of the pass with the most rows are what counts.
    most = max(len(p.rows) for p in prepared.passes)
    assert estimate_memory(model, plan, chunk=chunk, sampled=False).activations == most * model.vocab_size * (2 * 4 + 8)


def test_a_smaller_chunk_takes_less() -> None:
    plan = compile_plan(Layout(frames=1, rows=16, cols=16, prompt_frames=1), NextToken())
    model = McAr.random(tiny_mc_ar(512))
    whole, cut = (estimate_memory(model, plan, chunk=chunk) for chunk in (512, 16))
    assert cut.activations < whole.activations / 4
    assert cut.masks < whole.masks
    assert (cut.weights, cut.cache) == (whole.weights, whole.cache)


def test_greedy_tokens_or_a_smaller_batch_take_less() -> None:
    model = ImageModel.random(PLAN.positions)
    assert estimate_memory(model, PLAN, sampled=False).activations < estimate_memory(model, PLAN).activations
    assert estimate_memory(model, PLAN, 1).cache == estimate_memory(model, PLAN, 4).cache / 4


def tiny_mc_ar(positions: int) -> McArConfig:
    return McArConfig(
        hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2,
        vocab_size=50, max_position_embeddings=positions,
    )  # fmt: skip


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_weights_of_mc_ar(dtype: Any) -> None:
    config = tiny_mc_ar(64)
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
            monkeypatch.setattr("diagplan.backends.prepared.program", fail)
        prepared = executor.prepare(PLAN, model, batch=2)
        if where == "new_state":
            monkeypatch.setattr(model, "new_cache", fail)
        state = executor.new_state(prepared, [[0, 1, 2]] * 2)
        monkeypatch.setattr(model, "forward", fail)
        executor.replay(prepared, state)

    said = (
        "expected room on cpu for at least 0.0 MiB (weights 0.0 MiB, cache 0.0 MiB, masks 0.0 MiB, activations "
        "0.0 MiB), for 2 row(s) of batch, got an out-of-memory error. Take a smaller batch or chunk, fewer frames, or "
        "dtype bfloat16."
    )
    with pytest.raises(CapacityError, match=re.escape(said)):
        attempt()


@pytest.mark.parametrize("where", ["new_cache", "forward"])
def test_the_figure_is_that_of_all_rows_and_of_this_chunk(where: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*args: Any, **kwargs: Any) -> Any:
        raise MemoryError

    config = tiny_mc_ar(512)
    model = McAr(config, random_weights(config))
    plan = compile_plan(Layout(frames=1, rows=16, cols=16, prompt_frames=1), NextToken())
    prepared = executor.prepare(plan, model, batch=3, guidance=2.0, chunk=16)
    rows = np.zeros((6, len(prepared.given_slots)), dtype=np.int64)
    monkeypatch.setattr(model, where, fail)
    with pytest.raises(CapacityError) as caught:
        executor.replay(prepared, executor.new_state(prepared, rows))
    said = f"at least {estimate_memory(model, plan, 6, chunk=16)}, for 6 row(s) of batch"
    assert said in str(caught.value)
    for wrong in (estimate_memory(model, plan, 3, chunk=16), estimate_memory(model, plan, 6)):
        assert str(wrong) not in said  # the samples alone, or another chunk, would give another figure


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
    said = str(Memory(3 << 30, 5 << 20, 1 << 18, 2 << 20))
    assert said == "3,079.2 MiB (weights 3,072.0 MiB, cache 5.0 MiB, masks 0.2 MiB, activations 2.0 MiB)"
    # What loading takes for a while counts where it is more than the cache and all that comes after it.
    assert Memory(100, 10, 5, 5, tokenizer=7, loading=30).total == 137
    assert Memory(100, 10, 25, 5, tokenizer=7, loading=30).total == 147


MEMORY = Memory(1000 << 20, 100 << 20, 0)
OTHERS = [("dtype bfloat16", Memory(500 << 20, 50 << 20, 0)), ("a chunk of 64", MEMORY._replace(cache=90 << 20))]


@pytest.mark.parametrize(
    ("free", "said"),
    [
        (1099 << 20, "Take one of these: dtype bfloat16 (550.0 MiB), a chunk of 64 (1,090.0 MiB). Fewer frames or"),
        (600 << 20, "Take one of these: dtype bfloat16 (550.0 MiB). Fewer frames or another device help too."),
        (1 << 20, "None of these is enough alone: dtype bfloat16 (550.0 MiB), a chunk of 64 (1,090.0 MiB). Fewer"),
    ],
)
def test_too_little_room_names_what_fits(free: int, said: str) -> None:
    begin = f"expected room on cpu for {MEMORY}, for 3 row(s) of batch, got {free >> 20:,}.0 MiB free. {said}"
    with pytest.raises(CapacityError, match=f"^{re.escape(begin)}"):
        require_memory(MEMORY, free, batch=3, advice=OTHERS)


def test_enough_room_or_nobody_who_says() -> None:
    require_memory(MEMORY, MEMORY.total)
    require_memory(MEMORY, None)


@settings(max_examples=25)
@given(
    compiled=plans(frames=2, side=4).map(lambda made: made[1]),
    window=st.integers(1, 60),
    chunk=st.sampled_from([3, 512]),
    batch=st.sampled_from([1, 2]),
    draft=st.sampled_from(["above", "plan:k=1"]),
)
def test_a_speculation_takes_rows_for_entries_and_windows_of_masks(
    compiled: Plan, window: int, chunk: int, batch: int, draft: str
) -> None:
    model = ImageModel.random(compiled.positions)
    speculation = Speculation(window=window, draft=draft)
    estimate = estimate_memory(model, compiled, batch, chunk=chunk, sampled=False, speculation=speculation)
    ready = speculative.prepare(compiled, model, speculation, batch=batch, chunk=chunk, unverified=True)
    caches = [model.new_cache(batch, ready.cache_slots)]
    masks = 0
    if ready.drafter is not None:
        caches.append(model.new_cache(batch, ready.drafter.cache_slots))
        masks = sum(p.mask.nbytes for p in ready.drafter.passes)
    assert estimate.cache == sum(part.nbytes for cache in caches for part in cache.tensors)
    fed: list[tuple[int, int, int]] = []
    forward = model.forward

    def seen(ids: Any, position: Any, slot: Any, mask: Any, cache: Any, rows: Any = None, *more: Any) -> Any:
        logits = forward(ids, position, slot, mask, cache, rows, *more)
        fed.append((mask.nbytes, logits.numel(), ids.shape[1]))
        return logits

    model.forward = seen  # type: ignore[method-assign]
    given_ids = np.zeros((batch, len(ready.given_slots)), dtype=np.int64)
    done = speculative.replay(ready, speculative.new_state(ready, given_ids))
    own = fed[done.drafted :]  # a draft's masks are all laid out, and stay
    most = max(nbytes for nbytes, _, _ in own)
    assert most <= (estimate.masks - masks) / 3
    assert max(count for _, count, _ in fed) * (2 * 4 + 8) <= estimate.activations


def test_a_narrower_window_and_no_draft_plan_take_less() -> None:
    plan, model = compile_plan(Layout(frames=2, rows=16, cols=16, prompt_frames=1), NextToken()), ImageModel.random(768)
    sizes = [
        estimate_memory(model, plan, 2, speculation=speculation).total
        for speculation in (
            Speculation(window=8),
            Speculation(window=64),
            Speculation(window=64, draft="plan:k=1"),
        )
    ]
    assert sizes == sorted(set(sizes))
    widest = estimate_memory(model, plan, 2, speculation=Speculation(window=128, adaptive=True))
    assert estimate_memory(model, plan, 2, speculation="auto") == widest


@pytest.mark.parametrize("where", ["new_cache", "forward"])
@pytest.mark.parametrize("draft", ["above", "plan:k=2"])
def test_out_of_memory_in_speculation_says_what_it_takes(
    where: str, draft: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*args: Any, **kwargs: Any) -> Any:
        raise MemoryError

    model, speculation = ImageModel.random(PLAN.positions), Speculation(window=6, draft=draft)
    ready = speculative.prepare(PLAN, model, speculation, batch=2, chunk=16)
    state = speculative.new_state(ready, np.zeros((2, len(ready.given_slots)), dtype=np.int64))
    given_ids = np.zeros((2, len(ready.given_slots)), dtype=np.int64)

    def attempt() -> None:
        speculative.replay(ready, state if where == "forward" else speculative.new_state(ready, given_ids))

    monkeypatch.setattr(model, where, fail)
    with pytest.raises(CapacityError) as caught:
        attempt()
    if draft == "above" or where == "new_cache":  # a draft's passes are those of replay
        assert f"at least {estimate_memory(model, PLAN, 2, chunk=16, speculation=speculation)}" in str(caught.value)
        assert "Take a smaller batch or chunk, a narrower window, fewer frames, or dtype bfloat16." in str(caught.value)


@pytest.mark.parametrize("case", list(cases()), ids=lambda case: f"{case.code}: {case.message[:40]}")
def test_plans_that_do_not_verify_get_an_estimate_or_one_error(case: Any) -> None:
    model = ImageModel.random(64)
    try:
        assert estimate_memory(model, case.plan, speculation=Speculation(window=8)).cache > 0
    except DiagplanError as error:
        assert "expected" in str(error)  # noqa: PT017
