"""The reference executor: slow, obvious, and the meaning of a plan.

It keeps no cache. For every step it runs the model once over all feeds up to that step, each in a slot of its own, and
lets feed i see feed j exactly where j is the newest write, not later than i's step, of a slot in i's mask row. Of a
chain the feeds of all plans stand one after the other: what a plan does not feed again, its feeds see where a plan
before fed it.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from diagplan.adapters.contract import Model, allowed_ids, coordinates_of
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


def teacher_forced_logits(
    plan: Plan, model: Model, tokens: Tensor, feeds: int | None = None, pad: Sequence[int] | None = None
) -> Tensor:
    """One pass over the first ``feeds`` feeds (default all), each fed its source's token: logits [B, feeds, V].

    Args:
        plan: the plan.
        model: the model.
        tokens: the ids of all slots, int64 [B, positions]; unknown ones are not looked at if their feeds come later.
        feeds: how many feeds to lay out.
        pad: positions at the beginning of each sample that are padding, B.
    """
    count = plan.feeds if feeds is None else feeds
    columns = np.r_[0:count, plan.feeds : plan.feeds + plan.cache_slots]
    mask = torch.from_numpy(feed_mask(plan)[:count][:, columns]).to(model.device)
    source = torch.from_numpy(np.maximum(plan.source[:count], 0).astype(np.int64)).to(model.device)
    places = coordinates_of(model, plan.layout)
    position = plan.position[:count].astype(np.int64)
    first = torch.tensor([0] if pad is None else pad, device=model.device)[:, None]
    if pad is not None:
        at = torch.from_numpy(position).to(model.device)
        fed = torch.cat((at, at.new_full((mask.shape[1] - count,), plan.positions)))  # unwritten slots are no padding
        own = torch.eye(count, mask.shape[1], dtype=torch.bool, device=model.device)
        mask = mask & (fed >= first)[:, None] | own
    place = torch.from_numpy(position if places is None else places[position]).to(model.device)
    if pad is not None and places is None:
        place = (place - first).clamp(min=0)
    cache = model.new_cache(tokens.shape[0], mask.shape[-1])
    slot = torch.arange(count, device=model.device)
    logits: Tensor = model.forward(tokens[:, source], place, slot, mask, cache)
    return logits


def reference_replay(
    plan: Plan,
    model: Model,
    given: Tensor,
    sampler: Sampler,
    seeds: Sequence[int],
    samples: Sequence[int],
    pad: Sequence[int] | None = None,
) -> tuple[Tensor, Tensor]:
    """Replay a plan step by step.

    Args:
        plan: a valid plan.
        model: the model; float64 weights make the result exact for practical purposes.
        given: ids of the given slots in slot order, int64 [B, G].
        sampler: how tokens are chosen.
        seeds: of each sample, B.
        samples: number of each sample, B; with the seed and the slot it keys the noise.
        pad: positions at the beginning of each sample that are padding, B; slots that key the noise count from there.

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
        logits = teacher_forced_logits(plan, model, tokens, end, pad)
        for feed in range(start, end):
            slot = int(plan.target[feed])
            if slot < 0:
                continue
            low, high = ranges[slot].tolist()
            keys = keys_for(np.array(seeds), np.array(samples), np.arange(slot + 1))
            own = np.full(batch, slot) - (0 if pad is None else np.array(pad))  # counted from the first token on
            keys = keys[np.arange(batch), own][:, None]
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
    source: list[int] = []
    position: list[Any] = []  # a slot of each feed, or a row of coordinates
    layouts = [plan.layout for plan in chain.plans]
    for number, (plan, runs) in enumerate(zip(chain.plans, chain.kept, strict=True)):
        ranges = allowed_ids(model.vocabulary, plan.layout)
        places = coordinates_of(model, *layouts[: number + 1])
        kept = {slot for start, end in runs for slot in range(start, end)}
        rows = np.concatenate([mask for _, mask in iter_masks(plan)])
        for step, (start, end) in enumerate(zip(plan.step_offsets[:-1], plan.step_offsets[1:], strict=True)):
            left_out = {f for f in range(start, end) if step == 0 and plan.target[f] < 0 and plan.position[f] in kept}
            run = [feed for feed in range(start, end) if feed not in left_out]
            number_of = {feed: len(source) + i for i, feed in enumerate(run)}
            for feed, place in number_of.items():
                at = int(plan.position[feed])
                source.append(max(int(plan.source[feed]), 0))
                position.append(at if places is None else places[at])
                writer[plan.slot[feed]] = place
            for feed, place in number_of.items():
                seen[place, writer[np.flatnonzero(rows[feed])]] = True
            if not number_of:
                continue
            fed = len(source)
            mask = torch.from_numpy(seen[:fed][:, np.r_[0:fed, most : most + slots]]).to(model.device)
            where = torch.from_numpy(np.array(position, dtype=np.int64)).to(model.device)
            cache = model.new_cache(len(tokens), fed + slots)
            slot = torch.arange(fed, device=model.device)
            logits = model.forward(tokens[:, source], where, slot, mask, cache)
            for feed, place in number_of.items():
                target = int(plan.target[feed])
                if target >= 0:
                    low, high = ranges[target].tolist()
                    keys = torch.from_numpy(keys_for(np.array(seeds), np.array(samples), np.array([target])))
                    row = logits[:, place : place + 1]
                    tokens[:, target] = torch_choose(row, sampler, keys.to(model.device), (low, high))[:, 0]
    return tokens
