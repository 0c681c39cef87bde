"""What a study says of plans, for those who choose one: the loss of each over next-token prediction's."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from diagplan.planner.arguments import require_path
from diagplan.planner.errors import DocumentError
from diagplan.planner.front import Loss
from diagplan.planner.layout import Layout
from diagplan.planner.policy import Policies
from diagplan.planner.schedule import NextToken, Schedule
from diagplan.planner.tuning import Candidate, Priced
from diagplan.schemas.files import read_bytes
from diagplan.study.conditions import BASE, all_conditions, is_exact

__all__ = ["Judged", "losses_for", "read_judged", "world_digest"]

#: Bytes of results.json and of study.json.
_MOST = 1 << 26
_FIGURE = "loss_more"
#: What makes a world model, of the files in its folder.
_WORLD = ("model.safetensors", "config.json", "world.json", "tokenizer/diffusion_pytorch_model.safetensors")


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """The plans that a study has judged.

    Attributes:
        losses: of each schedule with its policies.
        model, weights: name of the model, and a digest of its files.
        frames: generated frames of a clip.
        clips: that it was judged on.
    """

    losses: Mapping[tuple[Schedule, Policies], Loss]
    model: str
    weights: str
    frames: int
    clips: int


def read_judged(folder: str | Path, layout: Layout, *, label: str = BASE) -> Judged:
    """What ``diagplan evaluate study`` has left in a folder.

    Args:
        folder: of the study, with results.json and study.json.
        layout: of the plans that are chosen from, whose grid the study must have.
        label: of the model, among those that the study has.

    Raises:
        DocumentError: files that cannot be read or are others, a study that has judged nothing, or one of another grid.
    """
    require_path("study", folder)
    place = Path(folder)
    results, settings = _object(place / "results.json"), _object(place / "study.json")
    rows = results.get("rows")
    if not isinstance(rows, list) or not rows:
        raise DocumentError(
            f"expected a study that has judged plans in {place}, got one without rows. Run diagplan evaluate study."
        )
    labels = () if label == BASE else (label,)
    known = {one.id: (one.schedule, one.policies) for one in all_conditions(layout.rows, layout.cols, labels)}
    losses: dict[tuple[Schedule, Policies], Loss] = {}
    for row in rows:
        name, loss = _row(row, place)
        if is_exact(name):  # next-token prediction's tokens, and so its loss
            continue
        group = name.partition("/")[0]
        if group != label and not (label == BASE and group == "policies"):
            continue
        if name not in known:
            raise DocumentError(
                f"expected a study of {layout.rows} x {layout.cols} tokens a frame in {place}, got one with "
                f"{name[:60]!r}, which that grid has not. Give the study of this model."
            )
        if loss is not None:
            losses.setdefault(known[name], loss)
    if not losses:
        raise DocumentError(
            f"expected a study with losses of {label}'s plans in {place}, got none. Run diagplan evaluate study."
        )
    if settings.get("format") != "diagplan-study" or not isinstance(settings.get("frames"), int):
        raise DocumentError(f"expected study.json of a study in {place}, got another file. Give the study's folder.")
    clips = results.get("clips")
    return Judged(
        losses=losses, model=str(settings.get("model"))[:200], weights=str(settings.get("weights"))[:64],
        frames=settings["frames"], clips=clips if isinstance(clips, int) else 0,
    )  # fmt: skip


def world_digest(folder: Path) -> str:
    """SHA-256 of the files of a world model's folder, by which a study knows it.

    Raises:
        DocumentError: they cannot be read.
    """
    digest = hashlib.sha256()
    try:
        for name in _WORLD:
            with (folder / name).open("rb") as file:
                digest.update(hashlib.file_digest(file, "sha256").digest())
    except OSError as error:
        raise DocumentError(f"cannot read {folder}: {error.strerror}. Is it a world model's folder?") from None
    return digest.hexdigest()


def losses_for(priced: list[Priced], judged: Judged) -> dict[Candidate, Loss]:
    """The loss of each candidate that the study has judged.

    Padding and speculative replay change no token, so they have the loss of the plan they are of; a plan under a width
    cap is another plan, and has none. Next-token prediction is the same under all policies.
    """
    ntp = next((loss for (schedule, _), loss in judged.losses.items() if isinstance(schedule, NextToken)), None)
    losses = {}
    for one in priced:
        candidate = one.candidate
        if isinstance(candidate.schedule, NextToken):
            loss = ntp
        elif candidate.max_width is not None:
            continue
        else:
            loss = judged.losses.get((candidate.schedule, candidate.policies))
        if loss is not None:
            losses[candidate] = loss
    return losses


def _object(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(read_bytes(path, _MOST))
    except (ValueError, RecursionError) as error:
        if isinstance(error, DocumentError):
            raise
        value = None
    if not isinstance(value, dict):
        raise DocumentError(f"expected a JSON object of a study, got {path}. Give the study's folder.")
    return value


def _row(row: Any, place: Path) -> tuple[str, Loss | None]:
    figures = row.get("figures") if isinstance(row, dict) else None
    figure = figures.get(_FIGURE) if isinstance(figures, dict) else None
    if not isinstance(row, dict) or not isinstance(row.get("id"), str) or not isinstance(figure, dict):
        raise DocumentError(f"expected the rows of a study in {place}, got others. Run diagplan evaluate study again.")
    mean, low, high = (_finite(figure.get(name)) for name in ("mean", "low", "high"))
    return row["id"], None if mean is None else Loss(mean=mean, low=low, high=high)


def _finite(value: Any) -> float | None:
    """A number that is one; JSON's NaN and huge integers are none."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) < 1e300:
        return None
    return float(value)
