"""Speculative replay of every adapter on every backend, and of the golden cases: the tokens of replay step by step."""

import math
from random import Random
from typing import Any

import numpy as np
import pytest
from hypothesis import given as given_examples
from hypothesis import settings
from hypothesis import strategies as st

torch = pytest.importorskip("torch")

from diagplan import NextToken, Plan, compile_plan  # noqa: E402
from diagplan.backends import speculative  # noqa: E402
from diagplan.backends.reference import reference_replay  # noqa: E402
from diagplan.backends.sampling import Sampler  # noqa: E402
from diagplan.planner.speculation import Speculation  # noqa: E402
from tests.conformance.test_every_valid_plan import shuffled  # noqa: E402
from tests.support import cosmos_golden, mc_ar, mineworld, wham  # noqa: E402
from tests.support.conformance import LAYOUT, MODELS, SAMPLERS, exported, ids_for, small_plans  # noqa: E402
from tests.support.hash_model import HashModel  # noqa: E402
from tests.support.speculated import guessable, speculations, step_by_step  # noqa: E402
from tests.support.strategies import Request, plans  # noqa: E402

#: Every adapter; on ONNX Runtime the one whose graph is quickest to export.
ALL = pytest.mark.parametrize(("model_name", "backend"), [*((name, "torch") for name in MODELS), ("mc-ar-1d", "onnx")])


def speculated(plan: Plan, model: Any, ids: np.ndarray, speculation: Speculation, **options: Any) -> np.ndarray:
    prepared = speculative.prepare(plan, model, speculation, batch=len(ids), **options)
    return speculative.replay(prepared, speculative.new_state(prepared, ids)).tokens


@ALL
@settings(max_examples=8, deadline=None)
@given_examples(
    plan=small_plans(), sampler=st.sampled_from(SAMPLERS), seed=st.integers(0, 5), speculation=speculations(widest=30)
)
def test_tokens_are_the_reference_executors(
    model_name: str, backend: str, plan: Plan, sampler: Sampler, seed: int, speculation: Speculation
) -> None:
    """In float64, where ties are out of reach."""
    model = MODELS[model_name](torch.float64)
    ids = ids_for(plan, model, seed=seed)
    tokens, _ = reference_replay(plan, model, torch.from_numpy(ids), sampler, [seed], [0])
    run_on = exported(model_name, torch.float64) if backend == "onnx" else model
    got = speculated(plan, run_on, ids, speculation, sampler=sampler, seed=seed)
    np.testing.assert_array_equal(got[0], tokens[0].numpy()[plan.layout.cell_slots()])


@ALL
def test_a_batch_is_its_samples(model_name: str, backend: str) -> None:
    model = MODELS[model_name](torch.float64)
    run_on = exported(model_name, torch.float64) if backend == "onnx" else model
    plan = compile_plan(LAYOUT, NextToken())
    ids = ids_for(plan, model, batch=3)
    if getattr(model, "only_batch", None) is not None:
        pytest.skip("this model holds something for one sample")
    for sampler in SAMPLERS[:2]:
        whole = speculated(plan, run_on, ids, Speculation(window=9), sampler=sampler, seed=5)
        for sample in range(3):
            one = speculated(
                plan, run_on, ids[[sample]], Speculation(window=6), sampler=sampler, seed=5, samples=[sample]
            )
            np.testing.assert_array_equal(one[0], whole[sample])


@settings(max_examples=40)
@given_examples(compiled=plans(frames=2, side=4), seed=st.integers(0, 1 << 16), speculation=speculations(widest=30))
def test_the_order_of_feeds_has_no_meaning(compiled: tuple[Request, Plan], seed: int, speculation: Speculation) -> None:
    """Entries are put in the order of positions, whatever the order of a step's feeds in the plan."""
    plan, model = compiled[1], guessable(HashModel, 5)
    ids = ids_for(plan, model, seed=seed)
    want = speculated(plan, model, ids, speculation)
    np.testing.assert_array_equal(want, step_by_step(plan, model, ids))
    np.testing.assert_array_equal(speculated(shuffled(plan, Random(seed)), model, ids, speculation), want)


WINDOWS = pytest.mark.parametrize("speculation", [Speculation(window=8), Speculation(window=40, adaptive=True)])


@WINDOWS
@pytest.mark.parametrize("name", mineworld.META["cases"])
def test_golden_tokens_of_mc_ar(name: str, speculation: Speculation) -> None:
    """Plans that the release ran: proxies whose keys and values stay, and zeros that take part in the softmax."""
    case = mineworld.META["cases"][name]
    got = speculated(mineworld.golden_plan(case), mc_ar.golden_model(), mineworld.GIVEN[None], speculation)
    np.testing.assert_array_equal(got.reshape(-1), mineworld.DATA[f"tokens/{name}"].reshape(-1))


@WINDOWS
@pytest.mark.parametrize("name", ["a", "b"])
def test_golden_tokens_of_cosmos(name: str, speculation: Speculation) -> None:
    case = cosmos_golden.golden(name)
    frame = math.prod(case.config.video_latent_shape[1:])
    layout = case.config.layout((case.prefill - case.config.lead) // frame)
    given = case.data["tokens"][:, : case.prefill]
    got = speculated(compile_plan(layout, NextToken()), case.model(), given, speculation)
    np.testing.assert_array_equal(got.reshape(2, -1), case.data["greedy_continuation"])


@WINDOWS
def test_golden_tokens_of_wham(speculation: Speculation) -> None:
    prompt = wham.DATA["gen2/prompt_ids"].reshape(2, -1)
    plan = compile_plan(wham.CONFIG.layout(1, prompt_frames=2), NextToken())
    got = speculated(plan, wham.golden_model(), prompt, speculation)
    np.testing.assert_array_equal(got.reshape(2, -1), wham.DATA["gen2/image_tokens"])
