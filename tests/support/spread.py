"""Tiny models whole and spread over ranks: what each must give, and what a rank does to find out."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from diagplan import Diagonal, Layout, NextToken, Speculation, compile_plan, replay  # noqa: E402
from diagplan.adapters.cosmos import Cosmos  # noqa: E402
from diagplan.adapters.cosmos_files import load_cosmos  # noqa: E402
from diagplan.adapters.mc_ar import McAr, random_weights  # noqa: E402
from diagplan.adapters.parallel import Counted  # noqa: E402
from diagplan.adapters.parallel_cuts import pass_traffic  # noqa: E402
from diagplan.adapters.parallel_parts import cosmos_part, mc_ar_part, wham_part  # noqa: E402
from diagplan.adapters.wham import Wham  # noqa: E402
from diagplan.adapters.wham import random_weights as wham_weights  # noqa: E402
from diagplan.backends.sampling import Greedy, Sample  # noqa: E402
from diagplan.planner.errors import SpecError  # noqa: E402
from tests.support.cut_weights import CutWeights  # noqa: E402
from tests.support.families import GPT, LLAMA, WORLD  # noqa: E402

SAMPLERS = (Greedy(), Sample(temperature=0.8, top_p=0.9))
EXACT = Speculation(window=7, draft="above")
LLAMA_LAYOUT = Layout(frames=2, rows=3, cols=4, prompt_frames=1, between_frames=2)
GPT_LAYOUT = Layout(frames=2, rows=3, cols=4, prompt_frames=1, between_frames=4)


class Spread(NamedTuple):
    """A model of a family: whole, and a rank's part."""

    whole: Any
    part: Callable[[Any], Any]
    layout: Layout


def mc_ar_of(config: Any, weights: Any) -> Spread:
    def part(ranks: Any) -> McAr:
        return McAr(config, CutWeights(weights, mc_ar_part(config, ranks).cuts), ranks=ranks)

    return Spread(McAr(config, weights), part, LLAMA_LAYOUT)


def cosmos_of(config: Any, weights: Any, text: Any = None) -> Spread:
    def part(ranks: Any) -> Cosmos:
        model = Cosmos(config, CutWeights(weights, cosmos_part(config, ranks).cuts), ranks=ranks)
        return model if text is None else model.with_context(text)

    whole = Cosmos(config, weights)
    return Spread(whole if text is None else whole.with_context(text), part, config.layout(1))


def wham_of(config: Any, weights: Any) -> Spread:
    def part(ranks: Any) -> Wham:
        return Wham(config, CutWeights(weights, wham_part(config, ranks).cuts), ranks=ranks)

    return Spread(Wham(config, weights), part, GPT_LAYOUT)


#: One of each family.
FEW = ("mc-ar", "cosmos, text", "wham")


def models() -> dict[str, Spread]:
    """One of each kind; vocabularies and inner widths that ranks cannot share evenly among them."""
    flat = replace(LLAMA, vocab_size=39, intermediate_size=50)
    spatial = replace(LLAMA, rope="3d", rows=3, cols=4, action_tokens=2)
    bare = replace(WORLD, begin_of_video=False, context_dim=None)
    second = replace(GPT, nanogpt_version=2, bias=False)
    text = np.random.default_rng(3).normal(size=(3, 12)).astype(np.float32)
    return {
        "mc-ar": mc_ar_of(flat, random_weights(flat, seed=1)),
        "mc-ar, 3d": mc_ar_of(spatial, random_weights(spatial, seed=2)),
        "cosmos": cosmos_of(bare, random_weights(bare, seed=3)),
        "cosmos, text": cosmos_of(WORLD, random_weights(WORLD, seed=4), text),
        "wham": wham_of(GPT, wham_weights(GPT, seed=5)),
        "wham, version 2": wham_of(second, wham_weights(second, seed=6)),
    }


