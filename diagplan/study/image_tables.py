"""From results of a study of pictures to figures with intervals over prompts, and to tables."""

import csv
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from diagplan.evaluation.intervals import Interval, difference, interval
from diagplan.planner.errors import DocumentError
from diagplan.study.results import Result
from diagplan.study.tables import Figure

__all__ = ["IMAGE_FIGURES", "ImageRow", "image_csv", "image_markdown", "image_rows", "prompt_lines"]

#: The figures with intervals, in the order of the columns.
IMAGE_FIGURES: Mapping[str, Figure] = MappingProxyType(
    {
        "loss": Figure(heading="loss", digits=4, better="low"),
        "loss_more": Figure(heading="loss over NTP's", digits=4, better="low"),
        "equal_ntp": Figure(heading="% as NTP", digits=2, scale=100),
        "clip": Figure(heading="CLIP score", digits=2),
        "clip_more": Figure(heading="CLIP score over NTP's", digits=2),
    }
)
_FIXED = ("passes", "seconds", "fewer_passes", "faster")


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageRow:
    """One plan's figures.

    Attributes:
        name: of the plan.
        passes: of a batch of pictures, all grids; of several batches the most.
        seconds: of all passes, a picture.
        fewer_passes, faster: against next-token prediction.
        figures: name of ``IMAGE_FIGURES`` -> figure with interval.
    """

    name: str
    passes: int
    seconds: float
    fewer_passes: float
    faster: float
    figures: Mapping[str, Interval]

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {**asdict(self), "figures": {name: asdict(value) for name, value in self.figures.items()}}


def image_rows(results: Mapping[str, Result], *, num: int, seed: int = 0) -> list[ImageRow]:
    """The rows of the table.

    Args:
        results: by the plan's name, ``ntp`` among them.
        num: pictures of each prompt, which follow each other: a prompt counts once, with their mean.
        seed: of the intervals' draws.

    Raises:
        DocumentError: CLIP scores of another number of pictures.
    """
    ntp = results["ntp"]
    rows = []
    for name, result in results.items():
        mean = {figure: _by_prompt(values, num) for figure, values in _values(result).items()}
        theirs = {figure: _by_prompt(values, num) for figure, values in _values(ntp).items()}
        none = Interval(mean=None, low=None, high=None)
        figures = {
            "loss": interval(mean["loss"], seed=seed),
            "loss_more": difference(mean["loss"], theirs["loss"], seed=seed),
            "equal_ntp": interval(mean["equal_ntp"], seed=seed),
            "clip": interval(mean["clip"], seed=seed) if "clip" in mean else none,
            "clip_more": difference(mean["clip"], theirs["clip"], seed=seed) if mean.keys() & theirs.keys() >= {"clip"}
            else none,
        }  # fmt: skip
        took, reference = float(result.seconds["all"]), float(ntp.seconds["all"])
        rows.append(
            ImageRow(
                name=name, passes=result.plan["steps"], seconds=took / len(result.curves["loss"]),
                fewer_passes=ntp.plan["steps"] / result.plan["steps"], faster=reference / took, figures=figures,
            )
        )  # fmt: skip
    return rows


def _values(result: Result) -> dict[str, NDArray[np.float64]]:
    """Of every picture, [B]."""
    values = {name: result.curve(name).mean(1) for name in ("loss", "equal_ntp")}
    clip = result.extra.get("clip")
    if clip is not None:
        scores = clip.get("values")
        fits = isinstance(scores, list) and all(isinstance(one, float | int) for one in scores)
        if not fits or len(scores) != len(values["loss"]):
            raise DocumentError(
                f"expected a CLIP score of each of {len(values['loss'])} pictures under {result.id}, got others. "
                "Remove its file to run the condition."
            )
        values["clip"] = np.array(scores, np.float64)
    return values


def _by_prompt(values: NDArray[np.float64], num: int) -> NDArray[np.float64]:
    means: NDArray[np.float64] = values.reshape(-1, num).mean(1)
    return means


def image_markdown(rows: Sequence[ImageRow], about: Mapping[str, Any], *, prompts: int) -> str:
    """The table as Markdown.

    Args:
        rows: from ``image_rows``.
        about: label -> value, printed above it.
        prompts: how many.
    """
    names = _shown(rows)
    heads = ["plan", "passes", "s a picture", "x passes", "x time", *(IMAGE_FIGURES[name].heading for name in names)]
    lines = ["# The study of pictures", "", *(f"- {label}: {value}" for label, value in about.items()), ""]
    lines += [f"Figures are means over {prompts} prompts with 95 % bootstrap intervals over prompts.", ""]
    lines += [_line(heads), _line(["---"] + ["---:"] * (len(heads) - 1))]
    for row in rows:
        fixed = [f"{row.passes}", f"{row.seconds:.3f}", f"{row.fewer_passes:.2f}", f"{row.faster:.2f}"]
        lines.append(
            _line([f"`{row.name}`", *fixed, *(IMAGE_FIGURES[name].shown(row.figures[name]) for name in names)])
        )
    return "\n".join([*lines, ""])


def _shown(rows: Sequence[ImageRow]) -> list[str]:
    return [name for name in IMAGE_FIGURES if any(row.figures[name].mean is not None for row in rows)]


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def image_csv(rows: Sequence[ImageRow]) -> str:
    """The table as CSV: each figure with its interval in three columns; empty where there is none."""
    text = io.StringIO()
    ends = [name + end for name in IMAGE_FIGURES for end in ("", "_low", "_high")]
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["plan", *_FIXED, *ends])
    for row in rows:
        cells = [getattr(row, name) for name in _FIXED]
        cells += [part for name in IMAGE_FIGURES for part in asdict(row.figures[name]).values()]
        writer.writerow([row.name, *("" if cell is None else f"{cell:.6g}" for cell in cells)])
    return text.getvalue()


def prompt_lines(results: Mapping[str, Result], texts: Sequence[str]) -> str:
    """One JSON object a picture: its prompt, its number, and each plan's figures of it.

    Args:
        results: by the plan's name.
        texts: the prompt of each picture.
    """
    values = {name: _values(result) for name, result in results.items()}
    lines = []
    for number, text in enumerate(texts):
        plans = {
            name: {figure: round(float(one[number]), 6) for figure, one in held.items()}
            for name, held in values.items()
        }  # fmt: skip
        lines.append(json.dumps({"picture": number, "prompt": text, "plans": plans}, ensure_ascii=False))
    return "\n".join([*lines, ""])
