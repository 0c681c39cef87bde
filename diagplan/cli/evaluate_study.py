"""The study: every plan on one set of clips, resumable."""

from pathlib import Path
from typing import Annotated

import typer
from rich.progress import TimeRemainingColumn
from rich.text import Text

from diagplan.cli.shared.files import Output, require_outputs
from diagplan.cli.shared.models import (
    ContextOption,
    DeviceOption,
    DtypeOption,
    ReleaseConfigOption,
    ReleaseTokenizerOption,
    ReleaseWeightsOption,
    ThreadsOption,
    option,
    world_option,
)
from diagplan.cli.shared.output import (
    FINE,
    JsonOption,
    command,
    console,
    print_json,
    print_table,
    progress_bar,
)
from diagplan.cli.shared.recipes import WORKERS, GpusPerWorkerOption, RayOption
from diagplan.cli.shared.speculation import EXACT
from diagplan.planner.extras import require_packages
from diagplan.worlds.loading import release_names

__all__ = ["evaluate_study_command"]


ExactOption = Annotated[
    bool,
    option(
        EXACT,
        "Add base/exact: next-token prediction's own tokens in fewer passes; the window is measured.",
        "--exact",
    ),
]


@command
def evaluate_study_command(
    clips: Annotated[
        Path,
        typer.Option(
            help="The folder of videos, with actions beside them where the model knows actions.", show_default=False
        ),
    ],
    out: Annotated[
        Path,
        typer.Option(
            "-o",
            "--out",
            help="The study's folder. Give it again to go on where a study has stopped.",
            show_default=False,
        ),
    ],
    model: Annotated[
        str,
        world_option(
            f"The base model and the judge of all: crafter-mini, a world model's folder, or a release: "
            f"{', '.join(release_names())}.",
            releases=True,
        ),
    ] = "crafter-mini",
    weights: ReleaseWeightsOption = None,
    tokenizer: ReleaseTokenizerOption = None,
    config: ReleaseConfigOption = None,
    context: ContextOption = None,
    tuned: Annotated[
        list[str] | None,
        typer.Option(help="LABEL=FOLDER of a fine-tuned model; may be repeated. Left out: none.", show_default=False),
    ] = None,
    rule: Annotated[
        str,
        typer.Option(help="How pieces are taken from videos: context, vpt, ... as docs/evaluation.md lists them."),
    ] = "context",
    count: Annotated[
        int | None,
        typer.Option(help="Take so many clips. Left out: the rule's own number, or 128.", min=1, show_default=False),
    ] = None,
    seed: Annotated[int, typer.Option(help="The seed of the choice of clips and of the intervals.", min=0)] = 0,
    keep: Annotated[
        int | None,
        typer.Option(
            help="Beyond the context slide a window that keeps so many frames. Left out: as the model's release.",
            min=1,
            show_default=False,
        ),
    ] = None,
    only: Annotated[
        list[str] | None,
        typer.Option(help="Run these conditions, e.g. base/k=*; may be repeated. Left out: all.", show_default=False),
    ] = None,
    exact: ExactOption = False,
    speculate: Annotated[
        str | None,
        option(EXACT, "The windows of base/exact=N, with commas. Left out: a third of a frame, and a frame."),
    ] = None,
    draft: Annotated[
        str | None,
        option(EXACT, "First guesses of base/exact=N, with commas, as for run. Left out: previous-frame."),
    ] = None,
    batch: Annotated[int, typer.Option(help="Replay so many clips at a time.", min=1, max=4096)] = 32,
    repeats: Annotated[int, typer.Option(help="Time so many replays of the first clip alone.", min=1)] = 3,
    timed_again: Annotated[
        bool, typer.Option("--time-again", help="Measure all times anew, in turn.", show_default=False)
    ] = False,
    samples: Annotated[int, typer.Option(help="Write videos of so many clips.", min=0)] = 3,
    i3d: Annotated[
        Path | None,
        typer.Option(help="The TorchScript file of I3D, which adds the FVD. Left out: no FVD.", show_default=False),
    ] = None,
    vbench: Annotated[
        Path | None,
        typer.Option(
            help="The folder of VBench's weights, which adds three of its scores. Left out: none of them.",
            show_default=False,
        ),
    ] = None,
    dtype: DtypeOption = "float32",
    device: DeviceOption = "cpu",
    threads: ThreadsOption = None,
    workers: Annotated[
        int,
        typer.Option(
            help="Run so many conditions at once, each in a process with the model loaded.",
            min=1,
            rich_help_panel=WORKERS,
        ),
    ] = 1,
    ray: RayOption = None,
    gpus_per_worker: GpusPerWorkerOption = 1,
    as_json: JsonOption = False,
) -> int:
    """Compare decoding plans on one set of clips: tables with intervals, plots, sample videos."""
    from diagplan.study.setup import parse_list, parse_tuned, parse_windows
    from diagplan.study.whole import study_plans

    require_packages("a study", "torch", "safetensors", "av", "diffusers", "PIL", "skimage", "matplotlib")
    require_outputs(Output("-o", out))
    bar = progress_bar("{task.description}", "passes", TimeRemainingColumn(), quiet=as_json)
    with bar as progress:
        task = progress.add_task("", total=None)
        report = study_plans(
            model, clips, out, tuned=parse_tuned(tuned or []), rule=rule, count=count, seed=seed, keep=keep,
            only=only or (), exact=exact, windows=parse_windows(speculate), drafts=parse_list(draft),
            batch=batch, repeats=repeats, measure_again=timed_again, samples=samples, device=device,
            threads=threads or "auto", weights=weights, tokenizer=tokenizer, config=config, context=context,
            dtype=dtype,
            i3d=i3d, vbench=vbench, workers=workers, ray=ray, gpus_per_worker=gpus_per_worker,
            on_progress=lambda what, done, of: progress.update(
                task, description=what, completed=done, total=of or None
            ),
        )  # fmt: skip
    if as_json:
        print_json(
            {
                "clips": report.clips,
                "conditions": report.conditions,
                "done_before": report.done_before,
                "run_now": report.run_now,
                "rows": [row.as_dict() for row in report.rows],
                "written": [str(path) for path in report.written],
                "losses": report.losses,
            }
        )
        return FINE
    from diagplan.study.tables import number_text, passes_text

    columns = [
        "condition",
        ">passes",
        ">x passes",
        ">x time",
        ">loss",
        ">% as recorded",
        ">% as NTP",
        ">% moves followed",
    ]
    print_table(
        columns,
        [
            (row.id, passes_text(row.step), number_text(row.fewer_passes), number_text(row.faster), *_shown(row))
            for row in report.rows
        ],
        title=f"{report.clips} clips; {report.run_now} conditions run, {report.done_before} done before",
    )  # fmt: skip
    if any(row.seconds is None for row in report.rows):
        console().print(Text("times were not measured beside other workers: --time-again"), soft_wrap=True)
    for path in report.written:
        console().print(Text(f"wrote {path}"), soft_wrap=True)
    return FINE


def _shown(row: object) -> tuple[str, ...]:
    from diagplan.study.tables import FIGURES, Row

    assert isinstance(row, Row)
    names = ("loss", "equal_truth", "equal_ntp", "followed")
    return tuple(FIGURES[name].number(row.figures[name].mean) for name in names)
