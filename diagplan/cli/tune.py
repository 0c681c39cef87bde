"""From a budget of time to a plan."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer
from rich.text import Text

from diagplan.cli.shared.files import PLANS, Output, require_outputs
from diagplan.cli.shared.models import MODEL, option
from diagplan.cli.shared.output import (
    FINE,
    PROBLEM,
    JsonOption,
    WideOption,
    command,
    console,
    print_json,
    print_table,
    progress_bar,
)
from diagplan.cli.shared.requests import (
    LAYOUT,
    Cols,
    Frames,
    LayoutModel,
    PoliciesOption,
    ProxyKvOption,
    ProxyOption,
    RowEndOption,
    Rows,
    VisibilityOption,
    layout_from_options,
    naming_options,
    policies_from_options,
)
from diagplan.planner.errors import DocumentError, SpecError
from diagplan.planner.shown import shown

if TYPE_CHECKING:
    from diagplan.planner.budget import Budget
    from diagplan.planner.front import Loss
    from diagplan.planner.layout import Layout
    from diagplan.planner.tuning import Accepted, Candidate, Priced
    from diagplan.schemas.curve import CurveDocument
    from diagplan.study.tune import Tuned

__all__ = ["tune_command"]

LIMITS, OUTPUT = "Limits", "Output"
#: Rows of the front that are printed without --wide.
_ROWS = 16


@command
def tune_command(
    curve: Annotated[Path, typer.Option(help="A cost curve of `diagplan measure`.", show_default=False)],
    out: Annotated[
        Path | None,
        option(OUTPUT, "The plan file to write: .json, .json.gz or .json.zst. Left out: none is.", "-o", "--out"),
    ] = None,
    budget: Annotated[
        str | None,
        option(LIMITS, "The time: '10 fps', '120 ms/frame', '3 s/clip'. Left out, with --max-loss: as fast as can be."),
    ] = None,
    max_loss: Annotated[
        float | None,
        option(LIMITS, "With --study: the most loss over next-token prediction's, at the interval's upper end."),
    ] = None,
    study: Annotated[
        Path | None, option(LIMITS, "The folder of a study of this model. Left out: nothing is known of quality.")
    ] = None,
    latency: Annotated[
        Literal["clip", "first-frame"],
        typer.Option(help="Within the limits favour quality, or the first frame.", rich_help_panel=LIMITS),
    ] = "clip",
    speculation: Annotated[
        list[str] | None,
        option(
            LIMITS,
            "Speculative replay is a candidate: a trace of it on this model, or WINDOW:ACCEPTED, such as 36:21.5.",
        ),
    ] = None,
    model: LayoutModel = None,
    frames: Frames = None,
    rows: Rows = None,
    cols: Cols = None,
    prompt_frames: Annotated[
        int | None, option(LAYOUT, "Frames that are given. Left out: as the model has them.")
    ] = None,
    lead: Annotated[
        int | None, option(LAYOUT, "Given tokens before everything. Left out: as the model has them.")
    ] = None,
    between_frames: Annotated[
        int | None, option(LAYOUT, "Given tokens between two frames. Left out: as the model has them.")
    ] = None,
    between_rows: Annotated[
        int | None, option(LAYOUT, "Given tokens between two rows. Left out: as the model has them.")
    ] = None,
    policies: PoliciesOption = "default",
    proxy: ProxyOption = None,
    row_end: RowEndOption = None,
    proxy_kv: ProxyKvOption = None,
    visibility: VisibilityOption = None,
    all_policies: Annotated[
        bool, typer.Option("--all-policies", help="Try every bundle of policies besides.", rich_help_panel=LAYOUT)
    ] = False,
    weights: Annotated[
        Path | None, option(MODEL, "The checkpoint that will run the plan; a curve of another one is refused.")
    ] = None,
    backend: Annotated[str | None, option(MODEL, "Refuse a curve of another backend than this.")] = None,
    device: Annotated[str | None, option(MODEL, "Refuse a curve of another device than this.")] = None,
    dtype: Annotated[str | None, option(MODEL, "Refuse a curve of another dtype than this.")] = None,
    threads: Annotated[int | None, option(MODEL, "Refuse a curve of another number of threads than this.")] = None,
    batch: Annotated[int | None, option(MODEL, "Refuse a curve of another batch than this.")] = None,
    png: Annotated[Path | None, option(OUTPUT, "Draw the front, .png.")] = None,
    svg: Annotated[Path | None, option(OUTPUT, "Draw the front, .svg.")] = None,
    wide: WideOption = False,
    as_json: JsonOption = False,
) -> int:
    """The best plan that a machine replays within a budget of time, by a cost curve of the model on it."""
    from diagplan.planner.budget import Budget, parse_budget
    from diagplan.planner.policy import BUNDLES
    from diagplan.schemas.curve import read_curve, require_curve_for
    from diagplan.schemas.files import write_plan
    from diagplan.study.tune import tune_plan

    outputs = [Output("-o", out, PLANS), Output("--png", png, (".png",)), Output("--svg", svg, (".svg",))]
    require_outputs(*outputs, inputs={"--curve": curve, "--study": study, "--weights": weights})
    if budget is None and max_loss is None:
        raise SpecError("expected --budget, --max-loss or both, got neither. Write --budget '10 fps'.")
    time = Budget(seconds=float("inf")) if budget is None else parse_budget(budget)
    layout = layout_from_options(
        model, frames=frames, rows=rows, cols=cols, prompt_frames=prompt_frames, lead=lead,
        between_frames=between_frames, between_rows=between_rows,
    )  # fmt: skip
    chosen = policies_from_options(policies, proxy=proxy, row_end=row_end, proxy_kv=proxy_kv, visibility=visibility)
    tried = list(dict.fromkeys([chosen, *(BUNDLES.values() if all_policies else ())]))
    document, folder = read_curve(curve), _world(model)
    accepted = [_accepted(text, document) for text in speculation or ()]
    require_curve_for(
        document, layout=layout, files=_digest(folder, weights, document), backend=backend, device=device, dtype=dtype,
        threads=threads, batch=batch,
    )  # fmt: skip
    bar = progress_bar("pricing plans", "schedules", quiet=as_json)
    with bar as progress, naming_options(["max_loss", "budget"]):
        task = progress.add_task("", total=None)
        tuned = tune_plan(
            layout, document, time, policies=tried, study=study, world=folder, max_loss=max_loss, latency=latency,
            accepted=accepted, on_progress=lambda done, of: progress.update(task, completed=done, total=of),
        )  # fmt: skip
    if tuned.plan is not None and out is not None:
        write_plan(tuned.plan, out)
    within = None if time.fastest else time.of_clip(layout.frames)
    for path, form in ((png, "png"), (svg, "svg")):
        if path is not None:
            from diagplan.schemas.atomic import write_atomically
            from diagplan.study.front_plot import front_plot

            kind: Literal["png", "svg"] = "png" if form == "png" else "svg"
            title = f"{document.model.name}, {layout.frames} frames, {_on(document)}"
            picture = front_plot(tuned, title=title, within=within, max_loss=max_loss, latency=latency, form=kind)
            write_atomically(path, picture)
    written = [path for path in (out if tuned.plan is not None else None, png, svg) if path is not None]
    if as_json:
        print_json(_json(tuned, document, layout, time, written))
    else:
        _print(tuned, document, layout, time, written, wide=wide)
    return FINE if tuned.plan is not None else PROBLEM


def _accepted(text: str, document: "CurveDocument") -> "Accepted":
    """Figures as they are typed, or those of a trace's file, which is of the curve's model."""
    from diagplan.planner.tuning import Accepted, accepted_of

    if text.endswith((".json", ".json.gz", ".json.zst")):
        from diagplan.schemas.trace import read_trace

        trace, own = read_trace(text), document.model.fingerprint
        if own is not None and trace.model != own:
            raise DocumentError(
                f"expected a trace of the curve's model {own[:12]} in {Path(text).name}, got one of "
                f"{shown(trace.model[:12])}. Write one: diagplan run --exact --trace."
            )
        return accepted_of(trace)
    window, _, mean = text.partition(":")
    try:
        return Accepted(window=int(window), mean=float(mean))
    except ValueError:
        raise SpecError(
            f"expected --speculation as WINDOW:ACCEPTED or a trace's file, got {shown(text)}. Write 36:21.5: passes "
            "that accept 21.5 feeds on average; or the file of `diagplan run --trace`."
        ) from None


def _world(model: str | None) -> Path | None:
    """The folder of a world model, where --model names one."""
    from diagplan.worlds.loading import folder_of

    folder = folder_of(model or "")
    return folder if model and (folder / "world.json").is_file() else None


def _digest(folder: Path | None, weights: Path | None, document: "CurveDocument") -> str | None:
    """Of the files that are meant, where there are any to compare with the curve's."""
    files = weights if weights is not None else folder
    if files is None or document.model.files is None:
        return None
    from diagplan.models.measuring import files_digest

    return files_digest(files)


