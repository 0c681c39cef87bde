"""Plan and trace documents that cost their reader as much as they can, at most 64 MiB each; a process that reads one.

python -m tests.support.hostile_documents [NAME ...]     # a table of time and memory
"""

import gzip
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import diagplan.schemas.document  # what is imported does not count as the reader's memory
import diagplan.schemas.trace_document  # noqa: F401
from diagplan.planner.compiler import compile_plan
from diagplan.planner.errors import DocumentError
from diagplan.planner.layout import Layout
from diagplan.planner.schedule import NextToken
from diagplan.schemas.files import plan_to_json, read_plan
from diagplan.schemas.trace import read_trace, trace_to_json
from tests.support.invalid_traces import BASE

__all__ = ["HOSTILE", "Cost", "cost_of_reading"]

_MODULE = "tests.support.hostile_documents"  # not __name__, which is __main__ where it prints its table
_BYTES = 60 << 20  # of a document that says one thing over and over
_BUDGET = 535_000_000  # just within the limit on lists, objects, keys and commas
_HEAD = '{"format":"diagplan-plan","version":1,'
_FACE = "\U0001f600"  # beside it Python stores every character in four bytes


class Cost(NamedTuple):
    """What reading took: seconds of the processor, MiB of memory above the imports, and how it ended."""

    seconds: float
    mebibytes: float
    says: str


