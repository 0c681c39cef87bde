"""Chains: the reference executor's tokens, next-token prediction by hand, a whole prefill, guidance, samples, calls."""

import re
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

torch = pytest.importorskip("torch")

from diagplan import (  # noqa: E402
    Diagonal,
    Imported,
    InvalidPlanError,
    Layout,
    MismatchError,
    NextToken,
    Policies,
    Sample,
    SpecError,
)
from diagplan.adapters.contract import AllowedIds, allowed_ids  # noqa: E402
from diagplan.backends import replay as executor  # noqa: E402
from diagplan.backends.chained import replay_chain  # noqa: E402
from diagplan.backends.reference import reference_chain  # noqa: E402
from diagplan.backends.runtime import STATIC_STEP  # noqa: E402
from diagplan.backends.sampling import Greedy  # noqa: E402
from diagplan.examples.image_model import ImageModel  # noqa: E402
from diagplan.planner.chain import Chain  # noqa: E402
from diagplan.planner.chain_compiler import chain_layouts, chain_of, compile_chain  # noqa: E402
from diagplan.planner.compiler import compile_plan  # noqa: E402
from diagplan.planner.policy import BUNDLES  # noqa: E402
from tests.support.hash_model import HashModel, NumpyHashModel  # noqa: E402
from tests.support.strategies import chain_requests  # noqa: E402

PREVIEW, PICTURE = Layout(frames=1, rows=2, cols=3, lead=3), Layout(frames=1, rows=4, cols=4, lead=9)
SAMPLER = Sample(temperature=1.3)


def given_ids(chain: Chain, model: Any, batch: int = 1) -> np.ndarray:
    return np.random.default_rng(7).integers(0, model.vocab_size, (batch, len(chain.given_slots())))


def whole(chain: Chain, ids: np.ndarray, tokens: tuple[np.ndarray, ...]) -> np.ndarray:
    """The ids of all slots, int64 [B, positions]."""
    sequence = np.full((len(ids), chain.layout.positions), -1)
    sequence[:, chain.given_slots()] = ids
    for plan, part in zip(chain.plans, tokens, strict=True):
        sequence[:, plan.layout.cell_slots()] = part
    return sequence


def run(chain: Chain, model: Any, ids: np.ndarray, **options: Any) -> np.ndarray:
    return whole(chain, ids, replay_chain(chain, model, ids, **{"batch": len(ids)} | options).tokens)


def by_hand(chain: Chain, model: Any, ids: np.ndarray) -> np.ndarray:
    """Next-token prediction of the whole sequence without cache, plan or mask rule: a causal pass for each token."""
    tokens = torch.full((len(ids), chain.layout.positions), -1)
    tokens[:, torch.from_numpy(chain.given_slots())] = torch.from_numpy(ids)
    for plan in chain.plans:
        ranges = allowed_ids(model.vocabulary, plan.layout)
        for slot in plan.layout.cell_slots().ravel().tolist():
            at, mask = torch.arange(slot), torch.ones((slot, slot), dtype=torch.bool).tril()
            logits = model.forward(tokens[:, :slot], at, at, mask, model.new_cache(len(ids), slot))[:, -1]
            low, high = ranges[slot].tolist()
            tokens[:, slot] = logits[:, low:high].argmax(-1) + low
    return np.asarray(tokens.numpy())


@settings(max_examples=60)
@given(request=chain_requests(), chunk=st.sampled_from((1, 3, 512)), refeed=st.booleans(), static=st.booleans())
def test_every_chain_gives_the_reference_executors_tokens(
    request: dict[str, Any], chunk: int, refeed: bool, static: bool
) -> None:
    """The model answers with a hash of all that a feed sees, so any other read, write or order would show."""
    chain, model = compile_chain(**request, refeed=refeed), HashModel()
    ids = given_ids(chain, model)
    expected = reference_chain(chain, model, torch.from_numpy(ids), SAMPLER, [4], [0]).numpy()
    for one in (model, NumpyHashModel()):
        got = run(chain, one, ids, sampler=SAMPLER, seed=4, chunk=chunk, static=static)
        np.testing.assert_array_equal(got, expected)


