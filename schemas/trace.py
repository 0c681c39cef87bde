"""Trace files: read and written as .json, .json.gz or .json.zst, within the limits of plan files."""

import json
import os
from collections.abc import Callable
from itertools import chain
from operator import attrgetter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from diagplan.planner.arguments import require_kind
from diagplan.planner.errors import DocumentError
from diagplan.planner.trace import SampleTrace, Trace
from diagplan.schemas.files import producer_version, read_bytes, write_packed
from diagplan.schemas.limits import require_affordable
from diagplan.schemas.parsing import parse_document

if TYPE_CHECKING:
    from diagplan.schemas.trace_document import SampleTraceDocument, TraceDocument, TracedPassDocument

__all__ = ["TRACE_FORMAT", "TRACE_VERSION", "read_trace", "trace_from_json", "trace_to_json", "write_trace"]

TRACE_FORMAT = "diagplan-trace"
TRACE_VERSION = 1
_SHORTER = "Trace fewer samples, fewer frames or narrower windows."


def trace_to_json(trace: Trace) -> str:
    """The trace as JSON text, one pass a line.

    Raises:
        SpecError: no trace.
        DocumentError: it is too long for a document.
    """
    require_kind("trace", trace, Trace, "A speculative replay gives one.")
    head = {
        "format": TRACE_FORMAT,
        "version": TRACE_VERSION,
        "producer": {"name": "diagplan", "version": producer_version()},
        "plan": trace.plan,
        "model": trace.model,
        "dtype": trace.dtype,
        "sampler": dict(trace.sampler),
        "seed": trace.seed,
        "guidance": trace.guidance,
        "guided_steps": trace.guided_steps,
        "width": trace.width,
        "narrowest": trace.narrowest,
        "draft": trace.draft,
        "draft_passes": trace.draft_passes,
        "advance": trace.advance,
    }
    lines = [f'"{key}":{_compact(value)}' for key, value in head.items()]
    samples = ",\n".join(_sample_text(sample) for sample in trace.samples)
    text = "{" + ",\n".join(lines) + ',\n"samples":[\n' + samples + "\n]}\n"
    require_affordable(text, "the trace's document", _SHORTER)
    return text


def _compact(value: object) -> str:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=True)


def _sample_text(sample: SampleTrace) -> str:
    passes = ",\n".join(_compact(_pass(sample, number)) for number in range(sample.passes))
    return f'{{"number":{sample.number},"passes":[\n{passes}\n],\n"tokens":{_compact(sample.tokens.tolist())}}}'


def _pass(sample: SampleTrace, number: int) -> dict[str, Any]:
    def pairs(name: str) -> list[list[int]]:
        part = slice(*getattr(sample, f"{name}_offsets")[number : number + 2].tolist())
        both = getattr(sample, f"{name}_slot")[part], getattr(sample, f"{name}_id")[part]
        return np.stack(both, axis=1).tolist()  # type: ignore[no-any-return]

    return {
        "first": int(sample.first[number]),
        "end": int(sample.end[number]),
        "guesses": pairs("guess"),
        "chosen": pairs("chosen"),
        "accepted": int(sample.accepted[number]),
    }


def trace_from_json(text: str | bytes, *, name: str = "trace") -> Trace:
    """The trace in a JSON text. It is not checked: see ``diagplan.verify_trace``.

    Args:
        text: JSON text, UTF-8 where bytes.
        name: what to call it in messages.

    Raises:
        DocumentError: not a valid trace document of version 1, or beyond the limits.
    """
    from diagplan.schemas.trace_document import TraceDocument

    document = parse_document(
        TraceDocument,
        text,
        name=name,
        what="trace document",
        form=TRACE_FORMAT,
        version=TRACE_VERSION,
        again="replay again with a trace",
        shorter=_SHORTER,
    )
    return _trace(document)


def _trace(document: "TraceDocument") -> Trace:
    guidance = document.guidance
    return Trace(
        plan=document.plan,
        model=document.model,
        dtype=document.dtype,
        sampler=document.sampler.model_dump(),
        seed=document.seed,
        guidance=tuple(guidance) if isinstance(guidance, list) else guidance,
        guided_steps=_steps(document.guided_steps),
        width=document.width,
        narrowest=document.narrowest,
        draft=document.draft,
        draft_passes=document.draft_passes,
        advance=document.advance,
        samples=tuple(map(_sample, document.samples)),
    )


def _steps(steps: list[int | None] | None) -> tuple[int, int | None] | None:
    if steps is None:
        return None
    first, end = steps
    if first is None:
        raise DocumentError("expected guided_steps as two numbers, got a first of null. Only the end may be left open.")
    return first, end


def _sample(document: "SampleTraceDocument") -> SampleTrace:
    passes = document.passes

    def column(name: str) -> NDArray[np.int64]:
        return np.fromiter(map(attrgetter(name), passes), np.int64, len(passes))

    def pairs(of: "Callable[[TracedPassDocument], list[list[int]]]") -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        counts = [len(of(one)) for one in passes]
        flat = chain.from_iterable(chain.from_iterable(map(of, passes)))
        numbers = np.fromiter(flat, np.int64, 2 * sum(counts)).reshape(-1, 2)
        return np.cumsum([0, *counts], dtype=np.int64), numbers

    (guess_offsets, guesses), (chosen_offsets, chosen) = pairs(attrgetter("guesses")), pairs(attrgetter("chosen"))
    return SampleTrace(
        number=document.number,
        first=column("first"),
        end=column("end"),
        accepted=column("accepted"),
        guess_offsets=guess_offsets,
        guess_slot=guesses[:, 0],
        guess_id=guesses[:, 1],
        chosen_offsets=chosen_offsets,
        chosen_slot=chosen[:, 0],
        chosen_id=chosen[:, 1],
        tokens=np.array(document.tokens, dtype=np.int64),
    )


def read_trace(path: str | Path) -> Trace:
    """Read a trace from a .json, .json.gz or .json.zst file. It is not checked: see ``diagplan.verify_trace``.

    Raises:
        DocumentError: the file cannot be read, is too large, or is not a valid trace document.
        MissingExtraError: a .zst file without the extra ``zstd``.
        SpecError: ``path`` is not a path.

    >>> read_trace("trace.json").passes  # doctest: +SKIP
    31
    """
    require_kind("path", path, str | os.PathLike, "Give the name of a trace file.", what="a path")
    path = Path(path)
    return trace_from_json(read_bytes(path), name=path.name)


def write_trace(trace: Trace, path: str | Path) -> None:
    """Write a trace as JSON, compressed where the name ends in .gz or .zst; the file appears whole or not at all.

    Args:
        trace: the trace.
        path: where to; an existing file is replaced.

    Raises:
        DocumentError: the file cannot be written, or the trace is too long for a document.
        MissingExtraError: a .zst file without the extra ``zstd``.
        SpecError: another ending of the name, or ``trace`` is not a trace.
    """
    require_kind("trace", trace, Trace, "The trace comes first: write_trace(trace, path).")
    require_kind("path", path, str | os.PathLike, "Give the name of the file to write.", what="a path")
    write_packed(path, lambda: trace_to_json(trace))
