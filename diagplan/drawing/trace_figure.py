"""The picture of a speculative replay: frames by the pass that accepted each cell, and all passes over the tokens."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from diagplan.drawing.chart import nice
from diagplan.drawing.colours import Colour, ramp, rgb
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
)
from diagplan.drawing.scene import Cells, Item, Rect, Scene, Strokes, Text, text_width
from diagplan.drawing.trace_readout import Fate, TraceReadout
from diagplan.drawing.wording import given_words, schedule_words
from diagplan.planner.masks import to_runs

__all__ = ["trace_figure"]

WRONG: Colour = rgb("c2185b")
BEHIND: Colour = rgb("a9c4e4")
FIRST: Colour = rgb("d7dce4")
_AXIS, _GRID = rgb("9aa1ad"), rgb("e9ebef")

_PROMPT = 86  # width of the prompt's block at most
_TICK = 11
#: Height of a pass in the chart, and of all of them.
_TALLEST, _CHART = 13.0, 420.0


def trace_figure(readout: TraceReadout, frames: Sequence[int], *, until: int | None = None) -> Scene:
    """The picture of one sample of a trace.

    Args:
        readout: the trace.
        frames: the frames to show.
        until: draw this pass: what it fed, accepted and guessed wrong; later ones are blank. The number of passes draws
            the end of an animation.

    Raises:
        SpecError: the frames do not fit one picture.
    """
    layout = readout.plan.layout
    panels = spread(len(frames), layout.rows, layout.cols, width=CONTENT - _PROMPT - GAP_X, height=300)
    items = list[Item]()
    y = MARGIN + _heading(items, readout, until)
    card = min(_PROMPT - 24, max(26, panels.panel_width // 3))
    block, taken = given_block(MARGIN, y + CAPTION, panels.panel_height, layout, card)
    items += block
    items.append(Text(x=MARGIN, y=y + CAPTION - 6, text="prompt", size=13, colour=INK))
    left = MARGIN + max(taken, round(text_width("prompt", 13))) + GAP_X
    for place, frame in enumerate(frames):
        dx, dy = panels.place(place)
        _panel(items, readout, frame, panels, left + dx, y + dy, until)
    numbers = numbers_fit(readout.count, panels.pitch)
    marks, _ = legend(_entries(readout, frames, until, numbers), MARGIN, y + panels.height + 18, CONTENT)
    items += marks
    # As low as the longer of its two legends: all pictures of an animation are of one size.
    both = [_entries(readout, frames, number, numbers) for number in (None, 0)]
    end = max(legend(entries, MARGIN, y + panels.height + 18, CONTENT)[1] for entries in both)
    below = _staircase(items, readout, MARGIN, round(end) + 10, MARGIN + CONTENT, until)
    width = max(CONTENT + MARGIN, left + panels.width) + MARGIN
    return Scene(width=width, height=below + MARGIN - 8, title=_title(readout), items=items)


def _title(readout: TraceReadout) -> str:
    layout, count = readout.plan.layout, readout.count
    size = f"{layout.rows} x {layout.cols} tokens"
    what = f"One image of {size}" if layout.frames == 1 else f"{layout.frames} frames of {size}"
    return f"{what}: {readout.plan.steps} steps in {count} pass{'' if count == 1 else 'es'}"


def _heading(items: list[Item], readout: TraceReadout, until: int | None) -> int:
    title, size = fitted(_title(readout), 26, CONTENT)
    items.append(Text(x=MARGIN, y=MARGIN + 22, text=title, size=size, colour=INK))
    trace, words = readout.trace, schedule_words(readout.plan)
    words = f"The tokens of {words}, guessed ahead in windows of {trace.width}, draft {trace.draft}"
    if until is None or until >= readout.count:
        words += f": {readout.tokens_a_pass:.1f} tokens a pass"
    else:
        accepted = int(np.count_nonzero(readout.fates[until] >= Fate.ACCEPTED))
        known = int(np.count_nonzero((readout.passes >= 0) & (readout.passes <= until)))
        words += f".  Pass {until}: {accepted} more, {known} of {len(readout.cell)}"
    if len(trace.samples) > 1:
        words += f" (sample {readout.sample} of {len(trace.samples)})"
    text, size = fitted(words, 15, CONTENT)
    items.append(Text(x=MARGIN, y=MARGIN + 47, text=text, size=size, colour=GREY))
    return 64


def _panel(
    items: list[Item], readout: TraceReadout, frame: int, panels: Spread, x: int, y: int, until: int | None
) -> None:
    """One frame."""
    layout, passes = readout.plan.layout, readout.passes[frame]
    colours = ramp(passes, readout.count)
    colours[passes < 0] = BLANK
    shown = passes
    if until is not None and until < readout.count:
        fates = readout.by_cell(until)[frame]
        colours[passes > until] = BLANK
        for fate, colour in _COLOURS.items():
            colours[fates == fate] = colour
        shown = np.where(passes > until, -1, passes)
    known = passes[passes >= 0]
    items.append(Text(x=x, y=y - 6, text=f"frame {frame}", size=13, colour=INK))
    span = f"passes {known.min()}-{known.max()}" if len(known) else "not accepted"
    if text_width(f"frame {frame}", 13) + text_width(span, 12) + 10 <= panels.panel_width:
        items.append(Text(x=x + panels.panel_width, y=y - 6, text=span, size=12, colour=GREY, anchor="end"))
    items.append(Cells(x=x, y=y, pitch=panels.pitch, gap=panels.gap, colours=colours, kind=f"cells frame-{frame}"))
    if layout.between_frames and frame + 1 < layout.frames:
        items += hatched(x + panels.box + GAP_X - 2 * STRIP, y, STRIP, panels.panel_height - panels.gap)
    if numbers_fit(readout.count, panels.pitch):
        items += cell_numbers(shown, colours, panels.pitch, x, y)


_COLOURS: dict[Fate, Colour] = {
    Fate.FIRST: FIRST,
    Fate.WRONG: WRONG,
    Fate.BEHIND: BEHIND,
    Fate.ACCEPTED: ACCENT,
    Fate.CORRECTED: ACCENT,
}


def _entries(readout: TraceReadout, frames: Sequence[int], until: int | None, numbers: bool) -> list[Entry]:
    layout = readout.plan.layout
    moving = until is not None and until < readout.count
    middle = tuple(ramp(0.45, 2).tolist())
    entries: list[Entry] = []
    if moving:
        entries += [("fill", ACCENT, "accepted in this pass")]
    else:
        entries += [("fill", middle, "accepted" + (", with its pass" if numbers else " (dark: early, bright: late)"))]
    entries += [
        ("fill", WRONG, "guessed wrong" if moving else "guessed wrong (below a bar: put right and accepted)"),
        ("fill", BEHIND, "guessed right, behind a wrong guess"),
        ("fill", FIRST, "chosen for the first time"),
        ("hatch", HATCH_LINE, f"given: {given_words(layout)}"),
    ]
    if len(frames) < layout.frames:
        entries.append(("note", GREY, f"{layout.frames - len(frames)} of {layout.frames} frames not shown"))
    if readout.problems:
        entries.append(("note", RED, "This trace is not valid: " + "; ".join(readout.problems) + "."))
    return entries


def _staircase(items: list[Item], readout: TraceReadout, x: int, y: int, right: int, until: int | None) -> int:
    """The passes from top to bottom, over the tokens in the plan's order; returns the lower edge."""
    count, tokens = readout.fates.shape
    label = max(text_width(str(count), _TICK), text_width("pass", _TICK) + 6) + 8
    many = text_width(f"+{tokens}", _TICK) + 8
    start, stop, top = x + label, right - many, y + 34
    tall = float(min(_TALLEST, max(1.0, _CHART / max(1, count))))
    scale = (stop - start) / max(1, tokens)
    items.append(Text(x=x, y=y + 12, text="Which tokens each pass fed, in the plan's order", size=13, colour=INK))
    items += _token_axis(readout, start, scale, top, top + tall * count)
    every = nice(15 / tall)
    colour_of = ramp(np.arange(max(1, count)), count)
    for number in range(count):
        at = top + tall * number
        later = until is not None and number > until
        if later:
            continue
        items += _row(readout.fates[number], start, at, scale, tall, tuple(colour_of[number].tolist()))
        if number % every == 0 or (number == count - 1 and (number - 1) % every):
            items.append(
                Text(x=start - 6, y=at + tall / 2 + 4, text=str(number), size=_TICK, colour=GREY, anchor="end")
            )
            if tall >= 9:
                accepted = int(np.count_nonzero(readout.fates[number] >= Fate.ACCEPTED))
                items.append(Text(x=stop + 6, y=at + tall / 2 + 4, text=f"+{accepted}", size=_TICK, colour=GREY))
    if until is not None and until < count:
        edge = top + tall * until
        items.append(Rect(x=start - 2, y=edge - 1, width=stop - start + 4, height=tall + 2, stroke=INK, stroke_width=1))
    return int(top + tall * count + 0.5) + 8