@settings(max_examples=40)
@given(request=chain_requests())
def test_next_token_prediction_goes_on_as_if_there_were_no_plans(request: dict[str, Any]) -> None:
    chain = compile_chain(request["layouts"], NextToken(), request["policies"])
    for model in (HashModel(), ImageModel.random(400, dtype=torch.float64)):
        ids = given_ids(chain, model)
        np.testing.assert_array_equal(run(chain, model, ids), by_hand(chain, model, ids))


@settings(max_examples=40)
@given(request=chain_requests(plans=2))
def test_after_next_token_prediction_nothing_tells_the_cache_from_a_whole_prefill(request: dict[str, Any]) -> None:
    """Of any plan that follows; and with ``refeed`` of any plan before, each plan is one replayed by itself."""
    schedules = [NextToken(), request["schedules"][1]]
    model = HashModel()
    for timing, kept in ((schedules, (False, True)), (request["schedules"], (True,))):
        chains = [compile_chain(**request | {"schedules": timing}, refeed=refeed) for refeed in kept]
        ids = given_ids(chains[0], model)
        got = [run(chain, model, ids) for chain in chains]
        plan = chains[0].plans[1]
        alone = executor.prepare(plan, model)
        state = executor.new_state(alone, got[0][:, alone.given_slots])
        executor.replay(alone, state)
        for tokens in got:
            np.testing.assert_array_equal(tokens, np.asarray(state.tokens)[:, :-1])


def test_what_a_diagonal_plan_leaves_is_not_a_whole_prefill() -> None:
    """A token was fed while fewer of its predecessors were known: said in the docs, and seen here."""
    chain = compile_chain([PREVIEW, PICTURE], Diagonal(k=1))
    fresh = compile_chain([PREVIEW, PICTURE], Diagonal(k=1), refeed=True)
    ids = given_ids(chain, HashModel())
    assert (run(chain, HashModel(), ids) != run(fresh, HashModel(), ids))[:, 9:].any()


def test_onnx_and_torch_and_by_hand_agree() -> None:
    """One exported model, its fixed grid not asked for."""
    pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    from tests.support.exported import exported_model
    from tests.support.mc_ar import golden_model

    model, exported = golden_model(dtype=torch.float32), exported_model()
    grids = [Layout(frames=1, rows=3, cols=4, lead=4), Layout(frames=1, rows=2, cols=5, lead=1)]
    layouts = chain_layouts([*grids, grids[0]], [0, 2])
    for schedule in (NextToken(), Diagonal(k=2)):
        chain = compile_chain(layouts, schedule)
        ids = given_ids(chain, model, 2)
        expected = run(chain, model, ids)
        np.testing.assert_array_equal(run(chain, exported, ids, chunk=5), expected)
        exact = reference_chain(chain, golden_model(), torch.from_numpy(ids), Greedy(), [0, 0], [0, 1])
        np.testing.assert_array_equal(expected, exact.numpy())
        if isinstance(schedule, NextToken):
            np.testing.assert_array_equal(expected, by_hand(chain, model, ids))


@pytest.mark.parametrize("bundle", sorted(BUNDLES))
def test_padding_never_stands_where_a_later_plan_reads_zeros(bundle: str) -> None:
    """Fixed shapes write padding somewhere; an order that fills a grid backwards reads far ahead of what is written."""
    order = Imported(steps=np.array([[0, 3, 3], [2, 2, 1]]))
    policies = replace(BUNDLES[bundle], proxy="latest", visibility="causal")
    chain = compile_chain([PREVIEW, replace(PREVIEW, lead=9), replace(PREVIEW, lead=16)], order, policies)
    ids = given_ids(chain, HashModel())
    expected = reference_chain(chain, HashModel(), torch.from_numpy(ids), Greedy(), [0], [0]).numpy()
    for static in (False, True):
        np.testing.assert_array_equal(run(chain, HashModel(), ids, static=static), expected)


