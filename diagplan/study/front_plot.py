"""The picture of a choice: every plan by its time, those that no other beats, the budget, the plan taken."""

import io
from typing import Literal

from diagplan.planner.front import Latency
from diagplan.planner.tuning import Priced
from diagplan.study.plots import log_ticks, new_figure, require_matplotlib
from diagplan.study.tune import Tuned

__all__ = ["front_plot"]

_FRONT, _TAKEN, _OTHERS = "#0072b2", "#d55e00", "#b8b8b8"
#: Points of the front that have their names beside them.
_NAMED = 9


def front_plot(
    tuned: Tuned,
    *,
    title: str,
    within: float | None = None,
    max_loss: float | None = None,
    latency: Latency = "clip",
    form: Literal["png", "svg"] = "png",
) -> bytes:
    """A picture as PNG or SVG.

    Args:
        tuned: from ``tune_plan``.
        title: above it.
        within: seconds of the budget; ``None``: there is no limit.
        max_loss: the limit of loss, with a study.
        latency: the time across.
        form: of the picture.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    require_matplotlib()
    figure = new_figure(9.5, 6)
    axes = figure.add_subplot(1, 1, 1)

    def across(one: Priced) -> float:
        return one.cost.first_frame_seconds if latency == "first-frame" else one.cost.seconds

    def up(one: Priced) -> float:
        return float(one.cost.passes) if tuned.losses is None else tuned.losses[one.candidate].mean

    shown = [one for one in tuned.priced if tuned.losses is None or one.candidate in tuned.losses]
    plain = [one for one in shown if one.candidate.max_width is None]
    capped = [one for one in shown if one.candidate.max_width is not None]
    for some, marker, label in ((plain, "o", "plans"), (capped, "x", "under a width cap")):
        if some:
            axes.plot([*map(across, some)], [*map(up, some)], marker, color=_OTHERS, markersize=4, label=label)
    front = tuned.front
    axes.plot([*map(across, front)], [*map(up, front)], "o-", color=_FRONT, markersize=5, lw=1, label="no other beats")
    if tuned.losses is not None:
        for one in front:
            loss = tuned.losses[one.candidate]
            if loss.low is not None and loss.high is not None:
                axes.plot([across(one)] * 2, [loss.low, loss.high], color=_FRONT, lw=0.8)
    taken = tuned.choice.best or tuned.choice.nearest
    if taken is not None and (tuned.losses is None or taken.candidate in tuned.losses):
        label = "taken" if tuned.choice.best is not None else "nearest"
        axes.plot(across(taken), up(taken), "*", color=_TAKEN, markersize=15, label=f"{label}: {taken.candidate.name}")
    named = front[:: max(1, -(-len(front) // _NAMED))]
    aside, side = ((-8, 3), "right") if tuned.losses is None else ((6, 6), "left")  # where the line of points is not
    for i, one in enumerate(named):
        offset = aside if tuned.losses is None or i % 2 == 0 else (6, -12)
        axes.annotate(
            one.candidate.name, (across(one), up(one)), xytext=offset, textcoords="offset points", fontsize=8, ha=side,
            bbox={"facecolor": "white", "alpha": 0.7, "edgecolor": "none", "pad": 0.5},
        )  # fmt: skip
    if within is not None and latency == "clip":
        axes.axvline(within, color=_TAKEN, lw=1, ls="--", label="budget")
    if max_loss is not None:
        axes.axhline(max_loss, color=_TAKEN, lw=1, ls=":", label="most loss, for the interval's upper end")
    axes.set_xscale("log")
    axes.margins(x=0.12)
    log_ticks(axes.xaxis, *axes.get_xlim())
    if tuned.losses is None:
        axes.set_yscale("log")
        log_ticks(axes.yaxis, *axes.get_ylim())
    elif front:
        top = 1.5 * max(1e-6, *(tuned.losses[one.candidate].most for one in front))
        above = sum(up(one) > top for one in shown)
        axes.set_ylim(min(0.0, *(up(one) for one in front)) - 0.12 * top, top)
        if above:
            axes.text(
                0.01, 0.97, f"{above} plans of more loss are above", transform=axes.transAxes, va="top", fontsize=8
            )
    words = "to the first frame" if latency == "first-frame" else "for a clip"
    axes.set_xlabel(f"predicted seconds {words}")
    axes.set_ylabel("forward passes" if tuned.losses is None else "loss over next-token prediction's, nats a token")
    axes.set_title(title, fontsize=10)
    axes.grid(alpha=0.3)
    axes.legend(fontsize=8)
    file = io.BytesIO()
    figure.savefig(file, format=form, dpi=110, metadata={"Date": None} if form == "svg" else None)
    return file.getvalue()