def _on(document: "CurveDocument") -> str:
    if document.kind == "estimate":
        return f"an estimate for {document.device}, nothing was timed"
    threads = "" if document.threads is None else f", {document.threads} thread{'s'[: document.threads > 1]}"
    place = f"{document.backend} on {document.device} of {document.machine}{threads}"
    return f"{place}, {document.dtype}, batch {document.batch}"


def _words(tuned: "Tuned", document: "CurveDocument", layout: "Layout", time: "Budget") -> str:
    """What was chosen, or why nothing was, in a sentence or two."""
    best, nearest = tuned.choice.best, tuned.choice.nearest
    estimate = " (an estimate)" if document.kind == "estimate" else ""
    if best is not None:
        words = f"takes {best.candidate.name}: {time.shown(best.cost.seconds, layout.frames)}{estimate}"
        if best.candidate.speculation is not None:
            draft = best.candidate.speculation.draft
            words += f"; replay it with --speculate {best.candidate.speculation.window}"
            words += "" if draft is None else f" --draft {draft}"
        beyond = "" if best.cost.inside else ". Some passes lie beyond what was measured"
        return f"{words}{beyond}."
    limit = "without limit" if time.fastest else f"within {time.shown(time.of_clip(layout.frames), layout.frames)}"
    words = f"expected a plan {limit}, got none"
    if nearest is not None:
        takes = time.shown(nearest.cost.seconds, layout.frames)
        words += f": the nearest, {nearest.candidate.name}, takes {takes}{estimate}"
    return f"{words}. {tuned.choice.limits}"


