"""Ways to damage what a plan document says before its steps: layout, given slots, cache, masks, names."""

from collections.abc import Callable, Mapping
from random import Random
from typing import Any, get_args

from diagplan.planner.policy import ProxyPolicy
from diagplan.planner.schedule import ScheduleName
from tests.support.semantics import runs_to_set, set_to_runs

__all__ = ["HEADER_MUTATIONS", "Document", "Mutation", "flipped", "other", "renamed"]

Document = dict[str, Any]
Mutation = Callable[[Document, Random], None]

_LAYOUT = ("frames", "rows", "cols", "prompt_frames", "lead", "between_frames", "between_rows")
_SCHEDULES = get_args(ScheduleName)
_PROXIES = get_args(ProxyPolicy)


def other(value: int | None, span: int, random: Random) -> int:
    """Another number: near by, anywhere in ``range(span)``, or at the edges of what the format takes."""
    if value is None:
        value = 0
    near = value + random.choice((-2, -1, 1, 2))
    return random.choice((near, near, near, random.randrange(span), random.randrange(span), -1, 0, span, 2**31 - 1))


def _readable(row: list[int]) -> bool:
    """Whether a row is pairs of numbers of a size to be written out: an edit before may have left anything."""
    return len(row) % 2 == 0 and all(0 <= number <= 1 << 20 for number in row)


def flipped(row: list[int], slot: int) -> list[int]:
    """A row that sees ``slot`` if it did not, and does not if it did, in its shortest form; one in pieces stays."""
    return set_to_runs(runs_to_set(row) ^ {slot}) if _readable(row) else row


def renamed(row: list[int], names: Mapping[int, int]) -> list[int]:
    """A row with its slots renamed, in its shortest form; one in pieces stays."""
    return set_to_runs({names.get(slot, slot) for slot in runs_to_set(row)}) if _readable(row) else row


def _layout_number(document: Document, random: Random) -> None:
    name = random.choice(_LAYOUT)
    document["layout"][name] = other(document["layout"][name], 6, random)


def _layout_reshaped(document: Document, random: Random) -> None:
    """Exchange two numbers of the layout, or move a frame between prompt and lead: much may stay as it was."""
    layout = document["layout"]
    frame = layout["rows"] * (layout["cols"] + layout["between_rows"]) - layout["between_rows"]
    if random.random() < 0.5 and layout["prompt_frames"]:
        layout["prompt_frames"] -= 1
        layout["lead"] += frame + layout["between_frames"]
    elif random.random() < 0.5 and layout["lead"] >= frame + layout["between_frames"]:
        layout["prompt_frames"] += 1
        layout["lead"] -= frame + layout["between_frames"]
    else:
        a, b = random.sample(("frames", "rows", "cols"), 2)
        layout[a], layout[b] = layout[b], layout[a]


def _layout_regrouped(document: Document, random: Random) -> None:
    """Write the same cells as other frames, rows and columns."""
    layout = document["layout"]
    a, b = random.sample(("frames", "rows", "cols"), 2)
    divisor = random.choice([n for n in range(1, layout[a] + 1) if layout[a] % n == 0])
    layout[a] //= divisor
    layout[b] *= divisor


def _positions(document: Document, random: Random) -> None:
    document["positions"] = other(document["positions"], document["positions"] + 3, random)


def _given(document: Document, random: Random) -> None:
    runs = document["given"]
    at = random.randrange(len(runs))
    match random.randrange(5):
        case 0:
            runs[at][random.randrange(2)] = other(runs[at][0], document["positions"], random)
        case 1:
            del runs[at]
        case 2:
            runs.insert(at, list(runs[at]))
        case 3:
            start, end = runs[at]
            middle = random.randint(start, end)
            runs[at : at + 1] = [[start, middle], [middle, end]]
        case _:
            random.shuffle(runs)


def _cache_slots(document: Document, random: Random) -> None:
    document["cache"]["slots"] = other(document["cache"]["slots"], document["cache"]["slots"] + 2, random)


def _cache_initial(document: Document, _: Random) -> None:
    document["cache"]["initial"] = "zeros" if document["cache"]["initial"] == "undefined" else "undefined"


def _cache_trash(document: Document, random: Random) -> None:
    cache = document["cache"]
    trash = cache["trash"]
    if trash is not None and random.random() < 0.3:
        cache["trash"] = None
    else:
        cache["trash"] = other(trash, cache["slots"] + 1, random)
    if random.random() < 0.3:
        cache["slots"] += 1


def _choose(section: str, name: str, choices: tuple[object, ...]) -> Mutation:
    def mutation(document: Document, random: Random) -> None:
        document[section][name] = random.choice(choices)

    return mutation