def test_samples_keep_their_tokens_in_any_batch_and_noise_counts_through_the_sequence() -> None:
    chain, model = compile_chain([PREVIEW, PICTURE], Diagonal(k=1)), HashModel()
    ids = given_ids(chain, model, 3)
    together = run(chain, model, ids, sampler=SAMPLER, seed=5)
    for sample in range(3):
        alone = run(chain, model, ids[sample : sample + 1], sampler=SAMPLER, seed=5, samples=[sample])
        np.testing.assert_array_equal(alone[0], together[sample])
    same = compile_chain([PREVIEW, replace(PREVIEW, lead=9)], NextToken())
    flat = _Flat()
    tokens = run(same, flat, given_ids(same, flat), sampler=SAMPLER, seed=5)
    assert (tokens[:, 3:9] != tokens[:, 9:]).any()  # a key of a slot is used once


class _Flat(HashModel):
    """Logits that say nothing: tokens are the noise."""

    def forward(self, *args: Any) -> Any:
        return torch.zeros_like(super().forward(*args))


@pytest.mark.parametrize("guidance", [3.0, (2.0, -1.5, 0.5)])
def test_guidance_mixes_branches_in_every_plan(guidance: Any) -> None:
    """By hand: causal passes over each branch's own lead, the mixed logits' best id for all of them."""
    model = ImageModel.random(60, dtype=torch.float64)
    chain = compile_chain(chain_layouts([PREVIEW, PICTURE], 2), NextToken())
    weights = (guidance, 1 - guidance) if isinstance(guidance, float) else guidance
    ids = given_ids(chain, model, 2 * len(weights))
    done = replay_chain(chain, model, ids, batch=2, guidance=guidance)
    tokens = torch.full((len(ids), chain.layout.positions), -1)
    tokens[:, torch.from_numpy(chain.given_slots())] = torch.from_numpy(ids)
    for plan in chain.plans:
        ranges = allowed_ids(model.vocabulary, plan.layout)
        for slot in plan.layout.cell_slots().ravel().tolist():
            at, mask = torch.arange(slot), torch.ones((slot, slot), dtype=torch.bool).tril()
            logits = model.forward(tokens[:, :slot], at, at, mask, model.new_cache(len(ids), slot))[:, -1]
            parts = logits.float().reshape(len(weights), 2, -1)
            mixed = sum(weight * part for weight, part in zip(weights, parts, strict=True))
            low, high = ranges[slot].tolist()
            tokens[:, slot] = (mixed[:, low:high].argmax(-1) + low).repeat(len(weights))
    for plan, got in zip(chain.plans, done.tokens, strict=True):
        np.testing.assert_array_equal(got, tokens.numpy()[:2, plan.layout.cell_slots()])


def test_frames_are_handed_on_and_passes_counted_and_it_can_be_ended() -> None:
    first = Layout(frames=2, rows=2, cols=3, lead=2, between_frames=1)
    chain, model = compile_chain(chain_layouts([first, PICTURE], 1), Diagonal(k=1)), HashModel()
    ids = given_ids(chain, model, 2)
    frames: list[Any] = []
    passes: list[int] = []
    done = replay_chain(chain, model, ids, batch=2, on_pass=passes.append, on_frame=lambda *frame: frames.append(frame))
    assert [(plan, frame) for plan, frame, _ in frames] == [(0, 0), (0, 1), (1, 0)]
    for plan, frame, tokens in frames:
        np.testing.assert_array_equal(tokens, done.tokens[plan][:, frame])
    assert passes == list(range(1, chain.cost().passes + 1))
    assert (done.plans, done.complete) == (2, True)
    assert 0 < done.prefill_seconds < done.seconds
    for asked in (3, chain.plans[0].steps, len(passes) - 1):
        answers = iter([False] * (asked - 1) + [True])
        ended = replay_chain(chain, model, ids, batch=2, cancelled=answers.__next__)
        assert not ended.complete
        assert ended.plans == (asked >= chain.plans[0].steps)
        assert (ended.tokens[1] == -1).any()
        np.testing.assert_array_equal(ended.tokens[0][0, 0, 0, 0], done.tokens[0][0, 0, 0, 0])