def given_of(spread: Spread, batch: int = 2) -> Any:
    """Random ids of the given slots, int64 [B, G]."""
    low, high = spread.whole.vocabulary[-1].low, spread.whole.vocabulary[-1].high
    return np.random.default_rng(7).integers(low, high, (batch, int(given_count(spread.layout))))


def given_count(layout: Layout) -> int:
    from diagplan.backends.given import given_slots

    return len(given_slots(layout))


def check_part(name: str, spread: Spread, ranks: Any) -> Any:
    """A rank's part of a model, which holds its share of the cache."""
    part = spread.part(ranks)
    assert part.cache_shapes[0][0] == max(1, spread.whole.cache_shapes[0][0] // ranks.world), name
    if name in ("mc-ar", "cosmos"):
        with pytest.raises(SpecError, match="expected a model that is whole in one process for compiled layers"):
            part.compiled()
    return part


def compare_few(ranks: Any) -> None:
    """One model of each family, each way to replay once: tokens as of the whole one."""
    kinds = models()
    for name in FEW:
        part = check_part(name, kinds[name], ranks)
        for schedule, sampler, speculation in (
            (NextToken(), SAMPLERS[0], None),
            (Diagonal(k=2), SAMPLERS[1], None),
            (NextToken(), SAMPLERS[0], EXACT),
            (Diagonal(k=2), SAMPLERS[1], EXACT),
        ):
            same_tokens(name, kinds[name], part, schedule, sampler, speculation)


def compare(ranks: Any) -> None:
    """Every model under every plan, step by step and exact, greedy and sampled: tokens as of the whole one."""
    for name, spread in models().items():
        part = check_part(name, spread, ranks)
        for schedule in (NextToken(), Diagonal(k=2)):
            for sampler in SAMPLERS:
                for speculation in (None, EXACT):
                    same_tokens(name, spread, part, schedule, sampler, speculation)


def same_tokens(name: str, spread: Spread, part: Any, schedule: Any, sampler: Any, speculation: Any) -> None:
    plan, given = compile_plan(spread.layout, schedule), given_of(spread)
    wanted = replay(plan, spread.whole, given=given, sampler=sampler, seed=5)
    tokens = replay(plan, part, given=given, sampler=sampler, seed=5, speculation=speculation)
    np.testing.assert_array_equal(tokens, wanted, err_msg=f"{name}, {schedule}, {sampler}, {speculation}")


def count(ranks: Any) -> None:
    """What one pass tells the other ranks, by the formula of docs/many.md."""
    for name, spread in models().items():
        counted = Counted(ranks)
        model, whole, batch, feeds, targets = spread.part(counted), spread.whole, 2, 5, 3
        at = torch.arange(feeds)
        mask = torch.ones((feeds, feeds), dtype=torch.bool).tril()
        cache, ids = model.new_cache(batch, feeds), torch.ones((batch, feeds), dtype=torch.int64)
        counted.sums = counted.summed_bytes = counted.joins = counted.joined_bytes = 0
        model.forward(ids, at, at, mask, cache, at[:targets])
        told = pass_traffic(
            layers=len(whole.cache_shapes) // 2, hidden=whole.widths.hidden, logits=whole.config.vocab_size,
            feeds=batch * feeds, targets=batch * targets, itemsize=4, reads_text=name == "cosmos, text",
        )  # fmt: skip
        assert (counted.sums, counted.summed_bytes, counted.joins, counted.joined_bytes) == told, name


def golden(ranks: Any, folder: Path) -> None:
    """The golden tokens of all three families, which their publishers' own code computed."""
    _golden_mineworld(ranks)
    for name in ("a", "b"):
        own = folder / f"{name} of rank {ranks.rank}"
        own.mkdir()
        _golden_cosmos(ranks, name, own)
    _golden_wham(ranks)


def _golden_mineworld(ranks: Any) -> None:
    from tests.support.mc_ar import GOLDEN, golden_weights
    from tests.support.mineworld import DATA, GIVEN, META, golden_plan

    model = McAr(GOLDEN, CutWeights(golden_weights(), mc_ar_part(GOLDEN, ranks).cuts), ranks=ranks)
    for name, case in META["cases"].items():
        for speculation in (None, Speculation(window=9, draft="previous-frame")):
            tokens = replay(golden_plan(case), model, given=GIVEN, speculation=speculation)
            np.testing.assert_array_equal(tokens.ravel(), DATA[f"tokens/{name}"].ravel(), err_msg=name)


def _golden_cosmos(ranks: Any, name: str, folder: Path) -> None:
    """From the shards of two ranks, however many there are."""
    from tests.support.cosmos_forms import write_form
    from tests.support.cosmos_golden import golden as case_of

    case = case_of(name)
    model: Any = load_cosmos(write_form("tensor parallel", case, folder), config=case.config, ranks=ranks)
    model = case.bound(model)
    rows, cols = case.config.video_latent_shape[1:]
    layout = case.config.layout((case.prefill - case.config.lead) // (rows * cols))
    for speculation in (None, Speculation(window=9, draft="above")):
        given = case.data["tokens"][:, : case.prefill]
        tokens = replay(compile_plan(layout, NextToken()), model, given=given, speculation=speculation)
        np.testing.assert_array_equal(tokens.reshape(2, -1), case.data["greedy_continuation"])


def _golden_wham(ranks: Any) -> None:
    from tests.support.wham import CONFIG, DATA, STEP, WEIGHTS

    weights = {name: torch.from_numpy(value.copy()) for name, value in WEIGHTS.items()}
    model = Wham(CONFIG, CutWeights(weights, wham_part(CONFIG, ranks).cuts), ranks=ranks)
    kept = DATA["ids"].reshape(2, 4, STEP)[:, 1:].reshape(2, -1)
    wanted = DATA["genfull/image_tokens"]
    for schedule in (NextToken(), Diagonal(k=4)):  # a diagonal of full rows is next-token prediction
        frame = replay(compile_plan(CONFIG.layout(), schedule), model, given=kept)
        np.testing.assert_array_equal(frame.reshape(2, -1), wanted)
    action_plan = compile_plan(CONFIG.action_layout(4), NextToken())
    seen = np.concatenate([kept, wanted], axis=1)
    action = replay(action_plan, model.policy(), given=seen)
    np.testing.assert_array_equal(action.reshape(2, -1) - CONFIG.image_codes, DATA["genfull/action_tokens"])


def drift(ranks: Any) -> None:
    """A rank that has another id, and one that accepts another number of guesses: every rank says which frame."""
    from diagplan.backends import replay as executor
    from diagplan.planner.errors import RanksError

    spread = models()["mc-ar"]
    model, plan = spread.part(ranks), compile_plan(spread.layout, NextToken())
    prepared = executor.prepare(plan, model, batch=1)
    state = executor.new_state(prepared, given_of(spread, 1))
    cell = int(prepared.cell_slots[1, 0, 0])

    def changed(step: int, now: executor.State) -> None:
        if ranks.rank == 1 and int(now.tokens[0, cell]) >= 0:
            now.tokens[0, cell] = (now.tokens[0, cell] + 1) % 30

    with pytest.raises(RanksError, match=r"same tokens of frame 1 on all \d ranks, .* rank\(s\) 1\. "):
        executor.replay(prepared, state, on_step=changed)
    others = given_of(spread, 1)
    others[0, 0] = ranks.rank
    with pytest.raises(RanksError, match="same given ids on all"):
        executor.replay(prepared, executor.new_state(prepared, others))
    with pytest.raises(RanksError, match="same given ids on all"):
        replay(plan, model, given=others, speculation=EXACT)


def quick(ranks: Any, folder: Path) -> None:
    """What two ranks are asked in the default run, in one pair of processes."""
    del folder
    for check in (compare_few, count, drift):
        check(ranks)


def whole(ranks: Any, folder: Path) -> None:
    """All of it."""
    del folder
    for check in (compare, count, drift):
        check(ranks)
