"""What a plan document means, by slow and obvious interpretation of its JSON value.

Two documents mean the same if step by step the same queries are asked: each with its source token, position, target,
and the writes it sees. Cache slots are names only, padding and steps without queries are nothing, and the initial
state of the cache counts only if somebody reads it. Nothing of diagplan is used here.
"""

from collections.abc import Iterator
from typing import Any, NamedTuple

__all__ = ["Meaning", "Query", "Write", "feeds_of", "meaning", "queries_of", "rule_rows", "runs_to_set", "set_to_runs"]

Document = dict[str, Any]


class Write(NamedTuple):
    """Keys and values in the cache: whose position, computed from which token, in which step."""

    position: int
    source: int
    step: int


class Query(NamedTuple):
    """One row of one forward pass; ``unwritten`` counts the cache slots it sees that hold the initial state."""

    target: int
    source: int
    position: int
    sees: tuple[Write, ...]
    unwritten: int


class Meaning(NamedTuple):
    """The queries of each step in sorted order, and the initial state of the cache where it is read."""

    steps: tuple[tuple[Query, ...], ...]
    initial: str | None


class Feed(NamedTuple):
    """A feed of a document."""

    source: int
    position: int
    slot: int
    target: int


_PADDING = -1  # the position of what padding wrote


def feeds_of(step: Document) -> list[Feed]:
    """The feeds of one step of a document."""
    columns = (step[name] for name in ("source", "position", "slot", "target"))
    return [Feed(*numbers) for numbers in zip(*columns, strict=True)]


def runs_to_set(runs: list[int]) -> set[int]:
    """The numbers in start, end, start, end, ..."""
    return {slot for start, end in zip(runs[::2], runs[1::2], strict=True) for slot in range(start, end)}


def set_to_runs(slots: set[int]) -> list[int]:
    """The shortest start, end, start, end, ... of a set."""
    runs: list[int] = []
    for slot in sorted(slots):
        if runs and runs[-1] == slot:
            runs[-1] = slot + 1
        else:
            runs += [slot, slot + 1]
    return runs


def rule_rows(document: Document) -> list[list[set[int]]]:
    """The mask rows that a document's visibility and proxy_kv call for (the specification's section 4), per step.

    A feed at position p sees the slots with the newest write so far of every position q <= p, less hidden proxies; its
    own slot; and under ``causal`` the slot of every position q <= p that nobody has written.
    """
    newest: dict[int, Feed] = {}  # position -> the feed that wrote it last
    hidden = document["masks"]["proxy_kv"] == "hidden"
    causal = document["masks"]["visibility"] == "causal"
    rows: list[list[set[int]]] = []
    for step in document["steps"]:
        feeds = feeds_of(step)
        newest.update({feed.position: feed for feed in feeds if feed.source >= 0})
        of_step = []
        for own in feeds:
            row = {own.slot}
            for q in range(own.position + 1) if own.source >= 0 else ():
                write = newest.get(q)
                if write is None:
                    row |= {q} if causal else set()
                elif not (hidden and write.source != write.position):
                    row.add(write.slot)
            of_step.append(row)
        rows.append(of_step)
    return rows


def _rows(document: Document) -> list[list[set[int]]]:
    if document["masks"].get("listed") is None:
        return [[runs_to_set(row) for row in step["rows"]] for step in document["steps"]]
    rows = rule_rows(document)
    flat = [(s, i) for s, of_step in enumerate(rows) for i in range(len(of_step))]
    for entry in document["masks"]["listed"]:
        s, i = flat[entry["feed"]]
        rows[s][i] = runs_to_set(entry["runs"])
    return rows


def meaning(document: Document) -> Meaning:
    """What a document says, or ``KeyError`` and the like where it is not even of the right shape."""
    held: dict[int, Write] = {}  # cache slot -> what it holds
    steps = []
    now = 0
    unwritten = 0
    for step, rows in zip(document["steps"], _rows(document), strict=True):
        feeds = feeds_of(step)
        for feed in feeds:
            held[feed.slot] = Write(feed.position if feed.source >= 0 else _PADDING, feed.source, now)
        queries = []
        for feed, row in zip(feeds, rows, strict=True):
            if feed.source < 0:
                continue
            sees = tuple(sorted(held[slot] for slot in row if slot in held))
            queries.append(Query(feed.target, feed.source, feed.position, sees, len(row) - len(sees)))
            unwritten += len(row) - len(sees)
        if queries:
            steps.append(tuple(sorted(queries)))
            now += 1
    return Meaning(tuple(steps), document["cache"]["initial"] if unwritten else None)


def queries_of(said: Meaning) -> Iterator[tuple[int, Query]]:
    """Every query with its step."""
    for step, queries in enumerate(said.steps):
        yield from ((step, query) for query in queries)