def test_one_cache_serves_the_whole_chain(monkeypatch: pytest.MonkeyPatch) -> None:
    made = []
    new_cache = HashModel.new_cache

    def counted(self: HashModel, batch: int, slots: int) -> Any:
        made.append((batch, slots))
        return new_cache(self, batch, slots)

    monkeypatch.setattr(HashModel, "new_cache", counted)
    chain = compile_chain([PREVIEW, PICTURE], NextToken())
    run(chain, HashModel(), given_ids(chain, HashModel()))
    assert made == [(1, 64)]


def test_slots_that_are_held_lie_behind_those_of_the_first_pass() -> None:
    """Of plans made elsewhere, whose slots run backwards: a first pass attends over all that it sees."""
    plans = compile_chain([PREVIEW, replace(PICTURE, rows=61, cols=1)], NextToken()).plans
    most = plans[1].cache_slots
    turned = [replace(plan, slot=most - 1 - plan.slot, cache_slots=most) for plan in plans]
    chain, model = Chain(plans=tuple(turned), kept=((), ((0, 8),))), HashModel()
    ids = given_ids(chain, model)
    got = run(chain, model, ids, unverified=True)  # the first plan has more slots than one alone may have
    np.testing.assert_array_equal(got, run(Chain(plans=plans, kept=((), ((0, 8),))), model, ids))


def test_padding_has_a_slot_where_the_sequence_fills_the_cache() -> None:
    layouts = chain_layouts([Layout(frames=1, rows=2, cols=4, lead=8), Layout(frames=1, rows=28, cols=36, lead=1)])
    assert layouts[1].positions == STATIC_STEP
    chain, model = compile_chain(layouts, Diagonal(k=1)), HashModel()
    ids = given_ids(chain, model)
    np.testing.assert_array_equal(run(chain, model, ids, static=True), run(chain, model, ids))


class _Short(HashModel):
    positions = 20


class _Narrow(HashModel):
    vocabulary = (AllowedIds(low=0, high=9, rows=(0, 2)),)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"ids": np.zeros((1, 4), np.int64)}, MismatchError, "expected given ids of shape [rows, 3], those of every"),
        ({"ids": np.zeros((2, 3), np.int64)}, MismatchError, "expected given ids of shape [1, 3], got [2, 3]."),
        ({"ids": np.full((1, 3), 999)}, MismatchError, "expected given ids from 0 to 250, got 999 to 999."),
        ({"model": _Short()}, MismatchError, "expected a chain of at most 20 positions for this hash model, got"),
        ({"model": _Narrow()}, MismatchError, "expected ids that each cell may take, got none for some."),
        ({"chain": 3}, SpecError, "expected plan to be a Chain, got plan=<int>. Compile one first."),
        ({"seed": -1}, SpecError, "expected 0 <= seed < 2**63, got seed=-1."),
        ({"static": 3}, SpecError, "expected static to be True, False or None"),
        ({"on_frame": 3}, SpecError, "expected on_frame to be a function or None"),
    ],
)
def test_wrong_arguments(change: dict[str, Any], error: type[Exception], message: str) -> None:
    right: dict[str, Any] = {"chain": compile_chain([PREVIEW, PICTURE], NextToken()), "model": HashModel()}
    right["ids"] = np.zeros((1, 3), np.int64)
    asked = right | change
    chain, model, ids = (asked.pop(name) for name in ("chain", "model", "ids"))
    with pytest.raises(error, match=re.escape(message)):
        replay_chain(chain, model, ids, **asked)


def test_a_chain_that_keeps_what_is_not_there_is_refused() -> None:
    plans = [compile_plan(PREVIEW, Diagonal(k=1), Policies(row_end="keep")), compile_plan(PICTURE, Diagonal(k=1))]
    chain = chain_of(plans)
    assert chain.kept == ((), ((0, 5), (6, 8)))  # the end of the first row keeps its proxy's keys and values
    damaged = replace(chain, kept=((), ((0, 8),)))
    ids = given_ids(chain, HashModel())
    message = "expected a valid chain, got 1 error(s), the first DP703 in plan 1: expected the cache before step 0 to"
    with pytest.raises(InvalidPlanError, match=re.escape(message)):
        replay_chain(damaged, HashModel(), ids)
    assert replay_chain(damaged, HashModel(), ids, unverified=True).complete
