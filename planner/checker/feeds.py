"""Predicates on the plan's numbers, tokens and cache writes."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from diagplan.planner.checker.diagnostics import Hits
from diagplan.planner.checker.facts import NEVER, Facts

__all__ = [
    "cache_only_source",
    "emitted_twice",
    "empty_steps",
    "given_emitted",
    "kept_proxies",
    "layout_disagrees",
    "never_emitted",
    "never_fed",
    "numbers_in_range",
    "padding_misused",
    "position_not_predecessor",
    "shared_slots",
    "source_unknown",
    "too_wide",
    "written_twice",
]


def _at(hit: NDArray[np.bool_]) -> NDArray[np.intp]:
    return np.flatnonzero(hit)


def numbers_in_range(facts: Facts) -> Iterator[Hits]:
    """DP101: columns, the trash slot and listed feeds within their ranges."""
    plan = facts.plan
    for name, low, high in (
        ("source", -1, plan.positions),
        ("position", 0, plan.positions),
        ("slot", 0, plan.cache_slots),
        ("target", -1, plan.positions),
    ):
        column = getattr(plan, name)
        feed = _at((column < low) | (column >= high))
        yield Hits(
            text=f"expected {name} from {low} to {high - 1}, got {name}={{value}}",
            feed=feed,
            slot=column[feed],
            values={"value": column[feed]},
        )
    most = plan.positions + plan.feeds + 1  # more could hold nothing, and what is allocated goes by this number
    if plan.cache_slots > most:
        yield Hits(
            text=f"expected at most positions + feeds + 1 = {most} cache slots, got cache_slots={plan.cache_slots}"
        )
    if plan.trash_slot is not None and not 0 <= plan.trash_slot < plan.cache_slots:
        yield Hits(text=f"expected a trash slot below {plan.cache_slots}, got trash={plan.trash_slot}")
    listed = _at((plan.listed.feed < 0) | (plan.listed.feed >= plan.feeds))
    yield Hits(
        text=f"expected listed rows of feeds below {plan.feeds}, got feed={{value}}",
        values={"value": plan.listed.feed[listed]},
    )


def layout_disagrees(facts: Facts) -> Iterator[Hits]:
    """DP102: positions and given runs as the layout has them."""
    plan, layout = facts.plan, facts.plan.layout
    if plan.positions != layout.positions:
        yield Hits(text=f"expected positions={layout.positions} from the layout, got positions={plan.positions}")
        return  # a document may state a layout far longer than itself: nothing is allocated on its word
    most = 2 * plan.feeds + 2  # each is chosen by a feed, or given, and a given one that no feed carries is of no use
    if plan.positions > most:
        yield Hits(text=f"expected positions of at most 2 x feeds + 2 = {most}, got positions={plan.positions}")
        return
    frame = layout.rows * layout.cols + (layout.rows - 1) * layout.between_rows + layout.between_frames
    slot = np.arange(layout.positions)
    in_frame = (slot - layout.lead) % frame
    stride = layout.cols + layout.between_rows
    cell = (in_frame < frame - layout.between_frames) & (in_frame % stride < layout.cols)
    generated = (slot >= layout.lead + layout.prompt_frames * frame) & cell
    edges = np.flatnonzero(np.diff(~generated, prepend=False, append=False)).reshape(-1, 2)
    if not np.array_equal(edges, plan.given):
        text = "expected given slots {} from the layout, got {}".format(*(_shown(runs) for runs in (edges, plan.given)))
        yield Hits(text=text)


def _shown(runs: NDArray[np.integer]) -> str:
    return f"{runs[:4].tolist()}{' ...' if len(runs) > 4 else ''} ({len(runs)} runs)"


def empty_steps(facts: Facts) -> Iterator[Hits]:
    """DP103: steps without feeds."""
    step = _at(np.bincount(facts.step, minlength=facts.plan.steps) == 0)
    yield Hits(text="expected feeds in every step, got none in step {step}", step=step)


def padding_misused(facts: Facts) -> Iterator[Hits]:
    """DP104: padding with a target or outside the trash slot, and others inside it."""
    plan = facts.plan
    padding = plan.source == -1
    trash = -1 if plan.trash_slot is None else plan.trash_slot
    if plan.policies.visibility == "causal" and 0 <= trash < plan.positions:
        yield Hits(text=f"expected a trash slot from {plan.positions} on under visibility=causal, got trash={trash}")
    for text, hit in (
        ("expected padding to write the trash slot, got slot={slot}", padding & (plan.slot != trash)),
        ("expected padding to have no target, got target={target}", padding & (plan.target != -1)),
        ("expected only padding to write the trash slot, got slot={slot}", ~padding & (plan.slot == trash)),
    ):
        feed = _at(hit)
        yield Hits(text=text, feed=feed, slot=plan.slot[feed], values={"target": plan.target[feed]})


def never_emitted(facts: Facts) -> Iterator[Hits]:
    """DP201: generated slots that no feed chooses."""
    slot = _at(~facts.given & (facts.emissions == 0))
    yield Hits(text="expected a feed with target={slot}, got none", slot=slot)


def emitted_twice(facts: Facts) -> Iterator[Hits]:
    """DP202: feeds that choose a slot chosen before."""
    target = facts.plan.target
    chooses = _at(target >= 0)
    chooses = chooses[~facts.given[target[chooses]]]
    first = np.full(facts.plan.positions, facts.plan.feeds)
    np.minimum.at(first, target[chooses], chooses)
    again = chooses[first[target[chooses]] != chooses]
    yield Hits(
        text="expected one feed with target={slot}, got a second one after feed {first}",
        feed=again,
        slot=target[again],
        values={"first": first[target[again]]},
    )


def given_emitted(facts: Facts) -> Iterator[Hits]:
    """DP203: feeds that choose a given slot."""
    target = facts.plan.target
    feed = _at(target >= 0)
    feed = feed[facts.given[target[feed]]]
    yield Hits(
        text="expected a generated slot as target, got the given slot target={slot}", feed=feed, slot=target[feed]
    )


def source_unknown(facts: Facts) -> Iterator[Hits]:
    """DP204: sources that their own step or a later one chooses, or none."""
    source = facts.plan.source
    known = np.where(facts.real, facts.known[np.maximum(source, 0)], -1)
    feed = _at(known >= facts.step)
    late = known[feed]
    for text, at in (
        ("expected a source known before the step, got source={slot}, which step {known} chooses", late != NEVER),
        ("expected a source known before the step, got source={slot}, which no step chooses", late == NEVER),
    ):
        yield Hits(text=text, feed=feed[at], slot=source[feed[at]], values={"known": late[at]})


def position_not_predecessor(facts: Facts) -> Iterator[Hits]:
    """DP205: positions other than the target's predecessor."""
    plan = facts.plan
    feed = _at((plan.target >= 0) & (plan.position != plan.target - 1))
    yield Hits(
        text="expected position={want}, the predecessor of target={target}, got position={slot}",
        feed=feed,
        slot=plan.position[feed],
        values={"want": plan.target[feed] - 1, "target": plan.target[feed]},
    )


