"""From results to figures with intervals, and to tables in Markdown, CSV and JSON."""

import csv
import io
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from types import MappingProxyType
from typing import Any

from diagplan.evaluation.intervals import Interval, difference, interval
from diagplan.evaluation.metrics import decibels, rates
from diagplan.study.effects import TuningEffect
from diagplan.study.results import Result

__all__ = ["FIGURES", "Exact", "Figure", "Row", "csv_text", "markdown", "number_text", "passes_text", "rows_of"]

_REFERENCE = "base/ntp"
_NO_INTERVAL = Interval(mean=None, low=None, high=None)
_LEFT_OUT = (
    "Times are left out (-) where several workers ran conditions at once: they would tell how busy the machine was. "
    "`--time-again` measures them, one condition after the other."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """A figure that has an interval over clips.

    Attributes:
        heading: of its column.
        digits: after the point.
        scale: what it is multiplied by when it is shown.
        better: ``"low"`` or ``"high"``.
    """

    heading: str
    digits: int
    scale: float = 1.0
    better: str = "high"

    def shown(self, value: Interval) -> str:
        """As text, with the interval."""
        if value.mean is None:
            return "-"
        text = self.number(value.mean)
        return text if value.low is None else f"{text} [{self.number(value.low)}, {self.number(value.high)}]"

    def number(self, value: float | None) -> str:
        """One number as text."""
        return "-" if value is None else f"{value * self.scale:.{self.digits}f}"


#: The figures with intervals, in the order of the columns.
FIGURES: Mapping[str, Figure] = MappingProxyType(
    {
        "loss": Figure(heading="loss", digits=4, better="low"),
        "loss_more": Figure(heading="loss over NTP's", digits=4, better="low"),
        "equal_truth": Figure(heading="% tokens as recorded", digits=2, scale=100),
        "equal_truth_more": Figure(heading="% as recorded over NTP's", digits=2, scale=100),
        "equal_ntp": Figure(heading="% as own NTP", digits=2, scale=100),
        "followed": Figure(heading="% moves followed", digits=1, scale=100),
        "followed_more": Figure(heading="% moves over NTP's", digits=1, scale=100),
        "psnr": Figure(heading="PSNR", digits=2),
        "ssim": Figure(heading="SSIM", digits=4),
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Exact:
    """What differs from clip to clip where next-token prediction is replayed in fewer passes.

    Attributes:
        window, draft: of the replays.
        passes, seconds: of a clip alone.
        most_passes: of the worst clip.
        tokens: accepted by a pass, of all clips.
    """

    window: int
    draft: str
    passes: Interval
    seconds: Interval
    most_passes: int
    tokens: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One condition's figures.

    Attributes:
        id: of the condition.
        step, seconds, tp, fps: passes; seconds of one clip alone (median); tokens and frames a second. Of an exact
            condition they are means over clips. No times where several workers ran the condition: ``None``.
        fewer_passes, faster: against next-token prediction of the base model.
        figures: name of ``FIGURES`` -> figure with interval.
        single: figures without interval.
        exact: of an exact condition how it was replayed.
    """

    id: str
    step: float
    seconds: float | None
    tp: float | None
    fps: float | None
    fewer_passes: float
    faster: float | None
    figures: Mapping[str, Interval]
    single: Mapping[str, float]
    exact: "Exact | None" = None

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {**asdict(self), "figures": {name: asdict(value) for name, value in self.figures.items()}}


def rows_of(results: Mapping[str, Result], *, seed: int = 0) -> list[Row]:
    """The rows of the table; ``results`` holds ``base/ntp``, which all are compared with.

    Args:
        results: by id.
        seed: of the intervals' draws.
    """
    ntp = results[_REFERENCE]
    return [_row(result, ntp, seed) for result in results.values()]


def _row(result: Result, ntp: Result, seed: int) -> Row:
    seconds, reference = (_seconds(one) for one in (result, ntp))
    plan = result.plan
    speed = None
    if seconds is not None:
        speed = rates(steps=plan["steps"], tokens=plan["tokens"], frames=plan["frames"], seconds=seconds)
    extra = {
        f"{name}_{key}" if key != "value" else name: value
        for name, parts in result.extra.items()
        for key, value in parts.items()
        if key != "of"
    }
    return Row(
        id=result.id, step=plan["steps"], seconds=seconds, tp=speed and speed.tp, fps=speed and speed.fps,
        fewer_passes=ntp.plan["steps"] / plan["steps"],
        faster=None if seconds is None or reference is None else reference / seconds,
        figures=_figures(result, ntp, seed), single={**result.single, **extra}, exact=_exact(result, seed),
    )  # fmt: skip


def _seconds(result: Result) -> float | None:
    """Of one clip alone: where clips differ their mean, else the median of replays of the first."""
    if not result.timed:
        return None
    if result.passes is None:
        return float(statistics.median(result.seconds["single"]))
    return float(statistics.fmean(result.seconds["clips"]))


def _exact(result: Result, seed: int) -> Exact | None:
    if result.passes is None:
        return None
    how = result.plan["speculation"]
    seconds = interval(result.seconds["clips"], seed=seed) if result.timed else _NO_INTERVAL
    return Exact(
        window=how["window"], draft=how["draft"], passes=interval(result.passes, seed=seed),
        seconds=seconds, most_passes=max(result.passes),
        tokens=result.plan["tokens"] * len(result.passes) / sum(result.passes),
    )  # fmt: skip


def _figures(result: Result, ntp: Result, seed: int) -> dict[str, Interval]:
    mean = {name: result.curve(name).mean(1) for name in result.curves}
    theirs = {name: ntp.curve(name).mean(1) for name in ntp.curves}
    figures = {
        "loss": interval(mean["loss"], seed=seed),
        "loss_more": difference(mean["loss"], theirs["loss"], seed=seed),
        "equal_truth": interval(mean["equal_truth"], seed=seed),
        "equal_truth_more": difference(mean["equal_truth"], theirs["equal_truth"], seed=seed),
        "equal_ntp": interval(mean["equal_ntp"], seed=seed),
        "followed": _NO_INTERVAL,
        "followed_more": _NO_INTERVAL,
        "psnr": interval(mean["error"], seed=seed, shown=decibels),
        "ssim": interval(mean["ssim"], seed=seed),
    }
    if result.counted is not None and result.followed is not None and ntp.followed is not None:
        figures["followed"] = interval(result.followed, result.counted, seed=seed)
        figures["followed_more"] = difference(result.followed, ntp.followed, result.counted, seed=seed)
    return figures


_FIXED = ("step", "seconds", "fps", "tp", "fewer_passes", "faster")
_FIXED_HEADINGS = ("STEP", "s a clip", "FPS", "TP", "x passes", "x time")


def markdown(
    rows: Sequence[Row],
    about: Mapping[str, Any],
    policies: Sequence[tuple[str, str, Interval]],
    tuning: Sequence[TuningEffect],
    *,
    clips: int,
) -> str:
    """The tables as Markdown: one for each group of conditions, then what policies and fine-tuning do.

    Args:
        rows: from ``rows_of``.
        about: label -> value, printed above the tables.
        policies: from ``policy_effects``.
        tuning: from ``tuning_effects``.
        clips: how many clips.
    """
    lines = ["# The study", "", *(f"- {label}: {value}" for label, value in about.items()), ""]
    lines += [f"Figures are means over {clips} clips with 95 % bootstrap intervals over clips, of greedy replays.", ""]
    if any(row.seconds is None for row in rows):
        lines += [_LEFT_OUT, ""]
    names = [name for name in FIGURES if any(row.figures[name].mean is not None for row in rows)]
    single = list(dict.fromkeys(name for row in rows for name in row.single))
    heads = ["condition", *_FIXED_HEADINGS, *(FIGURES[name].heading for name in names), *single]
    for group in dict.fromkeys(row.id.partition("/")[0] for row in rows):
        lines += [f"## {group}", "", _line(heads), _line(["---"] + ["---:"] * (len(heads) - 1))]
        lines += [_line(_cells(row, names, single)) for row in rows if row.id.startswith(f"{group}/")]
        lines.append("")
    return "\n".join(lines + _exact_lines(rows) + _policy_lines(policies) + _tuning_lines(tuning))


def _exact_lines(rows: Sequence[Row]) -> list[str]:
    exact = [(row, row.exact) for row in rows if row.exact is not None]
    if not exact:
        return []
    about = (
        "Next-token prediction's own tokens, all compared, in fewer passes. Every clip was replayed alone; passes and "
        "seconds are means over clips, in the tables above too."
    )
    heads = ["condition", "window", "first guesses", "passes", "worst clip", "tokens a pass", "s a clip", "x time"]
    lines = ["## Exact", "", about, "", _line(heads), _line(["---", "---:", "---", *["---:"] * 5])]
    passes, seconds = Figure(heading="", digits=1), Figure(heading="", digits=3)
    for row, one in exact:
        cells = [f"`{row.id}`", str(one.window), one.draft, passes.shown(one.passes), str(one.most_passes)]
        lines.append(_line([*cells, f"{one.tokens:.1f}", seconds.shown(one.seconds), number_text(row.faster)]))
    return [*lines, ""]


def _policy_lines(effects: Sequence[tuple[str, str, Interval]]) -> list[str]:
    if not effects:
        return []
    about = "The loss over that with the default's value, averaged over all settings of the other policies."
    lines = [
        "## What each policy does",
        "",
        about,
        "",
        _line(["policy", "value", "loss"]),
        _line(["---", "---", "---:"]),
    ]
    return [*lines, *(_line([factor, level, FIGURES["loss_more"].shown(one)]) for factor, level, one in effects), ""]


def _tuning_lines(effects: Sequence[TuningEffect]) -> list[str]:
    if not effects:
        return []
    lines = ["## What fine-tuning does", ""]
    lines += ["A model's gap is its figure under the plan less that of the same model under next-token prediction.", ""]
    heads = ["condition", "less base under the same plan", "gap of base", "gap of tuned", "change of the gap"]
    for name in dict.fromkeys(one.figure for one in effects):
        figure = FIGURES[name]
        lines += [f"### {figure.heading}", "", _line(heads), _line(["---"] + ["---:"] * (len(heads) - 1))]
        for one in effects:
            if one.figure == name:
                parts = (one.over_base, one.base_gap, one.tuned_gap, one.change)
                lines.append(_line([f"`{one.id}`", *map(figure.shown, parts)]))
        lines.append("")
    return lines


def _cells(row: Row, names: Sequence[str], single: Sequence[str]) -> list[str]:
    fixed = [
        passes_text(row.step), number_text(row.seconds, 3), number_text(row.fps), number_text(row.tp, 0),
        number_text(row.fewer_passes), number_text(row.faster),
    ]  # fmt: skip
    figures = [FIGURES[name].shown(row.figures[name]) for name in names]
    return [f"`{row.id.partition('/')[2]}`", *fixed, *figures, *(_single(row, name) for name in single)]


def passes_text(step: float) -> str:
    """Passes as text: the mean of clips that differ with one digit.

    >>> passes_text(196), passes_text(31.04)
    ('196', '31.0')
    """
    return str(step) if isinstance(step, int) else f"{step:.1f}"


def number_text(value: float | None, digits: int = 2) -> str:
    """A number as text; a dash where it was not measured.

    >>> number_text(1.5), number_text(None)
    ('1.50', '-')
    """
    return "-" if value is None else f"{value:.{digits}f}"


def _single(row: Row, name: str) -> str:
    return f"{row.single[name]:.4g}" if name in row.single else "-"


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def csv_text(rows: Sequence[Row]) -> str:
    """The table as CSV: each figure with its interval in three columns; empty where there is none."""
    text = io.StringIO()
    single = list(dict.fromkeys(name for row in rows for name in row.single))
    ends = [name + end for name in FIGURES for end in ("", "_low", "_high")]
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["condition", *_FIXED, *ends, *single])
    for row in rows:
        fixed = [getattr(row, name) for name in _FIXED]
        figures = [part for name in FIGURES for part in asdict(row.figures[name]).values()]
        cells = [*fixed, *figures, *(row.single.get(name) for name in single)]
        writer.writerow([row.id, *("" if cell is None else f"{cell:.6g}" for cell in cells)])
    return text.getvalue()
