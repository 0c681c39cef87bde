"""Ways to damage a plan document: every kind of edit that the format allows, by name.

A mutation gets a document with explicit mask rows (the value of its JSON text) and a source of chance, and edits the
document in place. It may hit on an edit that changes nothing, or nothing of meaning: telling is the reader's task.
"""

from collections.abc import Callable, Mapping
from random import Random
from typing import Any

from tests.support import mutations_header
from tests.support.mutations_header import Document, Mutation, other

__all__ = ["FEED_MUTATIONS", "MUTATIONS", "ROW_MUTATIONS", "Document", "Mutation", "forget_rows"]

Feed = dict[str, Any]  # source, position, slot, target and, as "rows", the mask row
Steps = list[list[Feed]]
Edit = Callable[[Steps, Random, Document], None]

_COLUMNS = ("source", "position", "slot", "target", "rows")


def _on_steps(edit: Edit) -> Mutation:
    """A mutation from an edit of the steps as lists of feeds."""

    def mutation(document: Document, random: Random) -> None:
        steps = [
            [dict(zip(_COLUMNS, feed, strict=True)) for feed in zip(*(step[name] for name in _COLUMNS), strict=True)]
            for step in document["steps"]
        ]
        if any(steps):
            edit(steps, random, document)
        document["steps"] = [{name: [feed[name] for feed in step] for name in _COLUMNS} for step in steps]

    return mutation


def forget_rows(document: Document) -> None:
    """Turn a document with explicit rows into one whose rows are what its rule says."""
    document["masks"]["listed"] = []
    for step in document["steps"]:
        del step["rows"]


def _copy(feed: Feed) -> Feed:
    return feed | {"rows": list(feed["rows"])}


def _place(steps: Steps, random: Random) -> tuple[int, int]:
    """The step and place of a feed; feeds that choose a token, feeds that only write, and padding alike."""
    kinds: dict[tuple[bool, bool, bool], list[tuple[int, int]]] = {}
    for s, step in enumerate(steps):
        for i, feed in enumerate(step):
            kind = feed["target"] < 0, feed["source"] == feed["position"], feed["source"] < 0
            kinds.setdefault(kind, []).append((s, i))
    return random.choice(random.choice([kinds[kind] for kind in sorted(kinds)]))


def _drop(steps: Steps, random: Random, _: Document) -> None:
    s, i = _place(steps, random)
    del steps[s][i]
    if not steps[s] and random.random() < 0.5:
        del steps[s]


def _duplicate(steps: Steps, random: Random, _: Document) -> None:
    s, i = _place(steps, random)
    to = random.choice((s, max(0, s - 1), min(len(steps) - 1, s + 1), random.randrange(len(steps))))
    steps[to].insert(random.randint(0, len(steps[to])), _copy(steps[s][i]))


def _repeat_without_target(steps: Steps, random: Random, _: Document) -> None:
    """Feed a position's own token once more, with the row of another feed of that step."""
    s, i = _place(steps, random)
    position = steps[s][i]["position"]
    to = random.randrange(len(steps))
    row = list(random.choice(steps[to])["rows"]) if steps[to] else []
    steps[to].append({"source": position, "position": position, "slot": steps[s][i]["slot"], "target": -1, "rows": row})


def _swap(steps: Steps, random: Random, _: Document) -> None:
    (s, i), (t, j) = _place(steps, random), _place(steps, random)
    steps[s][i], steps[t][j] = steps[t][j], steps[s][i]


def _swap_numbers(steps: Steps, random: Random, _: Document) -> None:
    (s, i), (t, j) = _place(steps, random), _place(steps, random)
    name = random.choice(_COLUMNS)
    one, two = steps[s][i], steps[t][j]
    one[name], two[name] = two[name], one[name]


def _shift(steps: Steps, random: Random, _: Document) -> None:
    s, i = _place(steps, random)
    to = random.choice((s - 1, s + 1, random.randrange(len(steps))))
    steps[min(max(to, 0), len(steps) - 1)].append(steps[s].pop(i))


def _redirect(name: str) -> Edit:
    def edit(steps: Steps, random: Random, document: Document) -> None:
        s, i = _place(steps, random)
        steps[s][i][name] = other(steps[s][i][name], document["positions"], random)

    return edit


