"""The main picture of a plan: every frame with its cells in the colour of the step that generates them."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from diagplan.drawing.chart import nice, profile_chart
from diagplan.drawing.colours import on, ramp
from diagplan.drawing.panels import (
    ACCENT,
    BLANK,
    CAPTION,
    CONTENT,
    GAP_X,
    GREY,
    HATCH_LINE,
    INK,
    MARGIN,
    MISSING,
    RED,
    STRIP,
    Entry,
    Spread,
    cell_numbers,
    fitted,
    given_block,
    hatched,
    legend,
    numbers_fit,
    spread,
    wrapped,
)
from diagplan.drawing.readout import Readout
from diagplan.drawing.scene import WHITE, Cells, Item, Rect, Scene, Strokes, Text, text_width
from diagplan.drawing.wording import given_words, profile_words, schedule_words
from diagplan.planner.masks import to_runs

__all__ = ["wave_figure"]

_LABEL = 10
_CHART = 124  # height of the width profile
_PROMPT = 86  # width of the prompt's block at most

Steps = NDArray[np.int32]


def wave_figure(readout: Readout, frames: Sequence[int], *, until: int | None = None) -> Scene:
    """The picture of a plan.

    Args:
        readout: the plan.
        frames: the frames to show.
        until: draw the state after this step: its cells stand out, later ones are blank. The number of steps draws
            the end of an animation.

    Raises:
        SpecError: the frames do not fit one picture.
    """
    layout = readout.plan.layout
    height = 460 if len(frames) == 1 else 360
    panels = spread(len(frames), layout.rows, layout.cols, width=CONTENT - _PROMPT - GAP_X, height=height)
    items = list[Item]()
    y = MARGIN + _heading(items, readout, until)
    card = min(_PROMPT - 24, max(26, panels.panel_width // 3))
    block, taken = given_block(MARGIN, y + CAPTION, panels.panel_height, layout, card)
    items += block
    items.append(_caption(MARGIN, y + CAPTION - 6, "prompt"))
    left = MARGIN + max(taken, round(text_width("prompt", 13))) + GAP_X
    every = _interval(readout.steps[list(frames)], panels)
    lines = False
    for index, frame in enumerate(frames):
        dx, dy = panels.place(index)
        lines |= _panel(items, readout, frame, panels, left + dx, y + dy, every, until)
    right, bottom = left + panels.width, y + panels.height
    entries = _entries(readout, frames, every if lines else 0, until)
    if panels.width <= CONTENT * 0.52 and panels.height >= 180:  # the chart stands beside the panels
        below = _profile(items, readout, entries, right + 2 * GAP_X, y + CAPTION, MARGIN + CONTENT, bottom, until)
        below = max(below, bottom)
    else:
        below = _profile(items, readout, entries, MARGIN, bottom + 16, max(MARGIN + CONTENT, right), 0, until)
    width = max(CONTENT + MARGIN, right) + MARGIN
    return Scene(width=width, height=below + MARGIN - 8, title=_title(readout), items=items)


def _interval(steps: Steps, panels: Spread) -> int:
    """Steps between two wavefront lines: up to ten lines in a frame, fewer in a small panel."""
    spans = [int(known.max() - known.min()) + 1 for frame in steps if len(known := frame[frame >= 0])]
    return nice(max(spans, default=1) / min(10.0, max(2.0, np.hypot(panels.panel_width, panels.panel_height) / 26)))


def _profile(
    items: list[Item],
    readout: Readout,
    entries: list[Entry],
    x: int,
    y: int,
    right: int,
    bottom: int,
    until: int | None,
) -> int:
    """The legend and the width profile below it, down to ``bottom`` or of the usual height; returns its lower edge."""
    marks, end = legend(entries, x, y, right - x)
    items += marks
    top = round(end) + 18
    for line in wrapped(profile_words(readout), 13, right - x):
        items.append(_caption(x, top, line))
        top += 17
    top -= 5
    height = max(_CHART, bottom - top)
    items += profile_chart(readout, x, top, right - x, height, until=until)
    return top + height


def _title(readout: Readout) -> str:
    layout, steps = readout.plan.layout, readout.plan.steps
    size = f"{layout.rows} x {layout.cols} tokens"
    what = f"One image of {size}" if layout.frames == 1 else f"{layout.frames} frames of {size}"
    words = f"{what} in {steps} step{'' if steps == 1 else 's'}"
    return words + (f" instead of {layout.tokens}" if steps != layout.tokens else "")


def _heading(items: list[Item], readout: Readout, until: int | None) -> int:
    plan = readout.plan
    title, size = fitted(_title(readout), 26, CONTENT)
    items.append(Text(x=MARGIN, y=MARGIN + 22, text=title, size=size, colour=INK))
    words = schedule_words(plan)
    words = words[0].upper() + words[1:]
    if until is not None and until < plan.steps:
        known = int(np.count_nonzero((readout.steps >= 0) & (readout.steps <= until)))
        words += f".  After step {until}: {known} of {plan.layout.tokens} tokens; one at a time: {until + 1}"
    elif plan.steps == plan.layout.tokens:
        words += ": one pass for each token"
    else:
        words += f": {readout.speed_up:.1f} times fewer passes than one token at a time"
    text, size = fitted(words, 15, CONTENT)
    items.append(Text(x=MARGIN, y=MARGIN + 47, text=text, size=size, colour=GREY))
    return 64


def _caption(x: float, y: float, text: str) -> Text:
    return Text(x=x, y=y, text=text, size=13, colour=INK)


def _panel(
    items: list[Item], readout: Readout, frame: int, panels: Spread, x: int, y: int, every: int, until: int | None
) -> bool:
    """One frame; returns whether it has wavefront lines."""
    layout, steps = readout.plan.layout, readout.steps[frame]
    shown = steps if until is None else np.where(steps > until, -1, steps)
    colours = ramp(steps, readout.plan.steps)
    colours[steps < 0] = MISSING
    if until is not None:
        colours[steps > until] = BLANK
        colours[steps == until] = ACCENT
    name = f"frame {frame}"
    items.append(_caption(x, y - 6, name))
    longest = max(len(str(readout.plan.steps)), 3) * 2 + len(f"{name}steps -")
    if text_width("0" * longest, 12) + 8 <= panels.panel_width:
        _span(items, steps, x + panels.panel_width, y)
    items.append(Cells(x=x, y=y, pitch=panels.pitch, gap=panels.gap, colours=colours, kind=f"cells frame-{frame}"))
    right = x + panels.panel_width
    if layout.between_rows and layout.rows > 1:
        items += hatched(right + 2, y, STRIP, panels.pitch * (layout.rows - 1) - panels.gap)
    if layout.between_frames and frame + 1 < layout.frames:
        items += hatched(x + panels.box + GAP_X - 2 * STRIP, y, STRIP, panels.panel_height - panels.gap)
    if numbers_fit(readout.plan.steps, panels.pitch):
        items += cell_numbers(shown, colours, panels.pitch, x, y)
        return False
    bands = _bands(steps, every)
    if bands:
        _contours(items, readout, shown, panels.pitch, x, y, every)
    return bands


def _span(items: list[Item], steps: Steps, right: int, y: int) -> None:
    known = steps[steps >= 0]
    words = f"steps {known.min()}-{known.max()}" if len(known) else "never"
    items.append(Text(x=right, y=y - 6, text=words, size=12, colour=GREY if len(known) else RED, anchor="end"))


def _fronts(steps: Steps, every: int) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """The edges on a wavefront line: right of a cell [h, w - 1], below a cell [h - 1, w]."""
    band = np.where(steps < 0, -1, steps // every)
    upright = (band[:, 1:] != band[:, :-1]) & (band[:, 1:] >= 0) & (band[:, :-1] >= 0)
    level = (band[1:] != band[:-1]) & (band[1:] >= 0) & (band[:-1] >= 0)
    return upright, level


def _bands(steps: Steps, every: int) -> bool:
    """Whether wavefront lines tell anything: an order without a front has too many of them."""
    number = sum(int(np.count_nonzero(edges)) for edges in _fronts(steps, every))
    return 0 < number <= 0.8 * steps.size


def _contours(items: list[Item], readout: Readout, steps: Steps, pitch: int, x: int, y: int, every: int) -> None:
    """Lines between the cells before and from each multiple of ``every`` steps, with labels where there is room."""
    upright, level = _fronts(steps, every)
    lines = np.concatenate([_edges(upright.T)[:, [1, 0, 3, 2]], _edges(level)])
    if not len(lines):
        return
    items.append(
        Strokes(lines=lines * pitch + [x, y, x, y], colour=WHITE, width=2 if pitch >= 8 else 1.2 if pitch > 3 else 0.8)
    )
    height, width = steps.shape[0] * pitch, steps.shape[1] * pitch
    if min(height, width) < 60:
        return
    first = int(steps[steps >= 0].min()) // every + 1
    numbers = range(first * every, int(steps.max()) + 1, every)
    for skip in (1, 2, 4, 5, 10):
        wanted = [number for number in numbers if number % (skip * every) == 0 and np.any(steps == number)]
        labels = [_label_place(steps, number, pitch, x, y) for number in wanted]
        if all(
            abs(a[0] - b[0]) > (a[2] + b[2]) / 2 + 5 or abs(a[1] - b[1]) > 16
            for j, a in enumerate(labels)
            for b in labels[:j]
        ):
            for at_x, at_y, wide, number in labels:
                _label(items, str(number), (at_x, at_y), wide, ramp(number, readout.plan.steps))
            break


def _label_place(steps: Steps, number: int, pitch: int, x: int, y: int) -> tuple[float, float, float, int]:
    """Where the label of a line stands (its middle), how wide it is, and the number: as near the centre as it goes."""
    places = np.argwhere(steps == number)
    height, width = steps.shape[0] * pitch, steps.shape[1] * pitch
    middle = (np.array(steps.shape) - 1) / 2
    r, c = places[np.argmin(np.abs((places - middle) / middle.clip(1)).max(axis=1))].tolist()
    wide = text_width(str(number), _LABEL) + 4
    at_x = x + float(np.clip((c + 0.5) * pitch, wide / 2 + 1, width - wide / 2 - 1))
    return at_x, y + float(np.clip(r * pitch, 7, height - 7)), wide, number


def _edges(marked: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Runs of marked edges below the rows of a grid as lines, float64 [n, 4] in cells."""
    count, runs = to_runs(marked)
    height = np.repeat(np.arange(1, len(marked) + 1), count)
    return np.stack([runs[:, 0], height, runs[:, 1], height], axis=1).astype(np.float64)


