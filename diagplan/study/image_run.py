"""Run a study of pictures: every plan on all prompts, each result written as soon as it is done."""

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from diagplan import __version__
from diagplan.evaluation.clip_score import ClipScorer
from diagplan.images.comparing import plan_named
from diagplan.images.defaults import described
from diagplan.images.job import ImageJob, passes_of
from diagplan.images.paint import PIXELS
from diagplan.images.prompts import Prompted
from diagplan.planner.arguments import is_file
from diagplan.planner.errors import DocumentError, SpecError
from diagplan.planner.plan import Plan
from diagplan.planner.shown import shown
from diagplan.planner.speculation import Speculation
from diagplan.study.results import Result, StudyFolder

__all__ = [
    "REFERENCE", "ImageCondition", "ImageStudy", "image_conditions", "images_done", "pictures_of", "portions",
    "run_images", "set_up_images", "settings_of_images", "with_clip",
]  # fmt: skip

#: What all plans are compared with, and the folder of results.
REFERENCE, _GROUP = "ntp", "images"
#: Pictures whose pixels are held at once.
_AT_ONCE = 64
OnProgress = Callable[[str, int, int], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageCondition:
    """One plan.

    Attributes:
        name: as it was asked for.
        plans: of every grid.
        speculation: with which they are replayed.
    """

    name: str
    plans: tuple[Plan, ...]
    speculation: Speculation | None

    @property
    def id(self) -> str:
        """What its files are called."""
        return f"{_GROUP}/{self.name}"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ImageStudy:
    """What stays the same over all plans.

    Attributes:
        job: the model, and the prompts of all pictures.
        prompts: how many prompts; each is drawn ``num`` times.
        num: pictures of each prompt, which follow each other.
        settings: what decides the figures; written with each result.
    """

    job: ImageJob
    prompts: int
    num: int
    settings: Mapping[str, Any]


def image_conditions(job: ImageJob, names: str | Sequence[str]) -> list[ImageCondition]:
    """Plans by their names, next-token prediction first; it is always among them.

    Args:
        job: whose grids are compiled for.
        names: as for ``compare_images``.

    Raises:
        SpecError: a name that is none of a plan, a plan that does not fit, or a name twice.
    """
    listed = [name.strip() for name in (names.split(",") if isinstance(names, str) else names)]
    listed = [REFERENCE if name == "next-token" else name for name in listed]
    twice = [name for name in dict.fromkeys(listed) if listed.count(name) > 1]
    if twice:
        raise SpecError(f"expected different plans, got {shown(twice[0])} twice. Name it once.")
    conditions = []
    for name in dict.fromkeys([REFERENCE, *listed]):
        schedule, speculation = plan_named(name)
        job.require_speculation(speculation)
        conditions.append(ImageCondition(name=name, plans=job.compile(schedule), speculation=speculation))
    return conditions


def set_up_images(job: ImageJob, *, prompts: int, num: int) -> ImageStudy:
    """What a study of a job's prompts is bound to; reads the weights' files once, for their SHA-256.

    Args:
        job: of all pictures, ``num`` of each of ``prompts`` prompts.
        prompts: how many.
        num: pictures of each.

    Raises:
        DocumentError: weights that cannot be read.
    """
    settings = {
        "weights": _weights(job), "prompts": _digest(job.prompted), "num": num, "seed": job.seed,
        "guidance": job.scale, "sampling": described(job.choice.sampler), "batch": job.batch,
        "dtype": job.options.dtype, "device": job.options.device,
    }  # fmt: skip
    return ImageStudy(job=job, prompts=prompts, num=num, settings=settings)


def settings_of_images(study: ImageStudy) -> dict[str, Any]:
    """What study.json says: versions, weights, and what else decides the figures."""
    from importlib.metadata import version

    layout = study.job.prompted.layouts[-1]
    return {
        "format": "diagplan-image-study", "version": 1, "diagplan": __version__, "torch": version("torch"),
        "family": study.job.painter.name, "rows": layout.rows, "cols": layout.cols, "count": study.prompts,
        "tuned": {}, **study.settings,
    }  # fmt: skip


def _weights(job: ImageJob) -> str:
    from diagplan.adapters.weights import open_checkpoint

    digest = hashlib.sha256()
    for path in open_checkpoint(job.weights, foreign=True).files:
        with path.open("rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()


def _digest(prompted: Prompted) -> str:
    """SHA-256 of all that the model is handed."""
    about = [list(prompted.texts), list(prompted.between), [str(layout) for layout in prompted.layouts]]
    digest = hashlib.sha256(json.dumps(about).encode())
    arrays = [array for branch in prompted.branches for array in (branch.ids, branch.pad)]
    for array in (*arrays, *prompted.features):
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()


def images_done(study: ImageStudy, folder: StudyFolder, conditions: Sequence[ImageCondition]) -> dict[str, Result]:
    """The results that the folder holds, by the plan's name: of ``conditions`` first, then of earlier calls.

    Raises:
        DocumentError: results that cannot be read or are of another study.
    """
    place = folder.folder / "conditions" / _GROUP
    there = sorted(path.name.removesuffix(".json") for path in place.glob("*.json"))
    names = dict.fromkeys([*(one.name for one in conditions), *there])
    read = {name: folder.read(f"{_GROUP}/{name}", study.settings) for name in names}
    results = {name: result for name, result in read.items() if result is not None}
    for name, result in results.items():
        curves, steps = result.curves, result.plan.get("steps")
        whole = {"loss", "equal_ntp"} <= curves.keys() and isinstance(result.extra.get("clip", {}), dict)
        if not whole or type(steps) is not int or steps < 1 or not _seconds(result) > 0:
            raise DocumentError(
                f"expected the result of a study of pictures, got {folder.path(result.id, '.json')}. Remove it to run "
                "the condition."
            )
        if len(curves["loss"]) != study.job.pictures_asked:
            raise DocumentError(
                f"expected figures of {study.job.pictures_asked} pictures under {name}, got {len(curves['loss'])}. "
                "Remove the file to run the condition."
            )
    return results


def _seconds(result: Result) -> float:
    value = result.seconds.get("all")
    return float(value) if isinstance(value, int | float) else 0.0


def run_images(
    study: ImageStudy, folder: StudyFolder, waiting: Sequence[ImageCondition], on_progress: OnProgress
) -> None:
    """Run the conditions that are not done yet; next-token prediction is the first where it is among them.

    Args:
        study: model and prompts.
        folder: where results are.
        waiting: from ``image_conditions``.
        on_progress: called with what is being done, how much of it is done, and of how much (0: not known).

    Raises:
        DiagplanError: as ``draw_image``.
    """
    if not waiting:
        return
    job = study.job
    job.require_memory_of_all([(one.plans, one.speculation) for one in waiting])
    on_progress("loading", 0, 0)
    job.load()
    job.warm_up(waiting[0].plans)
    for condition in waiting:
        name = condition.name
        done = job.decode(condition.plans, partial(on_progress, name), condition.speculation)
        on_progress(f"{name}, loss", 0, 0)
        loss = job.losses(done)
        own = done.tokens if name == REFERENCE else folder.read_tokens(f"{_GROUP}/{REFERENCE}")[:, 0]
        same = (done.tokens == own).mean(axis=(1, 2))
        folder.write_tokens(condition.id, done.tokens[:, None])
        folder.write(
            Result(
                id=condition.id,
                bound=study.settings,
                plan={
                    "condition": name, "steps": done.passes, "steps_of_plan": passes_of(condition.plans),
                    "tokens": sum(plan.layout.tokens for plan in condition.plans),
                },
                seconds={"all": done.seconds, "batch": job.batch},
                curves={"loss": loss[:, None].tolist(), "equal_ntp": same[:, None].tolist()},
                counted=None,
                followed=None,
                single={},
            )
        )  # fmt: skip
    job.let_go()


def portions(count: int) -> list[range]:
    """Numbers of pictures whose pixels are made, and held, at once."""
    return [range(at, min(count, at + _AT_ONCE)) for at in range(0, count, _AT_ONCE)]


def pictures_of(
    study: ImageStudy, folder: StudyFolder, name: str, numbers: range, on_progress: OnProgress
) -> NDArray[np.uint8]:
    """Pictures uint8 [n, height, width, 3] that a plan made, by the model's own decoder.

    Raises:
        DocumentError: the decoder's files are missing, or the tokens cannot be read.
    """
    job, part = study.job, slice(numbers.start, numbers.stop)
    tokens = folder.read_tokens(f"{_GROUP}/{name}")[part, 0]
    on_progress(PIXELS, 0, len(numbers))
    return job.painter.pixels(
        job.folder, tokens, job.prompted.texts[part], job.options, job.seed + numbers.start,
        lambda done: on_progress(PIXELS, done, len(numbers)),
    )  # fmt: skip


def with_clip(
    study: ImageStudy, folder: StudyFolder, results: Mapping[str, Result], clip: ClipScorer, on_progress: OnProgress
) -> dict[str, Result]:
    """Results with the CLIP score of every picture, where it is not there yet; each is written.

    Args:
        study: model and prompts.
        folder: where tokens and results are.
        results: by the plan's name.
        clip: the network.
        on_progress: as for ``run_images``.
    """
    of, job = _decoded_by(study, clip), study.job
    scored = {}
    for name, result in results.items():
        if result.extra.get("clip", {}).get("of") != of:
            values: list[float] = []
            for numbers in portions(job.pictures_asked):
                pictures = pictures_of(study, folder, name, numbers, on_progress)
                values += clip.scores(pictures, job.prompted.texts[numbers.start : numbers.stop]).round(4).tolist()
            result = folder.write(replace(result, extra={**result.extra, "clip": {"of": of, "values": values}}))
        scored[name] = result
    return scored


def _decoded_by(study: ImageStudy, clip: ClipScorer) -> str:
    """The network, and the image decoder where it is a file of its own."""
    vq: Path | None = study.job.folder.vq
    if vq is None or not is_file(vq):
        return clip.digest
    with vq.open("rb") as file:
        return f"{clip.digest} {hashlib.file_digest(file, 'sha256').hexdigest()}"
