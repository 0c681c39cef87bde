"""Damaged chains, traces, cost curves and speculations: read or refused, and written again as they were read."""

import json
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from random import Random
from typing import Any, NamedTuple

from diagplan import Layout, NextToken, Speculation, chain_layouts, compile_chain, compile_plan, verify_trace
from diagplan.planner.errors import DiagplanError
from diagplan.schemas.chain_files import chain_from_json, chain_to_json
from diagplan.schemas.curve import CurveDocument, curve_from_json
from diagplan.schemas.speculation import speculation_from_json, speculation_to_json
from diagplan.schemas.trace import trace_from_json, trace_to_json
from tests.search.documents import damaged_bytes, places, scramble
from tests.search.guard import Different, Judge
from tests.support.curves import document
from tests.support.speculation import speculate

__all__ = ["JUDGES", "KINDS"]

_BATCH = 25
_PLAN = compile_plan(Layout(frames=1, rows=2, cols=3, lead=1), NextToken())


_SPECULATION = Speculation(window=36, draft="plan:k=1")


class Kind(NamedTuple):
    """A kind of document: an intact one, its reader, what writes it, and what is asked of one that was read."""

    text: Callable[[], str]
    read: Callable[[bytes], Any]
    write: Callable[[Any], str]
    ask: Callable[[Any], object] = id


@cache
def _trace() -> str:
    return trace_to_json(speculate(_PLAN, width=3, numbers=(0, 4)).trace)


@cache
def _chain() -> str:
    grid = Layout(frames=1, rows=2, cols=2, lead=1)
    return chain_to_json(compile_chain(chain_layouts([grid, grid], between=1), NextToken()))


def _curve(curve: CurveDocument) -> str:
    return str(curve.model_dump_json())


KINDS: Mapping[str, Kind] = {
    "traces": Kind(_trace, trace_from_json, trace_to_json, lambda trace: verify_trace(_PLAN, trace).ok),
    "chains": Kind(_chain, chain_from_json, chain_to_json),
    "curves": Kind(
        lambda: str(document().model_dump_json()), curve_from_json, lambda curve: str(curve.model_dump_json())
    ),
    "speculations": Kind(
        lambda: speculation_to_json(Speculation(window=36, draft="plan:k=1")),
        speculation_from_json,
        speculation_to_json,
    ),
}


def _damaged(text: str, random: Random) -> bytes:
    if random.random() < 0.4:
        return damaged_bytes(text.encode(), random)
    document = json.loads(text)
    for _ in range(random.choice((1, 1, 1, 2, 3, 8))):
        if places(document):
            scramble(document, random)
    return json.dumps(document).encode()


def _judge(name: str) -> Judge:
    def judge(random: Random, _: Path) -> tuple[int, int]:
        kind, accepted = KINDS[name], 0
        for _draw in range(_BATCH):
            try:
                value = kind.read(_damaged(kind.text(), random))
            except DiagplanError:
                continue
            accepted += 1
            kind.ask(value)
            text = kind.write(value)
            if kind.write(kind.read(text.encode())) != text:
                raise Different("another document after a round trip")
        return accepted, _BATCH

    return judge


#: By kind of document.
JUDGES: Mapping[str, Judge] = {f"documents: {name}": _judge(name) for name in KINDS}