def _label(items: list[Item], text: str, at: tuple[float, float], wide: float, colour: NDArray[np.uint8]) -> None:
    red, green, blue = colour.tolist()
    items.append(Rect(x=at[0] - wide / 2, y=at[1] - 6, width=wide, height=12, fill=(red, green, blue)))
    items.append(Text(x=at[0], y=at[1] + 3.6, text=text, size=_LABEL, colour=on(colour), anchor="middle"))


def _entries(readout: Readout, frames: Sequence[int], every: int, until: int | None) -> list[Entry]:
    layout = readout.plan.layout
    entries: list[Entry] = []
    if until is not None:
        entries += [("fill", ACCENT, "generated in this step"), ("fill", BLANK, "to come")]
    if every:
        entries.append(("lines", (33, 145, 140), f"a line every {every} steps" if every > 1 else "a line every step"))
    entries.append(("hatch", HATCH_LINE, f"given: {given_words(layout)}"))
    if np.any(readout.steps[list(frames)] < 0):
        entries.append(("fill", MISSING, "never generated"))
    if len(frames) < layout.frames:
        entries.append(("note", GREY, f"{layout.frames - len(frames)} of {layout.frames} frames not shown"))
    if readout.problems:
        entries.append(("note", RED, "This plan is damaged: " + "; ".join(readout.problems) + "."))
    return entries