def _retarget_with_position(steps: Steps, random: Random, document: Document) -> None:
    """Move a whole query to another target, its position with it."""
    s, i = _place(steps, random)
    target = other(steps[s][i]["target"], document["positions"], random)
    steps[s][i] |= {
        "target": target,
        "position": target - 1,
        "source": random.choice((target - 1, steps[s][i]["source"])),
    }


def _move_boundary(steps: Steps, random: Random, _: Document) -> None:
    s = random.randrange(len(steps))
    count = random.randint(1, max(1, len(steps[s])))
    if random.random() < 0.5 and s + 1 < len(steps):
        steps[s + 1][:0] = steps[s][-count:]
        del steps[s][-count:]
    elif s > 0:
        steps[s - 1] += steps[s][:count]
        del steps[s][:count]


def _merge_steps(steps: Steps, random: Random, _: Document) -> None:
    if len(steps) > 1:
        s = random.randrange(len(steps) - 1)
        steps[s : s + 2] = [steps[s] + steps[s + 1]]


def _split_step(steps: Steps, random: Random, _: Document) -> None:
    s = random.randrange(len(steps))
    at = random.randint(0, len(steps[s]))
    steps[s : s + 1] = [steps[s][:at], steps[s][at:]]


def _swap_steps(steps: Steps, random: Random, _: Document) -> None:
    s, t = random.randrange(len(steps)), random.randrange(len(steps))
    steps[s], steps[t] = steps[t], steps[s]


def _drop_step(steps: Steps, random: Random, _: Document) -> None:
    del steps[random.randrange(len(steps))]


def _repeat_step(steps: Steps, random: Random, _: Document) -> None:
    step = random.choice(steps)
    steps.insert(random.randint(0, len(steps)), [_copy(feed) for feed in step])


def _reorder_step(steps: Steps, random: Random, _: Document) -> None:
    random.shuffle(random.choice(steps))


def _add_padding(steps: Steps, random: Random, document: Document) -> None:
    """A padding feed in a step, or as a step of its own; it may well be malformed."""
    trash = document["cache"]["trash"]
    slot = random.choice((trash, random.randrange(document["cache"]["slots"]))) if trash is not None else 0
    feed = {"source": -1, "position": random.choice((0, 1)), "slot": slot, "target": -1, "rows": [slot, slot + 1]}
    if random.random() < 0.3:
        steps.insert(random.randint(0, len(steps)), [feed])
    else:
        steps[random.randrange(len(steps))].append(feed)


def _rename_slots(steps: Steps, random: Random, document: Document) -> None:
    """Exchange two cache slots everywhere: another name for the same thing."""
    a, b = (random.randrange(document["cache"]["slots"]) for _ in range(2))
    names = {a: b, b: a}
    for feed in (feed for step in steps for feed in step):
        feed["slot"] = names.get(feed["slot"], feed["slot"])
        feed["rows"] = mutations_header.renamed(feed["rows"], names)
    if document["cache"]["trash"] is not None:
        document["cache"]["trash"] = names.get(document["cache"]["trash"], document["cache"]["trash"])


def _move_trash(steps: Steps, random: Random, document: Document) -> None:
    """Let padding write to another slot, rows and all."""
    old = document["cache"]["trash"]
    slots = range(min(document["cache"]["slots"], 1000))
    used = {feed["slot"] for step in steps for feed in step}
    new = random.choice([slot for slot in slots if slot not in used or random.random() < 0.1] or [0])
    document["cache"]["trash"] = new
    for feed in (feed for step in steps for feed in step if feed["source"] < 0 and old is not None):
        feed |= {"slot": new, "rows": [new, new + 1]}


def _on_row(edit: Callable[[list[int], Random, Document], list[int]]) -> Edit:
    """An edit of the steps from one of a mask row."""

    def edit_steps(steps: Steps, random: Random, document: Document) -> None:
        s, i = _place(steps, random)
        steps[s][i]["rows"] = edit(list(steps[s][i]["rows"]), random, document)

    return edit_steps


