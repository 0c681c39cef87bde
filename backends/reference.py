"""The reference executor: slow, obvious, and the meaning of a plan.

It keeps no cache. For every step it runs the model once over all feeds up to that step, each in a slot of its own, and
lets feed i see feed j exactly where j is the newest write, not later than i's step, of a slot in i's mask row. Of a
chain the feeds of all plans stand one after the other: what a plan does not feed again, its feeds see where a plan
before fed it.
"""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from diagplan.adapters.contract import Model, allowed_ids
from diagplan.backends.sampling import Sampler, keys_for, torch_choose
from diagplan.planner.chain import Chain
from diagplan.planner.masks import iter_masks
from diagplan.planner.plan import Plan

__all__ = ["feed_mask", "reference_chain", "reference_replay", "teacher_forced_logits"]


def feed_mask(plan: Plan) -> NDArray[np.bool_]:
    """Who sees whom, bool [N, N + cache_slots]: feed i sees feed j; column N + q is slot q while never written."""
    seen = np.zeros((plan.feeds, plan.feeds + plan.cache_slots), dtype=np.bool_)
    writer = np.arange(plan.feeds, plan.feeds + plan.cache_slots)  # the column each slot's content stands in
    written = 0
    for first, mask in iter_masks(plan):
        end = int(plan.step_offsets[np.searchsorted(plan.step_offsets, first, side="right")])
        writer[plan.slot[written:end]] = np.arange(written, end)
        written = end
        row, slot = np.nonzero(mask)
        seen[row + first, writer[slot]] = True
    return seen


def teacher_forced_logits(plan: Plan, model: Model, tokens: Tensor, feeds: int | None = None) -> Tensor:
    """One pass over the first ``feeds`` feeds (default all), each fed its source's token: logits [B, feeds, V].

    Args:
        plan: the plan.
        model: the model.
        tokens: the ids of all slots, int64 [B, positions]; unknown ones are not looked at if their feeds come later.
        feeds: how many feeds to lay out.
    """
    count = plan.feeds if feeds is None else feeds
    columns = np.r_[0:count, plan.feeds : plan.feeds + plan.cache_slots]
    mask = torch.from_numpy(feed_mask(plan)[:count][:, columns]).to(model.device)
    source = torch.from_numpy(np.maximum(plan.source[:count], 0).astype(np.int64)).to(model.device)
    position = torch.from_numpy(plan.position[:count].astype(np.int64)).to(model.device)
    cache = model.new_cache(tokens.shape[0], mask.shape[1])
    slot = torch.arange(count, device=model.device)
    logits: Tensor = model.forward(tokens[:, source], position, slot, mask, cache)
    return logits


def reference_replay(
    plan: Plan, model: Model, given: Tensor, sampler: Sampler, seeds: Sequence[int], samples: Sequence[int]
) -> tuple[Tensor, Tensor]:
    """Replay a plan step by step.

    Args:
        plan: a valid plan.
        model: the model; float64 weights make the result exact for practical purposes.
        given: ids of the given slots in slot order, int64 [B, G].
        sampler: how tokens are chosen.
        seeds: of each sample, B.
        samples: number of each sample, B; with the seed and the slot it keys the noise.

    Returns:
        the ids of all slots, int64 [B, positions], and the logits that chose each generated one, [B, positions, V]
        (zeros elsewhere).
    """
    batch = given.shape[0]
    tokens = torch.full((batch, plan.positions), -1, dtype=torch.int64, device=model.device)
    ranges = allowed_ids(model.vocabulary, plan.layout)
    given_slots = np.concatenate([np.arange(start, end) for start, end in plan.given.tolist()])
    tokens[:, torch.from_numpy(given_slots)] = given.to(model.device)
    chosen_by = torch.zeros((batch, plan.positions, model.vocab_size), dtype=model.dtype, device=model.device)
    for start, end in zip(plan.step_offsets[:-1].tolist(), plan.step_offsets[1:].tolist(), strict=True):
        logits = teacher_forced_logits(plan, model, tokens, end)
        for feed in range(start, end):
            slot = int(plan.target[feed])
            if slot < 0:
                continue
            low, high = ranges[slot].tolist()
            keys = keys_for(np.array(seeds), np.array(samples), np.array([slot]))
            row = logits[:, feed : feed + 1]
            tokens[:, slot] = torch_choose(row, sampler, torch.from_numpy(keys).to(model.device), (low, high))[:, 0]
            chosen_by[:, slot] = row[:, 0]
    return tokens, chosen_by


def reference_chain(
    chain: Chain, model: Model, given: Tensor, sampler: Sampler, seeds: Sequence[int], samples: Sequence[int]
) -> Tensor:
    """Replay a chain step by step.

    Args:
        chain: a valid chain.
        model: the model.
        given: ids of ``chain.given_slots()`` in slot order, int64 [B, G].
        sampler: how tokens are chosen.
        seeds: of each sample, B.
        samples: number of each sample, B.

    Returns:
        the ids of all slots, int64 [B, positions].
    """
    tokens = torch.full((given.shape[0], chain.layout.positions), -1, dtype=torch.int64, device=model.device)
    tokens[:, torch.from_numpy(chain.given_slots())] = given.to(model.device)
    slots = max(plan.cache_slots for plan in chain.plans)
    most = sum(plan.feeds for plan in chain.plans)
    seen = np.zeros((most, most + slots), dtype=np.bool_)
    writer = np.arange(most, most + slots)  # the column each slot's content stands in; at first the zeros behind all
    source, position = np.zeros((2, most), dtype=np.int64)
    fed = 0
    for plan, runs in zip(chain.plans, chain.kept, strict=True):
        ranges = allowed_ids(model.vocabulary, plan.layout)
        kept = {slot for start, end in runs for slot in range(start, end)}
        rows = np.concatenate([mask for _, mask in iter_masks(plan)])
        for step, (start, end) in enumerate(zip(plan.step_offsets[:-1], plan.step_offsets[1:], strict=True)):
            left_out = {f for f in range(start, end) if step == 0 and plan.target[f] < 0 and plan.position[f] in kept}
            places = {feed: fed + i for i, feed in enumerate(f for f in range(start, end) if f not in left_out)}
            for feed, place in places.items():
                source[place], position[place] = max(plan.source[feed], 0), plan.position[feed]
                writer[plan.slot[feed]] = place
            for feed, place in places.items():
                seen[place, writer[np.flatnonzero(rows[feed])]] = True
            fed += len(places)
            if not places:
                continue
            columns = np.r_[0:fed, most : most + slots]
            mask = torch.from_numpy(seen[:fed][:, columns]).to(model.device)
            at = [torch.from_numpy(column[:fed].copy()).to(model.device) for column in (source, position)]
            cache = model.new_cache(len(tokens), fed + slots)
            logits = model.forward(tokens[:, at[0]], at[1], torch.arange(fed, device=model.device), mask, cache)
            for feed, place in places.items():
                slot = int(plan.target[feed])
                if slot >= 0:
                    low, high = ranges[slot].tolist()
                    keys = torch.from_numpy(keys_for(np.array(seeds), np.array(samples), np.array([slot])))
                    row = logits[:, place : place + 1]
                    tokens[:, slot] = torch_choose(row, sampler, keys.to(model.device), (low, high))[:, 0]
    return tokens