def _row(one: "Priced", losses: "Mapping[Candidate, Loss] | None", frames: int) -> dict[str, Any]:
    loss = None if losses is None else losses.get(one.candidate)
    schedule = one.candidate.schedule
    return {
        "plan": one.candidate.name, "seconds": one.cost.seconds, "ms_a_frame": 1e3 * one.cost.seconds / frames,
        "passes": one.cost.passes, "widest": one.cost.widest, "first_frame_seconds": one.cost.first_frame_seconds,
        "shapes": one.cost.shapes, "inside": one.cost.inside, "schedule": type(schedule).__name__,
        "k": getattr(schedule, "k", None), "d": getattr(schedule, "d", None), "max_width": one.candidate.max_width,
        "pad": one.candidate.pad, "policies": asdict(one.candidate.policies),
        "loss": None if loss is None else asdict(loss),
    }  # fmt: skip


def _json(
    tuned: "Tuned", document: "CurveDocument", layout: "Layout", time: "Budget", written: Sequence[Path]
) -> dict[str, Any]:
    choice, frames = tuned.choice, layout.frames
    value: dict[str, Any] = {"ok": choice.best is not None}
    if choice.best is None:
        value["error"] = _words(tuned, document, layout, time)
    return value | {
        "estimate": document.kind == "estimate",
        "budget_seconds": None if time.fastest else time.of_clip(frames),
        "best": None if choice.best is None else _row(choice.best, tuned.losses, frames),
        "nearest": None if choice.nearest is None else _row(choice.nearest, tuned.losses, frames),
        "front": [_row(one, tuned.losses, frames) for one in tuned.front],
        "candidates": len(tuned.priced),
        "judged": None if tuned.losses is None else len(tuned.losses),
        "written": [str(path) for path in written],
    }


def _print(
    tuned: "Tuned", document: "CurveDocument", layout: "Layout", time: "Budget", written: Sequence[Path], *, wide: bool
) -> None:
    front = list(tuned.front)
    if not wide and len(front) > _ROWS:
        kept = {round(i * (len(front) - 1) / (_ROWS - 1)) for i in range(_ROWS)}
        front = [one for i, one in enumerate(front) if i in kept or one is tuned.choice.best]
    heads = ["", "plan", ">s a clip", ">ms a frame", ">passes", ">widest", ">s to frame 1", ">shapes"]
    heads += [] if tuned.losses is None else [">loss over NTP's"]
    lines = []
    for one in front:
        cost = one.cost
        cells = [
            "*" if one is tuned.choice.best else "", one.candidate.name,
            f"{cost.seconds:.3f}{'' if cost.inside else '?'}",
            f"{1e3 * cost.seconds / layout.frames:.1f}", f"{cost.passes:,}", cost.widest,
            f"{cost.first_frame_seconds:.3f}", cost.shapes,
        ]  # fmt: skip
        if tuned.losses is not None:
            loss = tuned.losses[one.candidate]
            ends = "" if loss.low is None or loss.high is None else f" [{loss.low:.4f}, {loss.high:.4f}]"
            cells.append(f"{loss.mean:.4f}{ends}")
        lines.append(cells)
    print_table(heads, lines, title=f"Predicted by the curve: {_on(document)}")
    screen = console()
    less = "" if len(front) == len(tuned.front) else f", {len(front)} of them above (--wide: all)"
    screen.print(
        Text(f"{len(tuned.priced):,} plans priced, {len(tuned.front)} that no other beats{less}"), soft_wrap=True
    )
    if tuned.judged is not None and tuned.losses is not None:
        about = f"{len(tuned.losses)} of them judged by the study, on {tuned.judged.clips} clips"
        if tuned.judged.frames != layout.frames:
            about += f" of {tuned.judged.frames} generated frames, not {layout.frames}"
        screen.print(Text(about), soft_wrap=True)
    words = _words(tuned, document, layout, time)
    if tuned.choice.best is None:
        console(stderr=True).print(Text(f"diagplan: {words}"), soft_wrap=True)
    else:
        screen.print(Text(words), soft_wrap=True)
        if not any(one.candidate.speculation for one in tuned.priced):
            screen.print(
                Text("--exact was not priced: --speculation WINDOW:ACCEPTED does it, see --help"), soft_wrap=True
            )
    for path in written:
        screen.print(Text(f"wrote {path} ({path.stat().st_size:,} bytes)"), soft_wrap=True)
