"""A whole study in one call: every plan on one set of clips, judged, with tables, plots and sample videos."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from diagplan.adapters.devices import DTypeName
from diagplan.backends.measured import SpeculationChoice
from diagplan.backends.threads import Threads
from diagplan.study.conditions import (
    BASE,
    Condition,
    all_conditions,
    named_speculation,
    select,
    speculations_of,
    usual_speculations,
)
from diagplan.study.parallel import Crew, run_by_workers
from diagplan.study.plots import require_matplotlib
from diagplan.study.report import write_report, write_samples
from diagplan.study.results import Result, StudyFolder
from diagplan.study.run import Study, judge_truth, planned_work, run_study
from diagplan.study.setup import set_up, settings_of
from diagplan.study.tables import Row
from diagplan.study.timing import time_again, timing_work

__all__ = ["StudyReport", "study_plans"]


@dataclass(frozen=True, slots=True, kw_only=True)
class StudyReport:
    """What a study has found.

    Attributes:
        clips: how many.
        conditions: how many were asked for.
        done_before, run_now: how many of these were in the folder, and how many this call has run.
        rows: one for each condition in the folder, those of earlier calls too.
        written: tables, plots and videos.
        losses: workers that were lost and replaced.
    """

    clips: int
    conditions: int
    done_before: int
    run_now: int
    rows: Sequence[Row]
    written: Sequence[Path]
    losses: int = 0


def study_plans(
    model: str,
    clips: str | Path,
    out: str | Path,
    *,
    tuned: Mapping[str, Path] | None = None,
    rule: str = "context",
    count: int | None = None,
    seed: int = 0,
    keep: int | None = None,
    only: Sequence[str] = (),
    exact: bool = False,
    windows: Sequence[int] = (),
    drafts: Sequence[str] = (),
    batch: int = 32,
    repeats: int = 3,
    measure_again: bool = False,
    samples: int = 3,
    device: str = "cpu",
    threads: Threads = None,
    i3d: Path | None = None,
    vbench: Path | None = None,
    weights: Path | None = None,
    tokenizer: Path | None = None,
    config: str | Path | None = None,
    context: Path | None = None,
    dtype: DTypeName = "float32",
    workers: int = 1,
    ray: str | None = None,
    gpus_per_worker: float = 1,
    on_progress: Callable[[str, float, float], None] | None = None,
) -> StudyReport:
    """Compare decoding plans on one set of clips, in the folder ``out``; a call that was stopped is gone on with.

    Args:
        model: ``"crafter-mini"``, a world model's folder, or a release, whose files are yours (``load_world`` lists
            them): the base model, and the judge of all.
        clips: folder of videos, with actions beside them where the model knows actions.
        out: the study's folder. A condition that it holds is not run again.
        tuned: label -> folder of a fine-tuned model of the same tokens.
        rule: how pieces are taken from videos, of ``diagplan.evaluation.clips.RULES``.
        count: clips; ``None``: the rule's own number, or 128.
        seed: of the choice of clips and of the intervals.
        keep: where a rule has more frames than the context: a window slides that keeps so many.
        only: conditions to run, with ``*`` and ``?``; none: all.
        exact: also next-token prediction in fewer passes with the window that is measured to be best.
        windows: of such conditions, entries a pass; none: a third of a frame and a frame.
        drafts: where their first guesses come from, each with every window; none: ``"previous-frame"``.
        batch: clips at a time.
        repeats: timed replays of the first clip alone; the median counts.
        measure_again: measure the times of every condition anew, in turn, when all are done.
        samples: clips of which videos are written.
        device: ``"cpu"``, ``"cuda"``, ...
        threads: CPU threads of one pass, as for ``load_model``.
        i3d: TorchScript file of I3D: adds the Frechet Video Distance.
        vbench: folder of VBench's weights: adds three of its scores.
        weights: of a release, as for ``load_world``.
        tokenizer: the same.
        config: the same.
        context: the features of the text that leads all clips, for a Cosmos Video2World model.
        dtype: of the transformers, the judge's too.
        workers: that run conditions at once, each with the models and the clips. With more than one, or with Ray, no
            times are measured but by ``measure_again``, which comes after all of them.
        ray: ``"auto"`` or the address of a Ray cluster, ``"local"`` to start Ray on this machine; ``None``: one worker
            is this process, several are processes of this machine.
        gpus_per_worker: where the models are on ``"cuda"``; less than 1: workers share one.
        on_progress: called with what is being done, passes done and passes in all.

    Raises:
        SpecError: settings that contradict each other or name nothing.
        DocumentError: clips, models or a folder that cannot be used, or the folder of another study.
        MismatchError: an ``exact`` condition whose tokens are not next-token prediction's.
        CapacityError: workers that do not stay alive.
        MissingExtraError: a package is not installed.
        KeyboardInterrupt: interrupted; its text says how many conditions are done.
    """
    require_matplotlib()  # not after the first hour
    crew = Crew(workers=workers, ray=ray, gpus_per_worker=gpus_per_worker)
    told = _Progress(on_progress)
    told.begin("reading clips", 0)
    options: dict[str, Any] = {
        "model": model, "clips": Path(clips), "tuned": tuned, "rule": rule, "count": count, "seed": seed, "keep": keep,
        "batch": batch, "repeats": repeats, "device": device, "threads": threads, "i3d": i3d, "vbench": vbench,
        "weights": weights, "tokenizer": tokenizer, "config": config, "context": context, "dtype": dtype,
    }  # fmt: skip
    study = set_up(**options)
    ways = _ways(study, exact=exact, windows=windows, drafts=drafts)
    conditions = select(_conditions(study, ways), list(only))
    folder = StudyFolder(Path(out), settings_of(study))
    running = study if crew.alone else replace(study, repeats=0)  # times that others disturb are none
    done, work = planned_work(running, folder, conditions)
    ran = losses = 0
    try:
        told.begin("replaying", work)
        if not crew.alone:
            ran, losses = run_by_workers(running, folder, conditions, options, crew, on_progress=told.advance)
        results, rest = run_study(running, folder, conditions, on_start=told.start, on_work=told.add)
        if measure_again:
            told.begin("measuring times", timing_work(study, results, conditions))
            results = time_again(study, folder, conditions, results, on_work=told.add)
        told.begin("writing tables and plots", 0)
        asked = [condition.id for condition in conditions] if only else None
        every = _conditions(study, [*ways, *_ways_of(folder, ways)])
        rows, written = _report(study, folder, every, dict(results), rule=rule, seed=seed, samples=samples, asked=asked)
    except KeyboardInterrupt:
        now = planned_work(study, folder, conditions)[0]
        raise KeyboardInterrupt(
            f"{out} holds {now} of {len(conditions)} conditions. Run the same again to go on."
        ) from None
    return StudyReport(
        clips=len(study.material.pieces), conditions=len(conditions), done_before=done, run_now=ran + rest, rows=rows,
        written=written, losses=losses,
    )  # fmt: skip


def _ways(study: Study, *, exact: bool, windows: Sequence[int], drafts: Sequence[str]) -> list[SpeculationChoice]:
    layout = study.material.layout
    wide = list(windows) or [one.window for one in usual_speculations(layout.rows, layout.cols)]
    measured: list[SpeculationChoice] = ["auto"] if exact else []
    return [*measured, *speculations_of(wide, drafts)]


def _ways_of(folder: StudyFolder, others: Sequence[SpeculationChoice]) -> list[SpeculationChoice]:
    """The ways of exact conditions that earlier calls have left in a folder, without those named already."""
    held = (named_speculation(name) for name in folder.names("exact*"))
    return list(dict.fromkeys(way for way in held if way is not None and way not in others))


def _conditions(study: Study, ways: Sequence[SpeculationChoice]) -> list[Condition]:
    layout = study.material.layout
    return all_conditions(layout.rows, layout.cols, [label for label in study.worlds if label != BASE], ways)


def _report(
    study: Study,
    folder: StudyFolder,
    every: Sequence[Condition],
    results: dict[str, Result],
    *,
    rule: str,
    seed: int,
    samples: int,
    asked: Sequence[str] | None,
) -> tuple[Sequence[Row], Sequence[Path]]:
    truth = judge_truth(study)
    for condition in every:  # those of earlier runs, too
        there = folder.read(condition.id, study.bound(condition.model))
        if there is not None:
            results.setdefault(condition.id, there)
    ordered = {one.id: results[one.id] for one in every if one.id in results}
    about = {
        "model": f"{study.worlds[BASE].name}, weights {study.weights[BASE][:16]}",
        "clips": f"{len(study.material.pieces)} by the rule `{rule}`, seed {seed}; study.json lists them",
        "recorded clips": f"loss {truth['loss']:.4f}, moves that are judged {truth['counted']}",
    }
    rows, written = write_report(folder, ordered, truth, about, seed=seed, asked=asked)
    return rows, [*written, *write_samples(study, folder, ordered, count=samples, asked=asked)]


class _Progress:
    """Counts passes for the one who called."""

    def __init__(self, tell: Callable[[str, float, float], None] | None) -> None:
        self._tell, self._what, self._done, self._of = tell, "", 0.0, 0.0

    def begin(self, what: str, of: float) -> None:
        self._what, self._done, self._of = what, 0.0, of
        self.add(0)

    def start(self, condition: str, _work: float) -> None:
        self.advance(f"replaying {condition}", 0)

    def advance(self, what: str, passes: float) -> None:
        self._what = what
        self.add(passes)

    def add(self, passes: float) -> None:
        self._done += passes
        if self._tell is not None:
            self._tell(self._what, self._done, self._of)
