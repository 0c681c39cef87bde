"""A plan's JSON is enough to replay it: the release's golden tokens, by a replayer that knows no diagplan."""

import numpy as np
import pytest

from diagplan import BUNDLES, NextToken, compile_plan, verify
from diagplan.planner.compiler import SlotOrder
from diagplan.planner.plan import Plan
from diagplan.planner.schedule import Diagonal
from diagplan.schemas.files import plan_to_json
from tests.support.mineworld import COLS, DATA, GIVEN, LAYOUT, META, WEIGHTS, golden_plan
from tests.support.replayer import Llama, replay


def tokens_of(plan: Plan) -> tuple[np.ndarray, int]:
    weights = {name: value.astype(np.float32) for name, value in WEIGHTS.items()}
    # An image slot never yields an action id.
    weights["lm_head.weight"] = weights["lm_head.weight"][: META["image_vocab"]]
    llama = Llama(weights, META["config"], plan.cache_slots)
    ids, passes = replay(plan_to_json(plan), GIVEN, llama.forward)
    return ids[LAYOUT.cell_slots()].ravel(), passes


@pytest.mark.parametrize("name", META["cases"])
def test_golden_tokens(name: str) -> None:
    case = META["cases"][name]
    plan = golden_plan(case)
    assert verify(plan).ok
    tokens, passes = tokens_of(plan)
    assert passes == case["forward_passes"]
    np.testing.assert_array_equal(tokens, DATA[f"tokens/{name}"].ravel())


def test_the_cases_tell_policies_apart() -> None:
    """Else the golden tokens would prove little: two proxies must give different tokens somewhere."""
    assert (DATA["tokens/image_k1_prompt"] != DATA["tokens/image_k1_latest"]).any()
    assert (DATA["tokens/vid_k2_prompt"] != DATA["tokens/image_k2_prompt"]).any()


@pytest.mark.parametrize("k", [1, 2, 5])
@pytest.mark.parametrize(("slots", "pad"), [("step-order", None), ("position", (2, 4, 8)), ("step-order", (1, 3))])
def test_lowering_keeps_the_tokens(k: int, slots: SlotOrder, pad: tuple[int, ...] | None) -> None:
    schedule = Diagonal(k=k, d=3)
    want, passes = tokens_of(compile_plan(LAYOUT, schedule))
    lowered = compile_plan(LAYOUT, schedule, slots=slots, pad=pad)
    tokens, lowered_passes = tokens_of(lowered)
    assert passes == lowered_passes
    np.testing.assert_array_equal(tokens, want)


def test_sequential_full_rows_are_next_token_prediction() -> None:
    want, _ = tokens_of(compile_plan(LAYOUT, NextToken()))
    for bundle in BUNDLES.values():
        tokens, passes = tokens_of(compile_plan(LAYOUT, Diagonal(k=COLS), bundle))
        assert passes == LAYOUT.tokens
        np.testing.assert_array_equal(tokens, want)
