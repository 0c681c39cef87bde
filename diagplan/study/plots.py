"""The study's plots (matplotlib): quality against passes and against time, by horizon, and the policies."""

import io
import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from diagplan.evaluation.intervals import Interval
from diagplan.planner.extras import require_packages
from diagplan.study.image_tables import ImageRow
from diagplan.study.tables import FIGURES, Row

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = [
    "differences_plot",
    "horizon_plot",
    "log_ticks",
    "loss_plot",
    "new_figure",
    "policies_plot",
    "quality_plot",
    "require_matplotlib",
    "round_values",
]

#: Of the models in order, the base model first (Okabe and Ito's colours, told apart by everyone).
_COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00")
_MARKERS = {"ntp": "*", "exact": "P", "k=": "o", "overlap": "D", "zipar-w": "^", "zipar-release": "v"}
_MARKER_NAMES = {
    "ntp": "next-token", "exact": "exact: next-token's own tokens", "k=": "diagonal k", "overlap": "diagonal k, d",
    "zipar-w": "ZipAR", "zipar-release": "ZipAR as released",
}  # fmt: skip
#: Differences to next-token prediction where clips differ more than plans do.
_SHOWN = ("loss", "equal_truth_more", "followed_more", "psnr")
#: Of so many points each has its name beside it; of more, a few.
_MOST_NAMES = 12


def require_matplotlib() -> None:
    """Raise ``MissingExtraError`` unless matplotlib is installed."""
    require_packages("plots", "matplotlib")