def _over_and_over(unit: str, size: int = _BYTES) -> str:
    return "[" + ",".join([unit] * (size // (len(unit) + 1))) + "]"


def _dearest(unit: str) -> str:
    """As many of a unit as the limits leave room for."""
    price = 200 * sum(map(unit.count, "[{:")) + 50 * (unit.count(",") + 1)
    return _over_and_over(unit, min(_BYTES, _BUDGET // price * (len(unit) + 1)))


def _in_a_plan(path: str, text: str, name: str = "somebody") -> str:
    """A small valid document in which one value is replaced by a text."""
    plan = compile_plan(Layout(frames=1, rows=2, cols=2, lead=1), NextToken())
    document = json.loads(plan_to_json(plan, masks="rule"))
    document["producer"]["name"] = name
    holder: Any = document
    *first, last = [int(key) if key.isdigit() else key for key in path.split(".")]
    for key in first:
        holder = holder[key]
    holder[last] = "HERE"
    return json.dumps(document, ensure_ascii=False).replace('"HERE"', text)


def _in_a_trace(path: str, text: str) -> str:
    """A small valid trace in which one list is replaced by a text."""
    document = json.loads(trace_to_json(BASE))
    holder: Any = document
    *first, last = [int(key) if key.isdigit() else key for key in path.split(".")]
    for key in first:
        holder = holder[key]
    holder[last] = "HERE"
    return _padded(json.dumps(document).replace('"HERE"', text))


def _listed_rows(cells: int, start: Callable[[int], int]) -> str:
    """Next-token prediction of one row of cells, every mask row listed as one run up to the feed's own slot."""
    plan = compile_plan(Layout(frames=1, rows=1, cols=cells, lead=1), NextToken())
    document = json.loads(plan_to_json(plan, masks="rule"))
    document["masks"]["listed"] = [{"feed": feed, "runs": [start(feed), feed + 1]} for feed in range(plan.feeds)]
    return json.dumps(document)


def _one_feed_a_step(steps: int) -> str:
    unit = '{"source":[0],"position":[0],"slot":[0],"target":[-1],"rows":[[0,1]]}'
    text = _in_a_plan("steps", "[" + ",".join([unit] * steps) + "]")
    return text.replace('"listed": []', '"listed": null')


def _long_runs(cells: int) -> str:
    """Rows of as many runs as there can be: every second slot."""
    runs = [number for slot in range(0, cells, 2) for number in (slot, slot + 1)]
    plan = compile_plan(Layout(frames=1, rows=1, cols=cells, lead=1), NextToken())
    document = json.loads(plan_to_json(plan, masks="rule"))
    document["masks"]["listed"] = [{"feed": feed, "runs": runs[: feed + 1 & ~1]} for feed in range(plan.feeds)]
    return json.dumps(document, separators=(",", ":"))


def _padded(text: str) -> str:
    return text + " " * (_BYTES - len(text))


_STEP = '{"source":[300],"position":[300],"slot":[300],"target":[300]}'
_PASS = '{"first":0,"end":1,"guesses":[],"chosen":[],"accepted":0}'
_SAMPLE = '{"number":0,"passes":[],"tokens":[]}'
_OF_MANY_KEYS = "{" + ",".join(f'"key{i}":0' for i in range(1000)) + "}"

#: Documents by name. Some are refused at sight; "dearest" ones are as large as the limits allow.
HOSTILE: dict[str, Callable[[], str]] = {
    "arrays": lambda: _HEAD + '"steps":' + _over_and_over("[]") + "}",
    "arrays, packed": lambda: _HEAD + '"steps":' + _over_and_over("[]") + "}",
    "objects": lambda: _HEAD + '"steps":' + _over_and_over("{}") + "}",
    "numbers": lambda: _HEAD + '"steps":' + _over_and_over("300") + "}",
    "strings": lambda: _HEAD + '"steps":' + _over_and_over('"abc"') + "}",
    "one string": lambda: _HEAD + '"steps":"' + _FACE + "a" * (_BYTES - 100) + '"}',
    "one key": lambda: _HEAD + '"' + "a" * _BYTES + '":0}',
    "one number": lambda: _HEAD + '"positions":' + "9" * _BYTES + "}",
    "long numbers": lambda: _HEAD + '"steps":' + _over_and_over("9" * 4000) + "}",
    "keys": lambda: _HEAD + ",".join(f'"k{i}":0' for i in range(4_500_000)) + "}",
    "a million keys": lambda: _HEAD + ",".join(f'"k{i}":0' for i in range(1_000_000)) + "}",
    "a repeated key": lambda: _HEAD + ",".join(['"a":0'] * 2_000_000) + "}",
    "one nest": lambda: _HEAD + '"steps":' + "[" * (_BYTES // 2) + "]" * (_BYTES // 2) + "}",
    "nests": lambda: _HEAD + '"steps":' + _over_and_over("[" * 900 + "]" * 900) + "}",
    "dearest arrays": lambda: _padded(_HEAD + '"steps":' + _dearest("[]") + f',"a":"{_FACE}"}}'),
    "dearest objects": lambda: _padded(_HEAD + '"steps":' + _dearest("{}") + f',"a":"{_FACE}"}}'),
    "dearest keys": lambda: _padded(_HEAD + '"steps":' + _dearest(_OF_MANY_KEYS) + f',"a":"{_FACE}"}}'),
    "dearest nests": lambda: _padded(_HEAD + '"steps":' + _dearest("[" * 900 + "]" * 900) + "}"),
    "dearest floats": lambda: _padded(_in_a_plan("steps.0.source", _dearest("1.5"), _FACE)),
    "dearest source": lambda: _padded(_in_a_plan("steps.0.source", _dearest("3000"), _FACE)),
    "dearest order": lambda: _padded(_in_a_plan("names.schedule.order", _dearest("3000"), _FACE)),
    "dearest runs": lambda: _padded(_in_a_plan("masks.listed", '[{"feed":0,"runs":' + _dearest("3000") + "}]", _FACE)),
    "dearest given": lambda: _padded(_in_a_plan("given", _dearest("[300,301]"), _FACE)),
    "dearest listed": lambda: _padded(_in_a_plan("masks.listed", _dearest('{"feed":300,"runs":[]}'), _FACE)),
    "dearest steps": lambda: _padded(_in_a_plan("steps", _dearest(_STEP), _FACE)),
    "rows that follow the rule": lambda: _listed_rows(30_000, lambda _: 0),
    "rows that do not": lambda: _listed_rows(30_000, lambda feed: feed),
    "many feeds of few slots": lambda: _one_feed_a_step(32_000),
    "too many feeds of few slots": lambda: _one_feed_a_step(150_000),
    "long runs": lambda: _long_runs(4_000),
    "trace of dearest guesses": lambda: _in_a_trace("samples.0.passes.0.guesses", _dearest("[300,301]")),
    "trace of dearest passes": lambda: _in_a_trace("samples.0.passes", _dearest(_PASS)),
    "trace of dearest tokens": lambda: _in_a_trace("samples.0.tokens", _dearest("3000")),
    "trace of many samples": lambda: _in_a_trace("samples", "[" + ",".join([_SAMPLE] * (1 << 16)) + "]"),
}


def cost_of_reading(name: str, limit_bytes: int | None = None) -> Cost:
    """Read a hostile document in a process of its own.

    Args:
        name: a key of ``HOSTILE``.
        limit_bytes: the address space that the process may take beside what it has taken before it reads.
    """
    with tempfile.TemporaryDirectory() as folder:
        data = HOSTILE[name]().encode()
        stem = "trace" if name.startswith("trace") else "plan"
        path = Path(folder) / f"{stem}.json{'.gz' if name.endswith('packed') else ''}"
        path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)
        command = [sys.executable, "-m", _MODULE, "--read", str(path), str(limit_bytes or 0)]
        done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120)
    return Cost(*json.loads(done.stdout))


def _read(path: str, limit_bytes: int) -> Cost:
    import resource  # which Windows lacks

    before = _status("VmHWM")
    if limit_bytes:
        resource.setrlimit(resource.RLIMIT_AS, (_status("VmSize") + limit_bytes, resource.RLIM_INFINITY))
    start = time.process_time()
    try:
        says = repr(read_plan(path)) if "plan.json" in path else f"a trace of {read_trace(path).passes} passes"
    except DocumentError as error:
        says = str(error)
    return Cost(time.process_time() - start, (_status("VmHWM") - before) / (1 << 20), says)


def _status(name: str) -> int:
    text = Path("/proc/self/status").read_text(encoding="ascii")
    return int(text.split(f"{name}:")[1].split()[0]) * 1024


def _main(arguments: list[str]) -> None:
    if arguments[:1] == ["--read"]:
        json.dump(_read(arguments[1], int(arguments[2])), sys.stdout)
        return
    for name in arguments or HOSTILE:
        cost = cost_of_reading(name)
        sys.stdout.write(f"{name:28} {cost.seconds:6.2f} s {cost.mebibytes:6.0f} MiB  {cost.says[:120]}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    _main(sys.argv[1:])