def cache_only_source(facts: Facts) -> Iterator[Hits]:
    """DP206: feeds without target whose source is not their position's token."""
    plan = facts.plan
    feed = _at(facts.proxy & (plan.target < 0))
    yield Hits(
        text="expected source={slot}, the position's own token, in a feed without target, got source={source}",
        feed=feed,
        slot=plan.position[feed],
        values={"source": plan.source[feed]},
    )


def written_twice(facts: Facts) -> Iterator[Hits]:
    """DP301: second writes of a cache slot or a position in one step."""
    plan = facts.plan
    for name, column in (("cache slot", plan.slot), ("position", plan.position)):
        order = np.lexsort((np.arange(plan.feeds), column, facts.step))
        order = order[facts.real[order]]
        same = (column[order][1:] == column[order][:-1]) & (facts.step[order][1:] == facts.step[order][:-1])
        feed = order[1:][same]
        yield Hits(
            text=f"expected one write of a {name} in a step, got a second one of {name} {{slot}} after feed {{first}}",
            feed=feed,
            slot=column[feed],
            values={"first": order[:-1][same]},
        )


def shared_slots(facts: Facts) -> Iterator[Hits]:
    """DP302: cache slots that change their position, or under causal are not the position."""
    plan = facts.plan
    order = np.lexsort((facts.step, plan.slot))
    order = order[facts.real[order]]
    taken = (plan.slot[order][1:] == plan.slot[order][:-1]) & (plan.position[order][1:] != plan.position[order][:-1])
    feed = order[1:][taken]
    yield Hits(
        text="expected cache slot {slot} to stay with position {first}, got a write of position {position}",
        feed=feed,
        slot=plan.slot[feed],
        values={"first": plan.position[order[:-1][taken]], "position": plan.position[feed]},
    )
    if plan.policies.visibility == "causal":
        moved = _at(facts.real & (plan.slot != plan.position))
        yield Hits(
            text="expected cache slot {position}, the position's own, under visibility=causal, got slot={slot}",
            feed=moved,
            slot=plan.slot[moved],
            values={"position": plan.position[moved]},
        )


def kept_proxies(facts: Facts) -> Iterator[Hits]:
    """DP304: positions whose last write is a proxy although their token is known in time."""
    plan = facts.plan
    feed = facts.last_of_position[facts.proxy[facts.last_of_position]]
    feed = feed[facts.known[plan.position[feed]] < plan.steps - 1]  # the last step's tokens nobody could read
    yield Hits(
        text="expected the keys and values of token {slot} in the end, got those of its proxy, token {source} "
        "(row_end={row_end})".replace("{row_end}", plan.policies.row_end),
        feed=feed,
        slot=plan.position[feed],
        values={"source": plan.source[feed]},
    )


def never_fed(facts: Facts) -> Iterator[Hits]:
    """DP305: positions that are never written although their token is known in time."""
    last = facts.plan.steps - 1
    slot = _at((facts.first_write == NEVER) & (facts.known < last))
    slot = slot[slot < facts.plan.positions - 1]
    yield Hits(
        text="expected token {slot}, known from step {known} on, to enter the cache, got no feed of it",
        slot=slot,
        values={"known": facts.known[slot]},
    )


def too_wide(facts: Facts) -> Iterator[Hits]:
    """DP506: steps with more feeds than declared."""
    limit = facts.plan.max_width
    if limit is not None:
        step = _at(facts.width > limit)
        yield Hits(
            text=f"expected at most max_width={limit} feeds, got {{width}} in step {{step}}",
            step=step,
            values={"width": facts.width[step]},
        )