def new_figure(width: float, height: float) -> "Figure":
    """A figure of a size in inches, drawn without a screen."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def _png(figure: "Figure") -> bytes:
    file = io.BytesIO()
    figure.savefig(file, format="png", dpi=110)
    return file.getvalue()


def _kind(name: str) -> str:
    if name.startswith("exact"):
        return "exact"
    if ",d=" in name:
        return "overlap"
    return next(kind for kind in ("zipar-release", "zipar-w", "ntp", "k=") if name.startswith(kind))


def _bars(figure: Interval, scale: float) -> list[list[float]] | None:
    if figure.mean is None or figure.low is None or figure.high is None:
        return None
    return [[(figure.mean - figure.low) * scale], [(figure.high - figure.mean) * scale]]


def quality_plot(rows: Sequence[Row], across: str) -> bytes:
    """Four figures with intervals against ``"step"`` (passes) or ``"seconds"``, as a PNG; one colour a model.

    Args:
        rows: of schedules, one of them measured; policies have a plot of their own.
        across: an attribute of ``Row``; rows without it are left out.
    """
    kept = [row for row in rows if not row.id.startswith("policies/") and getattr(row, across) is not None]
    groups = list(dict.fromkeys(row.id.partition("/")[0] for row in kept))
    aside = {group: 1.03 ** (i - (len(groups) - 1) / 2) for i, group in enumerate(groups)}  # to tell models apart
    figure = new_figure(12, 8)
    shown = [name for name in _SHOWN if any(row.figures[name].mean is not None for row in kept)]
    for number, name in enumerate(shown, start=1):
        axes = figure.add_subplot(2, 2, number)
        about, below = FIGURES[name], 0
        for row in kept:
            value, (group, _, plan) = row.figures[name], row.id.partition("/")
            if value.mean is None:
                continue
            colour, marker = _COLOURS[groups.index(group) % len(_COLOURS)], _MARKERS[_kind(plan)]
            x, y = getattr(row, across) * aside[group], value.mean * about.scale
            axes.errorbar(
                x, y, yerr=_bars(value, about.scale), fmt=marker, color=colour, alpha=0.8, capsize=2, elinewidth=0.8,
                markersize=10 if marker == "*" else 6,
            )  # fmt: skip
            named = plan in ("ntp", "k=1", "k=2", "k=4") or _kind(plan) == "exact"
            if group == groups[0] and (named or len(kept) <= _MOST_NAMES):
                place = (6, 5)
                if _kind(plan) == "exact":  # all at one height, under each other
                    place = (6, -13 - 10 * (below % 4))
                    below += 1
                axes.annotate(plan, (x, y), xytext=place, textcoords="offset points", fontsize=8)
        axes.set_xscale("log")
        values = sorted({getattr(row, across) for row in kept})
        axes.set_xlim(values[0] / 1.25, values[-1] * 1.35)
        log_ticks(axes.xaxis, *axes.get_xlim())
        if name == "loss":
            axes.set_yscale("log")
            log_ticks(axes.yaxis, *axes.get_ylim())
        axes.set_title(f"{about.heading} ({'less' if about.better == 'low' else 'more'} is better)", fontsize=10)
        axes.set_xlabel("forward passes for one clip" if across == "step" else "seconds for one clip alone")
        axes.grid(alpha=0.3)
    _legend(figure, groups, {_kind(row.id.partition("/")[2]) for row in kept})
    return _png(figure)


def round_values(low: float, high: float) -> list[float]:
    """Three to eight round numbers between two positive ones, for a logarithmic axis; sparse ones where they do.

    >>> round_values(45, 1000), round_values(0.013, 0.022)
    ([50.0, 100.0, 200.0, 500.0, 1000.0], [0.015, 0.0175, 0.02])
    """
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    kept: list[float] = []
    for parts in ((1.0,), (1.0, 2.0, 5.0), (1.0, 1.5, 2.0, 3.0, 5.0, 7.0)):
        values = [_exact(part * 10.0**power) for power in powers for part in parts]
        kept = [value for value in values if low <= value <= high]
        if len(kept) >= 3:
            return kept if len(kept) <= 8 else kept[:: -(-len(kept) // 8)]
    rough = (high - low) / 4  # too narrow for those: even steps
    unit = 10.0 ** math.floor(math.log10(rough))
    step = next(unit * part for part in (1, 2, 2.5, 5, 10) if unit * part >= 0.999 * rough)
    while len(kept) < 3:
        first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
        kept = [_exact(step * number) for number in range(first, last + 1)]
        step /= 2
    return kept


def loss_plot(rows: Sequence[ImageRow]) -> bytes:
    """The loss of pictures against passes, with intervals over prompts, as a PNG."""
    figure = new_figure(8, 5)
    axes = figure.add_subplot(1, 1, 1)
    for number, row in enumerate(rows):
        value = row.figures["loss"]
        if value.mean is None:
            continue
        axes.errorbar(
            row.passes, value.mean, yerr=_bars(value, 1.0), fmt="*" if row.name == "ntp" else "o",
            color=_COLOURS[number % len(_COLOURS)], capsize=2, elinewidth=0.8,
        )  # fmt: skip
        axes.annotate(row.name, (row.passes, value.mean), xytext=(6, 5), textcoords="offset points", fontsize=8)
    values = sorted(row.passes for row in rows)
    axes.set_xscale("log")
    axes.set_xlim(values[0] / 1.25, values[-1] * 1.35)
    log_ticks(axes.xaxis, *axes.get_xlim())
    axes.set_title("the model's own loss of its pictures, nats a token (less is better)", fontsize=10)
    axes.set_xlabel("forward passes for a batch of pictures")
    axes.grid(alpha=0.3)
    return _png(figure)


def _exact(value: float) -> float:
    """Without the last digits that multiplication leaves."""
    return float(f"{value:.10g}")


def log_ticks(axis: Any, low: float, high: float) -> None:
    """Ticks of a logarithmic axis at a few round values, in plain numbers; none between them."""
    from matplotlib.ticker import NullLocator

    values = round_values(low, high)
    axis.set_ticks(values, [f"{value:.10f}".rstrip("0").rstrip(".") for value in values])
    axis.set_minor_locator(NullLocator())


def _legend(figure: "Figure", groups: list[str], kinds: set[str]) -> None:
    from matplotlib.lines import Line2D

    marks = [
        Line2D([], [], color="#555555", marker=_MARKERS[kind], linestyle="", label=_MARKER_NAMES[kind])
        for kind in _MARKERS
        if kind in kinds
    ]
    models = [
        Line2D([], [], color=_COLOURS[i % len(_COLOURS)], linewidth=4, label=group) for i, group in enumerate(groups)
    ]
    figure.legend(handles=models + marks, loc="outside lower center", ncols=min(8, len(models) + len(marks)))


def horizon_plot(curves: Mapping[str, Mapping[str, Sequence[float]]]) -> bytes:
    """Curves over generated frames, as a PNG.

    Args:
        curves: figure -> condition -> one number a frame, as it is shown.
    """
    figure = new_figure(4.2 * len(curves), 4.4)
    lines: list[Any] = []
    for place, (name, by_condition) in enumerate(curves.items(), start=1):
        axes = figure.add_subplot(1, len(curves), place)
        drawn = [
            axes.plot(
                range(1, len(values) + 1), values, label=condition, color=_COLOURS[i % len(_COLOURS)],
                linestyle=("-", "--", ":", "-.")[i % 4], marker="o", markersize=3,
            )[0]
            for i, (condition, values) in enumerate(by_condition.items())
        ]  # fmt: skip
        lines = lines or drawn
        axes.set_title(name, fontsize=10)
        axes.set_xlabel("generated frame")
        axes.grid(alpha=0.3)
    figure.legend(handles=lines, loc="outside lower center", ncols=min(6, max(1, len(lines))))
    return _png(figure)


def policies_plot(rows: Sequence[Row]) -> bytes:
    """The loss of every setting of the policies, the best first, as a PNG."""
    crossed = ((row.figures["loss"], row) for row in rows if row.id.startswith("policies/"))
    kept = sorted(
        ((value.mean, value, row.id) for value, row in crossed if value.mean is not None), key=lambda entry: entry[0]
    )
    figure = new_figure(9, 1.2 + 0.22 * len(kept))
    axes = figure.add_subplot(1, 1, 1)
    for place, (mean, value, _) in enumerate(kept):
        axes.errorbar(mean, place, xerr=_bars(value, 1.0), fmt="o", color=_COLOURS[0], capsize=2, markersize=4)
    axes.set_yticks(range(len(kept)), [name.partition("/")[2] for _, _, name in kept], fontsize=8)
    axes.invert_yaxis()
    axes.margins(y=0.01)
    axes.set_title("proxy, row end, proxy's keys and values, visibility, at k = 2", fontsize=10)
    axes.set_xlabel("loss of the judge on what was generated, nats a token (less is better)")
    axes.grid(alpha=0.3, axis="x")
    return _png(figure)


def differences_plot(shares: Mapping[str, NDArray[np.float64]]) -> bytes:
    """Where on the grid tokens are not those of next-token prediction, as a PNG: one map a condition, one scale.

    Args:
        shares: condition -> share of clips and frames, float64 [rows, cols].
    """
    across = min(3, len(shares))
    down = -(-len(shares) // across)
    rows, cols = next(iter(shares.values())).shape
    figure = new_figure(4.2 * across, 0.4 + down * (0.4 + 3.3 * rows / cols))
    highest = 100 * max(float(share.max()) for share in shares.values()) or 1.0  # nowhere: a scale all the same
    maps = []
    for place, (name, share) in enumerate(shares.items(), start=1):
        axes = figure.add_subplot(down, across, place)
        maps.append(axes.imshow(100 * share, cmap="viridis", norm=_powers(highest)))
        axes.set_title(f"{name}: {100 * share.mean():.2f}%", fontsize=8)
        axes.set_xticks([])
        axes.set_yticks([])
    bar = figure.colorbar(maps[0], ax=figure.axes, shrink=0.8)
    bar.set_label("% of tokens not as next-token prediction's")
    return _png(figure)


def _powers(highest: float) -> Any:
    """A scale on which small shares are seen beside large ones."""
    from matplotlib.colors import PowerNorm

    return PowerNorm(0.5, vmin=0, vmax=highest)
