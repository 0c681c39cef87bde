"""Many clips in one command: workers on this machine, or on Ray."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.text import Text

from diagplan.cli.shared.extras import require_for
from diagplan.cli.shared.files import Output, require_outputs
from diagplan.cli.shared.models import (
    BackendOption,
    ContextOption,
    DeviceOption,
    DtypeOption,
    Int8Option,
    ReleaseConfigOption,
    ReleaseTokenizerOption,
    ReleaseWeightsOption,
    ThreadsOption,
    option,
)
from diagplan.cli.shared.output import (
    FINE,
    PROBLEM,
    JsonOption,
    command,
    console,
    print_json,
    print_table,
    progress_bar,
)
from diagplan.cli.shared.recipes import (
    WORKERS,
    BatchOption,
    FpsOption,
    FramesOption,
    GpusPerWorkerOption,
    JobSeedOption,
    KeepOption,
    PlanFileOption,
    PromptFramesOption,
    RayOption,
    TextEncoderOption,
    TokensOnlyOption,
    WorldModelOption,
    recipe_from_options,
)
from diagplan.cli.shared.requests import (
    FrameDelayOption,
    GreedyOption,
    MinPOption,
    PoliciesOption,
    ProxyKvOption,
    ProxyOption,
    RowDelayOption,
    RowEndOption,
    ScheduleNameOption,
    TemperatureOption,
    TopKOption,
    TopPOption,
    VisibilityOption,
    ZipArWindowOption,
)
from diagplan.cli.shared.speculation import DraftOption, ExactOption, SpeculateOption
from diagplan.worlds.loading import folder_of

if TYPE_CHECKING:
    from diagplan.batch import Progress, Summary

__all__ = ["batch_command"]


@command
def batch_command(
    jobs: Annotated[
        Path, typer.Argument(help="Jobs, one a line (JSON); or a folder of videos.", show_default=False, metavar="JOBS")
    ],
    out: Annotated[Path, typer.Option("-o", "--out", help="The folder for what is made.", show_default=False)],
    model: WorldModelOption = "crafter-mini",
    weights: ReleaseWeightsOption = None,
    tokenizer: ReleaseTokenizerOption = None,
    config: ReleaseConfigOption = None,
    context: ContextOption = None,
    text_encoder: TextEncoderOption = None,
    backend: BackendOption = "torch",
    dtype: DtypeOption = "float32",
    device: DeviceOption = "cpu",
    int8: Int8Option = False,
    threads: ThreadsOption = None,
    frames: FramesOption = None,
    prompt_frames: PromptFramesOption = None,
    keep: KeepOption = None,
    plan: PlanFileOption = None,
    schedule: ScheduleNameOption = None,
    k: RowDelayOption = None,
    d: FrameDelayOption = None,
    window: ZipArWindowOption = None,
    policies: PoliciesOption = "default",
    proxy: ProxyOption = None,
    row_end: RowEndOption = None,
    proxy_kv: ProxyKvOption = None,
    visibility: VisibilityOption = None,
    seed: JobSeedOption = 0,
    greedy: GreedyOption = False,
    temperature: TemperatureOption = None,
    top_k: TopKOption = None,
    top_p: TopPOption = None,
    min_p: MinPOption = None,
    tokens_only: TokensOnlyOption = False,
    fps: FpsOption = None,
    exact: ExactOption = False,
    speculate: SpeculateOption = None,
    draft: DraftOption = None,
    batch: BatchOption = 4,
    workers: Annotated[
        int, typer.Option(help="Processes, each with the model loaded.", min=1, rich_help_panel=WORKERS)
    ] = 1,
    ray: RayOption = None,
    gpus_per_worker: GpusPerWorkerOption = 1,
    max_errors: Annotated[
        int | None, option(WORKERS, "Stop early when more jobs than this went wrong. Left out: go on.", min=0)
    ] = None,
    as_json: JsonOption = False,
) -> int:
    """Many clips: a file of jobs in, a folder of videos and tokens out."""
    from diagplan.batch import run_batch

    require_for("videos", weights or folder_of(model), backend, "av", "PIL")
    inputs = {"JOBS": jobs, "--plan": plan, "--weights": weights, "--tokenizer": tokenizer, "--context": context}
    require_outputs(Output("-o", out), inputs=inputs | {"--text-encoder": text_encoder, "--model": Path(model)})
    recipe = recipe_from_options(
        model=model, weights=weights, tokenizer=tokenizer, config=config, context=context, text_encoder=text_encoder,
        backend=backend, dtype=dtype, device=device, int8=int8, threads=threads, frames=frames,
        prompt_frames=prompt_frames, keep=keep, plan=plan, schedule=schedule, k=k, d=d, window=window,
        policies=policies, proxy=proxy, row_end=row_end, proxy_kv=proxy_kv, visibility=visibility, seed=seed,
        greedy=greedy, temperature=temperature, top_k=top_k, top_p=top_p, min_p=min_p, tokens_only=tokens_only,
        fps=fps, exact=exact, speculate=speculate, draft=draft, batch=batch,
    )  # fmt: skip
    with progress_bar("{task.description}", "{task.fields[words]}", quiet=as_json) as bar:
        task = bar.add_task("opening", total=1000, words="‰")

        def on_progress(now: "Progress") -> None:
            bar.update(task, description="batch", completed=int(1000 * now.share), words=_words(now))

        summary = run_batch(
            jobs, out, recipe, workers=workers, ray=ray, gpus_per_worker=gpus_per_worker, max_errors=max_errors,
            on_progress=on_progress,
        )  # fmt: skip
    _say(summary, out, as_json=as_json)
    return PROBLEM if summary.wrong else FINE


def _words(now: "Progress") -> str:
    """Progress behind the bar.

    >>> from diagplan.batch import Progress
    >>> _words(Progress(done=7, there=2, wrong=1, share=0.5, clips_per_second=0.25, seconds_left=75.0, workers=2))
    '‰: 7 made, 2 there, 1 wrong, 0.25 clips/s, 0:01:15 left, 2 workers'
    """
    left = "" if now.seconds_left is None else f", {int(now.seconds_left) // 3600}:{_clock(now.seconds_left)} left"
    counts = f"‰: {now.done:,} made, {now.there:,} there, {now.wrong:,} wrong"
    return f"{counts}, {now.clips_per_second:.2f} clips/s{left}, {now.workers} workers"


def _clock(seconds: float) -> str:
    return f"{int(seconds) // 60 % 60:02d}:{int(seconds) % 60:02d}"


def _say(summary: "Summary", out: Path, *, as_json: bool) -> None:
    document: dict[str, Any] = summary.document()
    if as_json:
        print_json(document | {"out": str(out)})
        return
    rows = document.pop("workers")
    print_table(["", ">"], [(name.replace("_", " "), value) for name, value in document.items()])
    names = list(rows[0])
    print_table(
        ["worker", *(f">{name.replace('_', ' ')}" for name in names)],
        [(number, *(row[name] for name in names)) for number, row in enumerate(rows)],
    )
    text = f"{out}: {summary.clips + summary.there} clips"
    if summary.wrong:
        text += f"; {summary.wrong} went wrong: {out / 'errors.jsonl'}"
    if summary.stopped:
        text += "; stopped early, the same command does the rest"
    console().print(Text(text), soft_wrap=True)