def _max_width(document: Document, random: Random) -> None:
    width = document["max_width"]
    document["max_width"] = None if width and random.random() < 0.3 else other(width, 12, random)


def _schedule_name(document: Document, random: Random) -> None:
    document["names"]["schedule"]["name"] = random.choice(_SCHEDULES)


def _schedule_number(document: Document, random: Random) -> None:
    schedule = document["names"]["schedule"]
    name = random.choice(("steps", "k", "d", "k_in_force", "d_in_force"))
    schedule[name] = None if random.random() < 0.15 else other(schedule[name], 12, random)


def _schedule_delays(document: Document, random: Random) -> None:
    """Change a delay asked for and the one in force together."""
    schedule = document["names"]["schedule"]
    name = random.choice(("k", "d"))
    schedule[name] = schedule[f"{name}_in_force"] = other(schedule[f"{name}_in_force"], 8, random)


def _schedule_order(document: Document, random: Random) -> None:
    schedule = document["names"]["schedule"]
    order = schedule["order"]
    if order is None:
        schedule["order"] = [0] * random.randint(0, 4)
    elif random.random() < 0.2:
        schedule["order"] = None
    elif random.random() < 0.2:
        order.pop()
    elif random.random() < 0.5:
        a, b = random.randrange(len(order)), random.randrange(len(order))
        order[a], order[b] = order[b], order[a]
    else:
        at = random.randrange(len(order))
        order[at] = other(order[at], max(order) + 2, random)


def _schedule_as_order(document: Document, random: Random) -> None:
    """Name the schedule by its order: true where no cap has delayed anything, and sometimes with a wrong entry."""
    chosen = {
        target: s for s, step in enumerate(document["steps"]) for target in step["target"] if target >= 0
    }  # the step of every target
    order = [chosen[target] for target in sorted(chosen)]
    if random.random() < 0.3:
        at = random.randrange(len(order))
        order[at] = other(order[at], max(order) + 2, random)
    blank = dict.fromkeys(("k", "d", "k_in_force", "d_in_force", "label"))
    steps = random.choice((max(order) + 1, document["names"]["schedule"]["steps"]))
    document["names"]["schedule"] = {"name": "imported", "steps": steps, "order": order} | blank


def _label(document: Document, random: Random) -> None:
    document["names"]["schedule"]["label"] = random.choice((None, "", "lpd", "Größe", "\u2028", "x" * 300))


def _policy_name(document: Document, random: Random) -> None:
    if random.random() < 0.7:
        document["names"]["policies"]["proxy"] = random.choice(_PROXIES)
    else:
        document["names"]["policies"]["row_end"] = random.choice(("keep", "refresh", "custom"))


def _no_claim(document: Document, random: Random) -> None:
    """Take back what the names claim: schedule, policies and mask rule stand for no rule any more."""
    names = document["names"]
    if random.random() < 0.7:
        blank = dict.fromkeys(("k", "d", "k_in_force", "d_in_force", "label", "order"))
        names["schedule"] = {"name": "custom", "steps": len(document["steps"])} | blank
    if random.random() < 0.7:
        names["policies"]["proxy"] = "custom"
    if random.random() < 0.7:
        names["policies"]["row_end"] = "custom"
    if random.random() < 0.7:
        document["masks"]["visibility"] = "listed"


def _drop_key(document: Document, random: Random) -> None:
    holder: Document = random.choice(
        (document, document["layout"], document["cache"], document["masks"], document["names"]["schedule"])
    )
    holder.pop(random.choice(sorted(holder)))


def _mark(document: Document, random: Random) -> None:
    name = random.choice(("format", "version", "producer", "digest"))
    document[name] = random.choice((None, 0, 1, 2, "", "diagplan", {"name": "x", "version": "y"}, "sha256:" + "0" * 64))


#: Edits of the header.
HEADER_MUTATIONS: Mapping[str, Mutation] = {
    "layout: number": _layout_number,
    "layout: reshape": _layout_reshaped,
    "layout: regroup": _layout_regrouped,
    "positions": _positions,
    "given": _given,
    "cache: slots": _cache_slots,
    "cache: initial": _cache_initial,
    "cache: trash": _cache_trash,
    "masks: visibility": _choose("masks", "visibility", ("written", "causal", "listed")),
    "masks: proxy_kv": _choose("masks", "proxy_kv", ("visible", "hidden")),
    "max_width": _max_width,
    "schedule: name": _schedule_name,
    "schedule: number": _schedule_number,
    "schedule: delays": _schedule_delays,
    "schedule: order": _schedule_order,
    "schedule: as order": _schedule_as_order,
    "schedule: label": _label,
    "policies": _policy_name,
    "no claim": _no_claim,
    "drop key": _drop_key,
    "marks": _mark,
}
