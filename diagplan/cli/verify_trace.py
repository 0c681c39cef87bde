"""Check the trace of a speculative replay by every rule, and its tokens by the model itself."""

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.text import Text

from diagplan.cli.run import read_ids
from diagplan.cli.shared.extras import require_for
from diagplan.cli.shared.models import (
    MODEL,
    AdapterOption,
    BackendOption,
    ConfigOption,
    ContextOption,
    DeviceOption,
    DtypeOption,
    Int8Option,
    ThreadsOption,
    load_options,
    option,
)
from diagplan.cli.shared.output import FINE, PROBLEM, JsonOption, command, console, print_json, print_table, working
from diagplan.cli.shared.requests import PlanFile

if TYPE_CHECKING:
    from diagplan.backends.teacher_check import TeacherCheck
    from diagplan.planner.trace import Trace
    from diagplan.planner.trace_checker import TraceVerification

__all__ = ["verify_trace_command"]


@command
def verify_trace_command(
    plan: PlanFile,
    trace: Annotated[
        Path, typer.Argument(help="The trace file to read: .json, .json.gz or .json.zst.", show_default=False)
    ],
    cap: Annotated[int, typer.Option(help="Show so many breaches of one rule; all are counted.", min=1)] = 20,
    weights: Annotated[
        Path | None,
        option(
            MODEL, "The model that was replayed, as for run: every token is derived anew. Left out: only the books."
        ),
    ] = None,
    adapter: AdapterOption = "mc-ar",
    config: ConfigOption = None,
    context: ContextOption = None,
    backend: BackendOption = "torch",
    dtype: DtypeOption = "float32",
    device: DeviceOption = "cpu",
    int8: Int8Option = False,
    threads: ThreadsOption = None,
    unconditional: Annotated[
        list[Path] | None,
        option(
            MODEL, "Of guidance: every given slot's id without the condition, .npy, int [G] or [B, G]; one a branch."
        ),
    ] = None,
    eps: Annotated[
        float | None,
        option(MODEL, "The largest shortfall of a near-tie. Left out: 0.001, for bfloat16 and float16 0.5.", min=0),
    ] = None,
    as_json: JsonOption = False,
) -> int:
    """Check the trace of a speculative replay by every rule. Exit code 1 if there is any error."""
    from diagplan.schemas.files import read_plan
    from diagplan.schemas.trace import read_trace
    from diagplan.schemas.verify_trace import verify_trace

    read, traced = read_plan(plan), read_trace(trace)
    tokens = None
    with working(f"verifying {trace}", quiet=as_json):
        if weights is None:
            report = verify_trace(read, traced, cap=cap)
        else:
            from diagplan.backends.table import options_for
            from diagplan.models.trace_check import check_with_model

            require_for("the check of tokens", weights, backend)
            branches = [read_ids(path) for path in unconditional or ()]
            options = load_options(
                backend=backend, config=config, dtype=dtype, device=device, int8=int8, threads=threads, context=context
            )
            checked = check_with_model(
                read, traced, adapter, weights, options_for(weights, options), eps=eps, cap=cap,
                unconditional=branches if isinstance(traced.guidance, tuple) else next(iter(branches), None),
            )  # fmt: skip
            report, tokens = checked.report, checked.tokens
    if as_json:
        print_json(_figures(traced, report) | {"tokens": None if tokens is None else _token_figures(tokens)})
    else:
        _print(trace.name, traced, report, tokens)
    return FINE if report.ok else PROBLEM


def _figures(trace: "Trace", report: "TraceVerification") -> dict[str, Any]:
    return {
        "ok": report.ok,
        "errors": report.errors,
        "counts": dict(report.counts),
        "samples": len(trace.samples),
        "passes": [sample.passes for sample in trace.samples],
        "diagnostics": [asdict(one) for one in report.diagnostics],
    }


def _token_figures(tokens: "TeacherCheck") -> dict[str, Any]:
    return {
        "checked": tokens.tokens,
        "first_choice": tokens.first,
        "eps": tokens.eps,
        "above_eps": len(tokens.above),
        "largest": None if tokens.largest is None else tokens.largest._asdict(),
    }


def _print(name: str, trace: "Trace", report: "TraceVerification", tokens: "TeacherCheck | None") -> None:
    if report.diagnostics:
        print_table(
            ["code", ">sample", ">pass", ">slot", "message", "remedy"],
            [(one.code, one.sample, one.number, one.slot, one.message, one.remedy) for one in report.diagnostics],
        )
    screen = console()
    hidden = report.errors - len(report.diagnostics)
    if hidden:
        counts = ", ".join(f"{code}: {count:,}" for code, count in sorted(report.counts.items()))
        screen.print(Text(f"{hidden:,} more not shown; in all {counts}. --cap shows more."), soft_wrap=True)
    if tokens is not None:
        screen.print(Text(_words(tokens)), soft_wrap=True)
    counted = f"{len(trace.samples):,} sample(s), {trace.passes:,} passes"
    verdict = "valid" if report.ok else "not valid"
    screen.print(Text(f"{name}: {verdict}, {report.errors:,} error(s); {counted}"), soft_wrap=True)


def _words(tokens: "TeacherCheck") -> str:
    words = f"{tokens.tokens:,} tokens derived anew: {tokens.first:,} are the model's first choice"
    if tokens.largest is not None:
        one = tokens.largest
        words += f"; the largest shortfall is {one.shortfall:.3g}, in sample {one.sample}, slot {one.slot}"
    return f"{words}; {len(tokens.above):,} above {tokens.eps:g}"
