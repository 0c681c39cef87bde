"""The study: every plan on one set of clips, resumable."""

from pathlib import Path
from typing import Annotated

import typer
from rich.progress import TimeRemainingColumn
from rich.text import Text

from diagplan.cli.shared.models import DeviceOption
from diagplan.cli.shared.output import (
    FINE,
    INTERRUPTED,
    JsonOption,
    command,
    console,
    print_json,
    print_table,
    progress_bar,
    working,
)

__all__ = ["evaluate_study_command"]


@command
def evaluate_study_command(
    clips: Annotated[Path, typer.Option(help="Folder of videos with actions beside them.", show_default=False)],
    out: Annotated[Path, typer.Option("-o", "--out", help="The study's folder; goes on if stopped.")],
    model: Annotated[
        str, typer.Option(help="crafter-mini, or a world model's folder: base and judge.")
    ] = "crafter-mini",
    tuned: Annotated[
        list[str] | None, typer.Option(help="LABEL=FOLDER of a fine-tuned model; may be repeated.", show_default=False)
    ] = None,
    rule: Annotated[str, typer.Option(help="How pieces are taken from videos: context, vpt, ...")] = "context",
    count: Annotated[
        int | None, typer.Option(help="Clips; the rule's own number, or 128.", min=1, show_default=False)
    ] = None,
    seed: Annotated[int, typer.Option(help="Of the choice of clips and of the intervals.", min=0)] = 0,
    keep: Annotated[
        int | None,
        typer.Option(help="Beyond the context: slide a window that keeps so many frames.", min=1, show_default=False),
    ] = None,
    only: Annotated[
        list[str] | None,
        typer.Option(help="Conditions to run, e.g. base/k=*; may be repeated; all.", show_default=False),
    ] = None,
    batch: Annotated[int, typer.Option(help="Clips at a time.", min=1, max=4096)] = 32,
    repeats: Annotated[int, typer.Option(help="Timed replays of one clip alone.", min=1)] = 3,
    timed_again: Annotated[
        bool, typer.Option("--time-again", help="Measure all times anew, in turn.", show_default=False)
    ] = False,
    samples: Annotated[int, typer.Option(help="Clips of which videos are written.", min=0)] = 3,
    i3d: Annotated[Path | None, typer.Option(help="TorchScript file of I3D: adds the FVD.", show_default=False)] = None,
    vbench: Annotated[
        Path | None, typer.Option(help="Folder of VBench's weights: adds three of its scores.", show_default=False)
    ] = None,
    device: DeviceOption = "cpu",
    as_json: JsonOption = False,
) -> int:
    """Compare decoding plans on one set of clips: tables with intervals, plots, sample videos."""
    from diagplan.drawing.study_plots import require_matplotlib
    from diagplan.study.conditions import all_conditions, select
    from diagplan.study.report import write_report, write_samples
    from diagplan.study.results import StudyFolder
    from diagplan.study.run import judge_truth, planned_work, run_study, time_again
    from diagplan.study.setup import parse_tuned, set_up, settings_of

    require_matplotlib()  # not after the first hour
    with working("reading clips", quiet=as_json):
        study = set_up(
            model, clips, tuned=parse_tuned(tuned or []), rule=rule, count=count, seed=seed, keep=keep, batch=batch,
            repeats=repeats, device=device, i3d=i3d, vbench=vbench,
        )  # fmt: skip
    layout = study.material.layout
    every = all_conditions(layout.rows, layout.cols, [label for label in study.worlds if label != "base"])
    conditions = select(every, only or [])
    folder = StudyFolder(out, settings_of(study))
    done, work = planned_work(study, folder, conditions)
    bar = progress_bar("replaying", "passes {task.description}", TimeRemainingColumn(), quiet=as_json)
    try:
        with bar as progress:
            task = progress.add_task("", total=work)

            def on_start(name: str, _: int) -> None:
                progress.update(task, description=name)

            results, ran = run_study(
                study, folder, conditions, on_start=on_start, on_work=lambda passes: progress.advance(task, passes)
            )
            if timed_again:
                measured = repeats * sum(results[c.id].plan["steps"] for c in conditions)
                progress.update(task, total=work + measured, description="measuring times")
                results = time_again(
                    study, folder, conditions, results, on_work=lambda passes: progress.advance(task, passes)
                )
        with working("writing tables and plots", quiet=as_json):
            truth = judge_truth(study)
            for condition in every:  # those of earlier runs, too
                there = folder.read(condition.id, study.bound(condition.model))
                if there is not None:
                    results.setdefault(condition.id, there)
            results = {c.id: results[c.id] for c in every if c.id in results}
            about = {
                "model": f"{study.worlds['base'].name}, weights {study.weights['base'][:16]}",
                "clips": f"{len(study.material.pieces)} by the rule `{rule}`, seed {seed}; study.json lists them",
                "recorded clips": f"loss {truth['loss']:.4f}, moves that are judged {truth['counted']}",
            }
            rows, written = write_report(folder, results, truth, about, seed=seed)
            written += write_samples(study, folder, results, count=samples)
    except KeyboardInterrupt:
        now = planned_work(study, folder, conditions)[0]
        said = f"interrupted; {out} holds {now} of {len(conditions)} conditions. Run the same again to go on."
        if as_json:
            print_json({"ok": False, "error": said})
        else:
            console(stderr=True).print(Text(f"diagplan: {said}"), soft_wrap=True)
        return INTERRUPTED
    if as_json:
        print_json(
            {
                "clips": len(study.material.pieces),
                "conditions": len(conditions),
                "done_before": done,
                "run_now": ran,
                "rows": [row.as_dict() for row in rows],
                "written": [str(path) for path in written],
            }
        )
        return FINE
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
            (row.id, row.step, f"{row.fewer_passes:.2f}", f"{row.faster:.2f}", *_shown(row))
            for row in rows
        ],
        title=f"{len(study.material.pieces)} clips; {ran} conditions run, {done} done before",
    )  # fmt: skip
    for path in written:
        console().print(Text(f"wrote {path}"), soft_wrap=True)
    return FINE


def _shown(row: object) -> tuple[str, ...]:
    from diagplan.study.tables import FIGURES, Row

    assert isinstance(row, Row)
    names = ("loss", "equal_truth", "equal_ntp", "followed")
    return tuple(FIGURES[name].number(row.figures[name].mean) for name in names)
