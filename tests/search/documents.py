"""Damaged plan documents and files: read or refused, in time and memory; what verifies replays as its text says."""

import copy
import gzip
import json
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from random import Random
from typing import Any

from diagplan import Diagonal, Imported, Layout, NextToken, Plan, Policies, compile_plan
from diagplan.planner.checker import verify_plan
from diagplan.planner.errors import DiagplanError
from diagplan.planner.plan import well_formed
from diagplan.schemas.files import plan_from_json, plan_to_json, read_plan
from diagplan.schemas.verify import verify
from tests.search.guard import Different, Judge
from tests.search.plans import require_agreement
from tests.support.documents import FORMS
from tests.support.mutations import MUTATIONS
from tests.support.semantics import meaning

__all__ = ["JUDGES", "JUNK", "damaged_bytes", "places", "scramble"]

Document = dict[str, Any]

#: Documents of one draw.
_BATCH = 25

JUNK: tuple[Any, ...] = (
    *(None, True, False, 0, 1, -1, 2, 3, 7, 0.0, 1.5, -0.0, 1e308, 2**31 - 1, 2**31, -(2**31), 2**64, 10**30),
    *("", "x", "\ud800", "causal", "listed", "custom", "imported", "zeros", "prompt", "keep", "e\u0301\0"),
    *([], [[]], [0], [0, 1], [1, 0], [0, 2**31 - 1], {}, {"feed": 0, "runs": [0, 1]}),
)


@cache
def bases() -> tuple[str, ...]:
    """Small documents of every kind, in both forms of mask rows."""
    grid = Layout(frames=1, rows=2, cols=2, lead=1)
    plans = (
        compile_plan(grid, Diagonal(k=1), max_width=3, pad=(2,)),
        compile_plan(grid, Imported(steps=[[0, 1], [1, 2]]), max_width=3),
        compile_plan(Layout(frames=2, rows=2, cols=3, prompt_frames=1, between_frames=2), Diagonal(k=1, d=2)),
        compile_plan(grid, NextToken(), Policies(visibility="causal")),
        compile_plan(grid, Diagonal(k=1), Policies(proxy_kv="hidden"), slots="step-order"),
    )
    return tuple(plan_to_json(plan, masks=form) for plan in plans for form in ("explicit", "rule"))


def places(value: Any) -> list[tuple[Any, Any]]:
    """Every (container, key) of a JSON value."""
    if not isinstance(value, dict | list):
        return []
    keys = list(value) if isinstance(value, dict) else list(range(len(value)))
    return [(value, key) for key in keys] + [place for key in keys for place in places(value[key])]


def scramble(document: Document, random: Random) -> None:
    """One random edit of a JSON value, anywhere in it."""
    holder, key = random.choice(places(document))
    match random.randrange(6):
        case 0:
            holder[key] = copy.deepcopy(random.choice(JUNK))
        case 1:
            del holder[key]
        case 2:
            other, at = random.choice(places(document))
            holder[key] = copy.deepcopy(other[at])
        case 3 if isinstance(holder, list):
            holder.insert(key, copy.deepcopy(holder[key]))
        case 4 if isinstance(holder, list):
            random.shuffle(holder)
        case _ if isinstance(holder[key], int):
            holder[key] += random.choice((-2, -1, 1, 2))
        case _:
            holder[key] = copy.deepcopy(random.choice(JUNK))


def _scrambled(random: Random, _: Path) -> bytes:
    document = json.loads(random.choice(bases()))
    for _edit in range(random.choice((1, 1, 1, 2, 3, 8))):
        if places(document):
            scramble(document, random)
    return json.dumps(document).encode()


def _mutated(random: Random, _: Path) -> bytes:
    """By the ways of tests/support/mutations.py, which know what the numbers mean; those want explicit rows."""
    document = json.loads(random.choice([text for text in bases() if '"rows"' in text]))
    for kind in random.choices(sorted(MUTATIONS), k=random.choice((1, 1, 2, 3))):
        try:
            MUTATIONS[kind](document, random)
        except (KeyError, IndexError, ValueError, TypeError):  # an edit of what an edit before it has taken away
            break
    return json.dumps(document).encode()


def damaged_bytes(raw: bytes, random: Random) -> bytes:
    """Some bytes replaced, removed or put in."""
    data = bytearray(raw)
    for _ in range(random.randint(1, 4)):
        at = random.randrange(len(data) + 1)
        data[at : at + random.randint(0, 3)] = random.choice(
            (
                bytes([random.randrange(256)]),
                b"",
                b"0",
                b"]",
                b",1",
                b"[",
                b"{",
                b'"',
                b"\\u0000",
                b"9" * 30,
                b"-",
                b"e9",
            )
        )
    return bytes(data)


def _edited_text(random: Random, _: Path) -> bytes:
    return damaged_bytes(random.choice(bases()).encode(), random)


def _compressed(random: Random, folder: Path) -> Path:
    """A file, its bytes damaged before or after they are packed."""
    from zstandard import ZstdCompressor

    raw = random.choice(bases()).encode()
    if random.random() < 0.3:
        raw = damaged_bytes(raw, random)
    ending, pack = random.choice(
        ((".json", bytes), (".json.gz", gzip.compress), (".json.zst", ZstdCompressor().compress))
    )
    data = pack(raw)
    path = folder / f"plan{ending}"
    path.write_bytes(damaged_bytes(data, random) if random.random() < 0.8 else data)
    return path


def _judged(plan: Plan, random: Random) -> bool:
    """Whether a plan that was read also verifies; then it survives a round trip and replays as its text says."""
    ok = verify_plan(plan).ok
    for form in FORMS:
        try:
            text = plan_to_json(plan, masks=form)
        except DiagplanError:
            if ok:
                raise Different(f"valid, and cannot be written with masks={form!r}") from None
            continue
        if well_formed(plan) and plan_to_json(plan_from_json(text), masks=form) != text:
            raise Different("another document after a round trip")
    if not ok:
        return False
    require_agreement(plan, random)
    return True


def _judge(make: Callable[[Random, Path], bytes]) -> Judge:
    def judge(random: Random, folder: Path) -> tuple[int, int]:
        accepted = 0
        for _ in range(_BATCH):
            text = make(random, folder)
            try:
                plan = plan_from_json(text)
            except DiagplanError:
                continue
            if _judged(plan, random):
                accepted += 1
                if meaning(json.loads(text)) != meaning(json.loads(plan_to_json(plan))):
                    raise Different("the plan is not what its text says")
        return accepted, _BATCH

    return judge


def _judge_files(random: Random, folder: Path) -> tuple[int, int]:
    accepted = 0
    for _ in range(_BATCH):
        path = _compressed(random, folder)
        try:
            report, plan = verify(path), read_plan(path)
        except DiagplanError:
            continue
        finally:
            path.unlink()
        if _judged(plan, random) != report.ok and not report.counts.get("DP601"):
            raise Different("the file's report differs from its plan's")
        accepted += report.ok
    return accepted, _BATCH


#: By kind of damage.
JUDGES: Mapping[str, Judge] = {
    "documents: values": _judge(_scrambled),
    "documents: mutations": _judge(_mutated),
    "documents: text": _judge(_edited_text),
    "documents: files": _judge_files,
}