def _token_axis(readout: TraceReadout, start: float, scale: float, top: float, bottom: float) -> list[Item]:
    tokens = len(readout.cell)
    items: list[Item] = [Text(x=start - 12, y=top - 6, text="pass", size=_TICK, colour=GREY, anchor="end")]
    every = nice(max(text_width(str(tokens), _TICK) + 22, 60) / scale)
    for token in range(0, tokens + 1, every):
        at = start + scale * token
        items.append(Strokes(lines=np.array([[at, top - 3, at, bottom]]), colour=_GRID))
        items.append(Text(x=at, y=top - 6, text=str(token), size=_TICK, colour=GREY, anchor="middle"))
    items.append(Strokes(lines=np.array([[start, top - 0.5, start + scale * tokens, top - 0.5]]), colour=_AXIS))
    return items


def _row(fates: NDArray[np.uint8], start: float, at: float, scale: float, tall: float, colour: Colour) -> list[Item]:
    """One pass: runs of tokens of one fate as bars, at least as wide as can be seen; wrong guesses on top."""
    high = tall - (1 if tall >= 5 else 0)
    items: list[Item] = []
    for fate in (Fate.FIRST, Fate.BEHIND, Fate.ACCEPTED, Fate.WRONG, Fate.CORRECTED):
        same = fates >= Fate.ACCEPTED if fate == Fate.ACCEPTED else fates == fate
        _, runs = to_runs(same[None])
        for first, end in runs.tolist():
            left, wide = start + scale * first, scale * (end - first)
            if fate == Fate.CORRECTED:  # below the accepted bar: guessed wrong, and chosen right
                thin = max(1.5, min(0.3 * high, 3.0))
                items.append(
                    Rect(x=left, y=at + high - thin, width=max(wide, 1.2), height=thin, fill=WRONG, kind="wrong")
                )
            else:
                fill = colour if fate == Fate.ACCEPTED else _COLOURS[fate]
                items.append(Rect(x=left, y=at, width=max(wide, 0.8), height=high, fill=fill, kind=fate.name.lower()))
    return items
