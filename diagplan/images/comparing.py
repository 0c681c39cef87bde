"""The same prompts under several plans, side by side: what a plan costs in pictures, before it is trusted."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from diagplan.adapters.options import LoadOptions
from diagplan.backends.arguments import require_callbacks
from diagplan.backends.errors import CapacityError
from diagplan.images.defaults import Choice, asked_for
from diagplan.images.job import ImageJob
from diagplan.images.paint import PIXELS, request_of
from diagplan.images.sheets import contact_sheet
from diagplan.planner.errors import SpecError
from diagplan.planner.plan import Plan
from diagplan.planner.policy import Policies
from diagplan.planner.schedule import Diagonal, NextToken, Schedule, ZipAR
from diagplan.planner.shown import shown
from diagplan.planner.speculation import Speculation

if TYPE_CHECKING:
    from diagplan.backends.memory import Memory

#: Bytes of all pictures of a comparison, which are held together for its sheet.
_MOST = 1 << 30

__all__ = ["ComparedImages", "PlanOutcome", "compare_images", "comparison_sheet", "plan_named"]


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanOutcome:
    """One plan's pictures.

    Attributes:
        name: of the plan, as it was asked for.
        passes: of a batch of pictures, all grids.
        seconds: of all passes.
        tokens: int64 [B, h, w].
        pictures: uint8 [B, height, width, 3].
        same: share of each picture's tokens that are equal to the first plan's, float64 [B].
        loss: the model's own loss of each picture, nats a token, float64 [B].
    """

    name: str
    passes: int
    seconds: float
    tokens: NDArray[np.int64]
    pictures: NDArray[np.uint8]
    same: NDArray[np.float64]
    loss: NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class ComparedImages:
    """Plans side by side.

    Attributes:
        family: name of the model's family.
        texts: the prompt of each picture.
        rows: of each plan; the first is what others are compared with.
        choice: how ids were chosen.
        guidance: the scale; ``None``: there was none.
    """

    family: str
    texts: tuple[str, ...]
    rows: tuple[PlanOutcome, ...]
    choice: Choice
    guidance: float | None

    @property
    def tokens(self) -> NDArray[np.int64]:
        """Of all plans, int64 [plans, B, h, w]."""
        return np.stack([row.tokens for row in self.rows])

    def table(self) -> tuple[list[str], list[list[str]]]:
        """Headings and cells for people, one row for each plan."""
        first = self.rows[0]
        columns = [
            "plan",
            ">passes",
            ">seconds",
            ">x fewer passes",
            ">x faster",
            f">same as {first.name}",
            ">loss, nats",
        ]
        cells = [
            [
                row.name, f"{row.passes:,}", f"{row.seconds:.2f}", f"{first.passes / row.passes:.2f}",
                f"{first.seconds / row.seconds:.2f}", f"{100 * row.same.mean():.1f}%", f"{row.loss.mean():.3f}",
            ]
            for row in self.rows
        ]  # fmt: skip
        return columns, cells


def plan_named(name: str) -> tuple[Schedule, Speculation | None]:
    """What a name means: ``ntp``, ``exact=36`` (the same tokens, by speculation), ``k=2``, ``zipar=8`` or others.

    Raises:
        SpecError: another name.

    >>> plan_named("k=2")
    (Diagonal(k=2, d=None), None)
    """
    word, _, number = name.strip().partition("=")
    if name.strip() in ("ntp", "next-token"):
        return NextToken(), None
    kinds: Mapping[str, Callable[[int], Schedule]] = {
        "k": lambda value: Diagonal(k=value),
        "zipar": lambda value: ZipAR(window=value),
        "zipar-llamagen": lambda value: ZipAR(window=value, variant="llamagen"),
    }
    if word == "exact" and re.fullmatch(r"[1-9][0-9]{0,5}", number):
        return NextToken(), Speculation(window=int(number), draft="above")
    if word not in kinds or not re.fullmatch(r"[0-9]{1,6}", number):
        raise SpecError(
            f"expected a plan out of ntp, exact=N, k=N, zipar=N and zipar-llamagen=N, got {shown(name)}. Write, "
            "for example, ntp,k=4,k=2."
        )
    return kinds[word](int(number)), None


def compare_images(
    model: str | Path,
    prompts: str | Sequence[str],
    plans: str | Sequence[str],
    *,
    policies: Policies | None = None,
    guidance: float | None = None,
    negative: str | None = None,
    size: Any = None,
    ratio: Any = None,
    suffix: str | None = None,
    num: int = 1,
    seed: int = 0,
    sampling: Mapping[str, Any] | None = None,
    options: LoadOptions | None = None,
    weights: str | Path | None = None,
    vq: str | Path | None = None,
    features: Sequence[str | Path] = (),
    batch: int | None = None,
    chunk: int = 512,
    on_progress: Callable[[str, int, int], None] | None = None,
    on_memory: Callable[["Memory"], None] | None = None,
    on_job: Callable[[ImageJob, tuple[Plan, ...]], None] | None = None,
) -> ComparedImages:
    """Draw the same prompts, with the same noise, under several plans.

    Args:
        model: as for ``draw_image``, like the other arguments.
        prompts: the same.
        plans: names, a list or with commas between: see ``plan_named``. The first is what others are compared
            with: take ``ntp``.
        policies: of proxies and their cache slots, of all plans.
        guidance: as for ``draw_image``.
        negative: the same.
        size: the same.
        ratio: the same.
        suffix: the same.
        num: the same.
        seed: the same.
        sampling: the same.
        options: the same; the backend is torch.
        weights: the same.
        vq: the same.
        features: the same.
        batch: the same.
        chunk: the same.
        on_progress: the same.
        on_memory: the same, of the plan that takes most, as it is replayed.
        on_job: called with the job and the first plan.

    Raises:
        DiagplanError: as ``draw_image``; a name that is none of a plan.
        CapacityError: as ``draw_image``; or more pictures than one sheet holds.
    """
    require_callbacks(on_progress=on_progress, on_memory=on_memory, on_job=on_job)
    names = [name.strip() for name in (plans.split(",") if isinstance(plans, str) else plans)]
    schedules = [plan_named(name) for name in names]
    if not schedules:
        raise SpecError("expected a plan at least, got none. Write, for example, ntp,k=2.")
    job = ImageJob(
        model,
        request_of(prompts, negative=negative, size=size, ratio=ratio, suffix=suffix, features=features), num=num,
        guidance=guidance, choice=lambda own: asked_for(own, sampling or {}), options=options,
        weights=None if weights is None else Path(weights), vq=None if vq is None else Path(vq), batch=batch,
        chunk=chunk, seed=seed,
    )  # fmt: skip
    if job.options.backend != "torch":
        raise SpecError(
            f"expected the backend torch for a comparison, whose losses are computed there, got {job.options.backend}. "
            "Leave backend and weights out."
        )
    for _, speculation in schedules:
        job.require_speculation(speculation)
    job.require_decoder()
    _require_a_sheet(job, len(schedules))

    def told(what: str, done: int = 0, of: int = 0) -> None:
        if on_progress is not None:
            on_progress(what, done, of)

    told("compiling")
    compiled = [job.compile(schedule, policies) for schedule, _ in schedules]
    if on_job is not None:
        on_job(job, compiled[0])
    job.require_memory_of_all(
        [(one, speculation) for one, (_, speculation) in zip(compiled, schedules, strict=True)], on_memory
    )
    told("loading")
    job.load()
    job.warm_up(compiled[0])
    decoded, losses = [], []
    for name, one, (_, speculation) in zip(names, compiled, schedules, strict=True):
        done = job.decode(one, partial(told, name), speculation)
        told(f"{name}, loss")
        losses.append(job.losses(done))
        decoded.append(done)
    job.let_go()
    drawn, count = [], job.pictures_asked
    for number, outcome in enumerate(decoded):
        told(PIXELS, number * count, len(decoded) * count)
        drawn.append(job.pictures(outcome.tokens))
    rows = tuple(
        PlanOutcome(
            name=name, passes=one.passes, seconds=one.seconds, tokens=one.tokens, pictures=pictures,
            same=(one.tokens == decoded[0].tokens).mean(axis=(1, 2)), loss=loss,
        )
        for name, one, pictures, loss in zip(names, decoded, drawn, losses, strict=True)
    )  # fmt: skip
    return ComparedImages(
        family=job.painter.name, texts=job.prompted.texts, rows=rows, choice=job.choice, guidance=job.scale
    )


def _require_a_sheet(job: ImageJob, plans: int) -> None:
    """Raise ``CapacityError`` where the pictures of all plans are more than one sheet holds."""
    prompted = job.prompted
    grid = prompted.layouts[-1]
    # A raster does not tell how many pixels a token has; 16 x 16 is usual.
    pixels = prompted.width * prompted.height or grid.rows * grid.cols * 256
    count = job.pictures_asked * plans
    if 3 * pixels * count > _MOST:
        raise CapacityError(
            f"expected at most {_MOST // (3 * pixels)} pictures of {pixels:,} pixels on one sheet, got {count:,}: "
            f"{job.pictures_asked:,} under {plans} plans. They are held together. Take fewer prompts, or `diagplan "
            "evaluate images`, which holds a few at a time."
        )


def comparison_sheet(compared: ComparedImages) -> NDArray[np.uint8]:
    """One sheet: a row for each prompt, a column for each plan, the figures below each picture."""
    rows, first = compared.rows, compared.rows[0]
    pictures, labels = [], []
    for number in range(len(compared.texts)):
        for row in rows:
            same = "" if row is first else f", {100 * row.same[number]:.0f}% as {first.name}"
            pictures.append(row.pictures[number])
            labels.append(f"loss {row.loss[number]:.2f} nats{same}")
    heads = [f"{row.name}: {row.passes:,} passes, {row.seconds:.2f} s" for row in rows]
    return contact_sheet(np.stack(pictures), labels, columns=len(rows), heads=heads, titles=compared.texts)