def _swap_rows(steps: Steps, random: Random, _: Document) -> None:
    (s, i), (t, j) = _place(steps, random), _place(steps, random)
    steps[s][i]["rows"], steps[t][j]["rows"] = steps[t][j]["rows"], steps[s][i]["rows"]


def _flip_one_slot(row: list[int], random: Random, document: Document) -> list[int]:
    """See one slot more or one less, the row still in its shortest form."""
    return mutations_header.flipped(row, random.randrange(document["cache"]["slots"]))


def _widen_or_narrow(row: list[int], random: Random, _: Document) -> list[int]:
    if row:
        row[random.randrange(len(row))] += random.choice((-2, -1, 1, 2))
    return row


def _split_run(row: list[int], random: Random, _: Document) -> list[int]:
    if row:
        run = 2 * random.randrange(len(row) // 2)
        at = random.randint(row[run], row[run + 1])
        row[run + 1 : run + 1] = [at, at + random.choice((0, 0, 1))]
    return row


def _drop_run(row: list[int], random: Random, _: Document) -> list[int]:
    if row:
        run = 2 * random.randrange(len(row) // 2)
        del row[run : run + 2]
    return row


def _shift_row(row: list[int], random: Random, _: Document) -> list[int]:
    by = random.choice((-1, 1, 2))
    return [number + by for number in row]


def _shift_run(row: list[int], random: Random, _: Document) -> list[int]:
    if row:
        run, by = 2 * random.randrange(len(row) // 2), random.choice((-1, 1))
        row[run : run + 2] = [row[run] + by, row[run + 1] + by]
    return row


def _merge_runs(row: list[int], _: Random, __: Document) -> list[int]:
    return row[:1] + row[-1:]


def _reverse_runs(row: list[int], random: Random, _: Document) -> list[int]:
    runs = [row[at : at + 2] for at in range(0, len(row), 2)]
    random.shuffle(runs)
    return [number for run in runs for number in run]


def _odd_count(row: list[int], random: Random, _: Document) -> list[int]:
    del row[random.randrange(len(row)) if row else 0 :][:1]
    return [*row, random.choice((0, 3, 10**6))]


def _clear_row(_: list[int], random: Random, document: Document) -> list[int]:
    return random.choice(([], [0, 1], [0, document["cache"]["slots"]]))


#: Edits of feeds and steps.
FEED_MUTATIONS: Mapping[str, Mutation] = {
    name: _on_steps(edit)
    for name, edit in {
        "drop feed": _drop,
        "duplicate feed": _duplicate,
        "feed again": _repeat_without_target,
        "swap feeds": _swap,
        "swap numbers": _swap_numbers,
        "shift feed": _shift,
        "redirect source": _redirect("source"),
        "redirect position": _redirect("position"),
        "redirect slot": _redirect("slot"),
        "redirect target": _redirect("target"),
        "redirect query": _retarget_with_position,
        "move boundary": _move_boundary,
        "merge steps": _merge_steps,
        "split step": _split_step,
        "swap steps": _swap_steps,
        "drop step": _drop_step,
        "repeat step": _repeat_step,
        "reorder step": _reorder_step,
        "add padding": _add_padding,
        "rename slots": _rename_slots,
        "move trash": _move_trash,
    }.items()
}

#: Edits of mask rows.
ROW_MUTATIONS: Mapping[str, Mutation] = {
    name: _on_steps(edit)
    for name, edit in {
        "row: one slot": _on_row(_flip_one_slot),
        "row: widen or narrow": _on_row(_widen_or_narrow),
        "row: split run": _on_row(_split_run),
        "row: drop run": _on_row(_drop_run),
        "row: shift": _on_row(_shift_row),
        "row: shift run": _on_row(_shift_run),
        "row: merge runs": _on_row(_merge_runs),
        "row: reverse runs": _on_row(_reverse_runs),
        "row: odd count": _on_row(_odd_count),
        "row: clear": _on_row(_clear_row),
        "row: swap": _swap_rows,
    }.items()
}

#: All of them, by name.
MUTATIONS: Mapping[str, Mutation] = {**FEED_MUTATIONS, **ROW_MUTATIONS, **mutations_header.HEADER_MUTATIONS}
