"""A plan in the terminal: the wave, one step of it, and the width of every step. Nothing here prints."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.segment import Segment
from rich.style import Style
from rich.text import Text

from diagplan.drawing.chart import binned, nice
from diagplan.drawing.colours import Colour, ramp, rgb
from diagplan.drawing.readout import Readout, check_frames, read_out
from diagplan.drawing.terminal_grid import GridPanel, GridPanels, coloured, swatch
from diagplan.drawing.terminal_step import step_view
from diagplan.drawing.wording import given_words, profile_words, schedule_words
from diagplan.planner.plan import Plan

__all__ = ["wave", "width_profile"]

_ALPHABET = np.array(list("0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"))
_MISSING: Colour = rgb("f2a9a3")
_BARS = " \u2581\u2582\u2583\u2584\u2585\u2586\u2587\u2588"
_HEIGHT = 6  # lines of the profile's bars


def wave(
    plan: Plan,
    *,
    width: int,
    step: int | None = None,
    feed: int | None = None,
    frames: Sequence[int] | None = None,
) -> RenderableType:
    """The frames of a plan, every cell with its step; with ``step`` what that step does. The plan need not be valid.

    Args:
        plan: the plan.
        width: columns that may be used.
        step: mark the tokens, proxies and feeds of this step, and one mask row.
        feed: the query whose mask row is shown, counted within the step; ``None``: the last with a target.
        frames: the generated frames to show; ``None``: as many as fit a screen, and the rest is named.

    Raises:
        SpecError: the plan has no such step, feed or frame.
    """
    readout = read_out(plan)
    chosen = check_frames(plan.layout, frames)
    if step is not None:
        return step_view(readout, step, width=width, feed=feed, frames=None if frames is None else chosen)
    each = -(-max(1, plan.steps) // len(_ALPHABET))
    words = (
        f"one character for a cell: 0 is step 0, 1 is step {each}"
        if each == 1
        else (
            f"one character for {each} steps: 0 is steps 0 to {each - 1}, 1 is {each} to {2 * each - 1}, "
            "and so on through 9, a ... z, A ... Z"
        )
    )
    panels = [_frame_panel(readout, frame, each) for frame in chosen]
    return Group(*_heading(readout), GridPanels(panels, width, glyph_words=words), _Scale(plan.steps))


def _heading(readout: Readout) -> list[RenderableType]:
    plan, layout = readout.plan, readout.plan.layout
    what = f"{layout.frames} frame{'' if layout.frames == 1 else 's'} of {layout.rows} x {layout.cols} tokens"
    words = f"{what} in {plan.steps} steps instead of {layout.tokens}: {schedule_words(plan)}"
    lines: list[RenderableType] = [Text(words, style="bold"), Text(f"given: {given_words(layout)}")]
    if readout.problems:
        lines.append(Text("This plan is damaged: " + "; ".join(readout.problems) + ".", style="red"))
    return [*lines, Text("")]


def _frame_panel(readout: Readout, frame: int, each: int) -> GridPanel:
    steps = readout.steps[frame]
    known = steps[steps >= 0]
    colours = ramp(steps, readout.plan.steps)
    colours[steps < 0] = _MISSING
    return GridPanel(
        name=str(frame),
        title=f"frame {frame}: " + (f"steps {known.min()}-{known.max()}" if len(known) else "never generated"),
        labels=np.where(steps < 0, "-", steps.astype(np.str_)),
        glyphs=np.where(steps < 0, "-", _ALPHABET[np.maximum(steps, 0) // each]),
        colours=colours,
        rank=np.zeros(steps.shape, dtype=np.int64),
    )


class _Scale:
    """The colours of the steps, where there are colours."""

    def __init__(self, steps: int) -> None:
        self.steps = steps

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        last = str(max(0, self.steps - 1))
        size = min(24, options.max_width - len(last) - 8, self.steps)
        if not coloured(console, options) or size < 2:
            return
        yield Segment("step 0 ")
        for red, green, blue in ramp(np.linspace(0, self.steps - 1, size), self.steps).tolist():
            yield swatch(" ", (red, green, blue))
        yield Segment(f" {last}")
        yield Segment.line()


def width_profile(plan: Plan, width: int) -> RenderableType:
    """The feeds of every step as bars, without padding and without the prompt's prefill, over a step axis."""
    return _Profile(read_out(plan), width)


class _Profile:
    """The bars; ``#`` where the terminal has no block characters."""

    def __init__(self, readout: Readout, width: int) -> None:
        self.readout, self.width = readout, width

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        yield Text(profile_words(self.readout))
        widths = self.readout.widths
        top = int(widths.max()) if len(widths) else 0
        margin = len(str(top))
        columns = min(self.width, options.max_width) - margin - 2
        if not len(widths) or columns < 2:
            return
        edges, tallest = binned(widths, columns)
        times = max(1, min(4, columns // len(tallest)))
        colours = ramp(edges[:-1], len(widths)).repeat(times, axis=0) if coloured(console, options) else None
        for line in _bars(tallest.repeat(times), top, ascii_only=options.ascii_only):
            label, bars = line
            yield Segment(f"{label:>{margin}} |")
            if colours is None:
                yield Segment(bars.rstrip())
            else:
                for char, (red, green, blue) in zip(bars, colours.tolist(), strict=True):
                    yield Segment(char, Style(color=f"rgb({red},{green},{blue})"))
            yield Segment.line()
        yield Segment(" " * margin + " +" + "-" * (len(tallest) * times))
        yield Segment.line()
        yield Segment(" " * (margin + 2) + _axis(len(widths), len(tallest) * times, columns))
        yield Segment.line()
        if len(tallest) < len(widths):
            yield Text(f"each column is the widest of about {len(widths) / len(tallest):.1f} steps", style="dim")


def _bars(tallest: NDArray[np.int64], top: int, *, ascii_only: bool) -> list[tuple[str, str]]:
    """Label and bars of each line, from top to bottom. A width above 0 always shows."""
    eighths = np.maximum(np.rint(tallest * 8 * _HEIGHT / max(1, top)).astype(np.int64), np.minimum(tallest, 1))
    lines = []
    for line in reversed(range(_HEIGHT)):
        filled = np.clip(eighths - 8 * line, 0, 8)
        text = "".join(
            ("#" if value > 3 or (value and not line) else " ") if ascii_only else _BARS[value] for value in filled
        )
        label = top if line == _HEIGHT - 1 else 0 if line == 0 else None
        lines.append(("" if label is None else str(label), text))
    return lines


def _axis(steps: int, columns: int, most: int) -> str:
    """Step numbers below the columns at which those steps stand; the word itself at the end if it fits ``most``."""
    text = [" "] * columns
    label = len(str(steps - 1))
    every = nice((label + 3) * steps / columns)
    last = max(0, min(columns - label, (steps - 1) * columns // steps))
    for step in range(0, steps, every):
        at = step * columns // steps
        if at + len(str(step)) + 2 <= last or (step == 0 and steps == 1):
            text[at : at + len(str(step))] = str(step)
    text[last : last + label] = str(steps - 1)
    line = "".join(text)
    return line + "  step" if len(line) + 6 <= most else line[:most]
