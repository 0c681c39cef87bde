"""A whole study of pictures in one call: many prompts under several plans, with tables, a plot and a sheet."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from diagplan.adapters.options import LoadOptions
from diagplan.backends.arguments import require_callbacks
from diagplan.evaluation.clip_score import load_clip
from diagplan.images.defaults import asked_for
from diagplan.images.job import ImageJob
from diagplan.images.paint import request_of
from diagplan.images.sheets import contact_sheet
from diagplan.planner.errors import SpecError
from diagplan.planner.layout import require_int
from diagplan.schemas.atomic import make_folder, write_atomically
from diagplan.study.image_run import (
    ImageStudy,
    image_conditions,
    images_done,
    pictures_of,
    portions,
    run_images,
    set_up_images,
    settings_of_images,
    with_clip,
)
from diagplan.study.image_tables import ImageRow, image_csv, image_markdown, image_rows, prompt_lines
from diagplan.study.plots import loss_plot, require_matplotlib
from diagplan.study.results import Result, StudyFolder
from diagplan.video.frames import png

__all__ = ["NO_CLIP", "ImageStudyReport", "study_images"]

#: Where nobody gave a network that reads texts and pictures.
NO_CLIP = (
    "CLIP score: weights needed. Give --clip FOLDER of a CLIP as Hugging Face has it, such as "
    "openai/clip-vit-large-patch14."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageStudyReport:
    """What a study of pictures has found.

    Attributes:
        family: of the model.
        prompts: how many.
        plans: how many were asked for, next-token prediction included.
        done_before, run_now: how many of these were in the folder, and how many this call has run.
        rows: one for each plan in the folder, those of earlier calls too.
        written: tables, the plot, the sheet, pictures.
        clip: whether CLIP scores are among the figures.
    """

    family: str
    prompts: int
    plans: int
    done_before: int
    run_now: int
    rows: Sequence[ImageRow]
    written: Sequence[Path]
    clip: bool


def study_images(
    model: str | Path,
    prompts: str | Sequence[str],
    out: str | Path,
    *,
    plans: str | Sequence[str] = "ntp,k=4,k=2,k=1",
    num: int = 1,
    guidance: float | None = None,
    negative: str | None = None,
    size: Any = None,
    ratio: Any = None,
    suffix: str | None = None,
    seed: int = 0,
    sampling: Mapping[str, Any] | None = None,
    options: LoadOptions | None = None,
    vq: str | Path | None = None,
    features: Sequence[str | Path] = (),
    batch: int = 8,
    chunk: int = 512,
    clip: str | Path | None = None,
    samples: int = 4,
    pictures: bool = False,
    on_progress: Callable[[str, int, int], None] | None = None,
) -> ImageStudyReport:
    """Compare plans on many prompts, in the folder ``out``; a call that was stopped is gone on with.

    Args:
        model: as for ``draw_image``.
        prompts: the same.
        out: the study's folder. A plan that it holds is not run again.
        plans: names, as for ``compare_images``; ``ntp`` is always among them.
        num: pictures of each prompt.
        guidance: as for ``draw_image``.
        negative: the same.
        size: the same.
        ratio: the same.
        suffix: the same.
        seed: of the noise and of the intervals.
        sampling: as for ``draw_image``.
        options: the same; the backend is torch.
        vq: the same.
        features: the same.
        batch: pictures that are decoded at once.
        chunk: as for ``draw_image``.
        clip: folder of a CLIP: adds the CLIP score.
        samples: prompts of the sheet.
        pictures: write every picture too.
        on_progress: as for ``draw_image``.

    Raises:
        SpecError: arguments that contradict each other, or that the family does not take.
        DocumentError: files that cannot be used, or the folder of another study.
        CapacityError: too little memory.
        MissingExtraError: a package is not installed.
        KeyboardInterrupt: interrupted; its text says how many plans are done.
    """
    require_matplotlib()  # not after the first hour
    require_callbacks(on_progress=on_progress)
    samples = require_int("samples", samples, 0)
    tell = on_progress or (lambda *_: None)
    scorer = None if clip is None else load_clip(clip, device=(options or LoadOptions()).device)
    job = ImageJob(
        model,
        request_of(prompts, negative=negative, size=size, ratio=ratio, suffix=suffix, features=features), num=num,
        guidance=guidance, choice=lambda own: asked_for(own, sampling or {}), options=options,
        vq=None if vq is None else Path(vq), batch=batch, chunk=chunk, seed=seed,
    )  # fmt: skip
    if job.options.backend != "torch":
        raise SpecError(
            f"expected the backend torch for a study, whose losses are computed there, got {job.options.backend}. "
            "Leave it out."
        )
    if samples or pictures or scorer is not None:
        job.require_decoder()
    tell("compiling", 0, 0)
    conditions = image_conditions(job, plans)
    tell("reading weights", 0, 0)
    study = set_up_images(job, prompts=job.pictures_asked // num, num=num)
    folder = StudyFolder(Path(out), settings_of_images(study))
    before = images_done(study, folder, conditions)
    waiting = [one for one in conditions if one.name not in before]
    try:
        run_images(study, folder, waiting, tell)
        results = images_done(study, folder, conditions)
        if scorer is not None:
            results = with_clip(study, folder, results, scorer, tell)
        tell("writing tables", 0, 0)
        asked = [one.name for one in conditions]
        rows, written = _report(study, folder, results, asked, samples=samples, pictures=pictures, tell=tell)
    except KeyboardInterrupt:
        now = sum(one.name in images_done(study, folder, conditions) for one in conditions)
        raise KeyboardInterrupt(f"{out} holds {now} of {len(conditions)} plans. Run the same again to go on.") from None
    return ImageStudyReport(
        family=job.painter.name, prompts=study.prompts, plans=len(conditions),
        done_before=len(conditions) - len(waiting), run_now=len(waiting), rows=rows, written=written,
        clip=any(row.figures["clip"].mean is not None for row in rows),
    )  # fmt: skip


def _report(
    study: ImageStudy,
    folder: StudyFolder,
    results: Mapping[str, Result],
    asked: Sequence[str],
    *,
    samples: int,
    pictures: bool,
    tell: Callable[[str, int, int], None],
) -> tuple[list[ImageRow], list[Path]]:
    """Write tables, the plot, the sheet of the plans that were asked for, and where asked all their pictures."""
    job = study.job
    rows = image_rows(results, num=study.num, seed=job.seed)
    about = {
        "model": f"{job.painter.title}, weights {study.settings['weights'][:16]}",
        "pictures": f"{study.num} of each of {study.prompts} prompts, {job.batch} at a time, seed {job.seed}",
        "sampling": f"{study.settings['sampling']} ({job.choice.source}), guidance {job.scale or 'none'}",
        "judge": "the model's own loss of each picture, teacher-forced, nats a token",
    }
    document = {"prompts": study.prompts, "num": study.num, "about": about, "rows": [row.as_dict() for row in rows]}
    files = {
        "results.json": (json.dumps(document, indent=1) + "\n").encode(),
        "results.csv": image_csv(rows).encode(),
        "results.md": image_markdown(rows, about, prompts=study.prompts).encode(),
        "prompts.jsonl": prompt_lines(results, job.prompted.texts).encode(),
        "loss-passes.png": loss_plot([row for row in rows if row.name in asked]),
    }
    if samples:
        files["sheet.png"] = png(_sheet(study, folder, results, asked, min(samples, study.prompts), tell))
    for name, data in files.items():
        write_atomically(folder.folder / name, data)
    written = [folder.folder / name for name in files]
    if pictures:
        for name in asked:
            place = folder.folder / "pictures" / name
            make_folder(place)
            for numbers in portions(job.pictures_asked):
                paths = [place / f"{number:05d}.png" for number in numbers]
                if not all(path.is_file() for path in paths):
                    drawn = pictures_of(study, folder, name, numbers, tell)
                    for path, picture in zip(paths, drawn, strict=True):
                        write_atomically(path, png(picture))
        written.append(folder.folder / "pictures")
    return rows, written


def _sheet(
    study: ImageStudy,
    folder: StudyFolder,
    results: Mapping[str, Result],
    asked: Sequence[str],
    count: int,
    tell: Callable[[str, int, int], None],
) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """The first picture of the first prompts, a row each, a column for each plan."""
    first = range(0, count * study.num, study.num)
    every = range(first.stop - study.num + 1)
    drawn = {name: pictures_of(study, folder, name, every, tell)[:: study.num] for name in asked}
    labels = [
        f"loss {results[name].curve('loss')[number, 0]:.2f} nats"
        + ("" if name == "ntp" else f", {100 * results[name].curve('equal_ntp')[number, 0]:.0f}% as ntp")
        for number in first
        for name in asked
    ]
    shown = np.stack([drawn[name][at] for at in range(count) for name in asked])
    heads = [f"{name}: {results[name].plan['steps']:,} passes" for name in asked]
    titles = [study.job.prompted.texts[number] for number in first]
    return contact_sheet(shown, labels, columns=len(asked), heads=heads, titles=titles)
