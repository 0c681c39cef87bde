"""One step of a plan in the terminal: what it generates, its feeds as a table, and one mask row."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from diagplan.drawing.colours import Colour, rgb
from diagplan.drawing.readout import Readout, Sight, StepFeeds, feed_of_query, frames_of_step, query, step_feeds
from diagplan.drawing.terminal_grid import GridPanel, GridPanels, Key
from diagplan.drawing.wording import feeds_words, query_words, schedule_words, slot_words

__all__ = ["step_view"]

_ROWS = 20  # of the table of feeds
_PROXIES = 8  # that are spelled out
_PANELS = 8  # frames shown unless they are named

# Marks of a cell from the least to the most telling: glyph, colour, meaning.
_STEP_MARKS: tuple[tuple[str, Colour, str], ...] = (
    (".", rgb("3a3f4b"), "to come"),
    ("+", rgb("8795a8"), "known before"),
    ("L", rgb("00897b"), "fed late, only written to the cache"),
    ("o", rgb("ce93d8"), "place of a token that is not known: a proxy stands in"),
    ("P", rgb("8e24aa"), "token that stands in"),
    ("#", rgb("f4511e"), "generated now"),
)
_SIGHT_MARKS: tuple[tuple[str, Colour, str], ...] = (
    (".", rgb("3a3f4b"), "not written"),
    ("#", rgb("5b9bd9"), "seen"),
    ("0", rgb("c9dff4"), "seen as zeros, not written"),
    ("x", rgb("12151c"), "written, not seen"),
    ("Q", rgb("d81b60"), "the query's position"),
    ("T", rgb("f4511e"), "the token it predicts"),
)
_SIGHT_RANKS = np.zeros(len(Sight), dtype=np.int64)
_SIGHT_RANKS[[Sight.UNWRITTEN, Sight.SEEN, Sight.ZEROS, Sight.UNSEEN]] = range(4)

Int32 = NDArray[np.int32]
Marks = tuple[tuple[str, Colour, str], ...]


def step_view(
    readout: Readout, step: int, *, width: int, feed: int | None = None, frames: Sequence[int] | None = None
) -> RenderableType:
    """What one step does, its feeds, and what one of its queries sees.

    Args:
        readout: the plan.
        step: the step.
        width: columns that may be used.
        feed: the query, counted within the step; ``None``: the last with a target.
        frames: the generated frames to show; ``None``: all, or those that take part.

    Raises:
        SpecError: the plan has no such step or feed.
    """
    plan, layout = readout.plan, readout.plan.layout
    feeds = step_feeds(readout, step)
    chosen = feed_of_query(feeds, step, feed)
    shown = sorted(  # generated frames first: they are shown where there is not room for all
        frames_of_step(layout, feeds, chosen, frames, _PANELS), key=lambda frame: (frame < layout.prompt_frames, frame)
    )
    slots = layout.cell_slots(prompt=True)
    emitted = np.unique(feeds.target[(feeds.target >= 0) & (feeds.source >= 0)])
    parts: list[RenderableType] = [
        Text(f"Step {step}: {len(emitted)} token{'' if len(emitted) == 1 else 's'} in one pass", style="bold"),
        Text(f"{schedule_words(plan)}; feeds: {feeds_words(feeds)}"),
    ]
    if readout.problems:
        parts.append(Text("This plan is damaged: " + "; ".join(readout.problems) + ".", style="red"))
    parts += [Text(""), _marked(readout, shown, _step_marks(readout, feeds, step, slots, emitted), _STEP_MARKS, width)]
    if len(shown) < len(slots):
        parts.append(
            Text(f"{len(slots) - len(shown)} of {len(slots)} frames not shown; --frame N shows one", style="dim")
        )
    parts += [*_proxies(readout, feeds), Text(""), *_table(readout, feeds, chosen), Text("")]
    parts.append(Text(query_words(layout, feeds, chosen), style="bold"))
    if chosen is None:
        return Group(*parts)
    row = query(plan, feeds, step, chosen)
    if row.why_not:
        parts.append(Text(f"Its mask row is not shown: {row.why_not}.", style="red"))
        return Group(*parts)
    sight = _SIGHT_RANKS[row.sight[slots]]
    sight[slots == feeds.position[chosen]] = 4
    sight[slots == feeds.target[chosen]] = 5
    parts.append(_marked(readout, shown, sight, _SIGHT_MARKS, width))
    outside = np.ones(len(row.sight), dtype=np.bool_)
    outside[slots.ravel()] = False
    if outside.any():
        seen = int(np.count_nonzero(row.sight[outside] == Sight.SEEN))
        parts.append(Text(f"It sees {seen} of {int(outside.sum())} given tokens outside the grids."))
    return Group(*parts)


def _step_marks(readout: Readout, feeds: StepFeeds, step: int, slots: Int32, emitted: Int32) -> NDArray[np.int64]:
    """An index into ``_STEP_MARKS`` for every cell, prompt frames first, [P + T, h, w]."""
    prompt = readout.plan.layout.prompt_frames
    marks = np.ones(slots.shape, dtype=np.int64)
    marks[prompt:] = (readout.steps >= 0) & (readout.steps < step)
    proxies = feeds.which("proxy")
    for mark, marked in (
        (2, feeds.position[feeds.which("late")]),
        (3, feeds.position[proxies]),
        (4, feeds.source[proxies]),
    ):
        marks[np.isin(slots, marked)] = mark
    generated = np.isin(slots, emitted)
    generated[:prompt] = False
    marks[generated] = 5
    return marks


def _marked(readout: Readout, shown: Sequence[int], marks: NDArray[np.int64], table: Marks, width: int) -> GridPanels:
    prompt = readout.plan.layout.prompt_frames
    glyphs = np.array([glyph for glyph, _, _ in table])
    colours = np.array([colour for _, colour, _ in table], dtype=np.uint8)
    panels = []
    for frame in shown:
        name = f"prompt frame {frame}" if frame < prompt else f"frame {frame - prompt}"
        panels.append(
            GridPanel(
                name=name.removeprefix("frame "),
                title=name,
                labels=glyphs[marks[frame]],
                glyphs=glyphs[marks[frame]],
                colours=colours[marks[frame]],
                rank=marks[frame],
            )
        )
    used = np.unique(marks[list(shown)]).tolist()
    keys = [Key(glyph=table[mark][0], colour=table[mark][1], text=table[mark][2]) for mark in reversed(used)]
    return GridPanels(panels, width, keys=keys)


def _proxies(readout: Readout, feeds: StepFeeds) -> list[Text]:
    layout, numbers = readout.plan.layout, feeds.which("proxy").tolist()
    lines = [
        Text(
            f"proxy: {slot_words(layout, int(feeds.source[j]))} stands in for "
            f"{slot_words(layout, int(feeds.position[j]))}"
        )
        for j in numbers[:_PROXIES]
    ]
    if len(numbers) > _PROXIES:
        lines.append(Text(f"and {len(numbers) - _PROXIES} more proxies", style="dim"))
    return lines


def _table(readout: Readout, feeds: StepFeeds, chosen: int | None) -> list[RenderableType]:
    layout, number = readout.plan.layout, len(feeds.source)
    rows = list(range(min(number, _ROWS)))
    if chosen is not None and chosen >= _ROWS:
        rows[-1] = chosen
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("feed", justify="right")
    for column in ("kind", "token", "position"):
        table.add_column(column)
    table.add_column("cache slot", justify="right")
    table.add_column("target")
    for j in rows:
        source, target = int(feeds.source[j]), int(feeds.target[j])
        table.add_row(
            str(j),
            feeds.kinds[j],
            "-" if source < 0 else Text(slot_words(layout, source)),
            Text(slot_words(layout, int(feeds.position[j]))),
            str(feeds.slot[j]),
            "-" if target < 0 else Text(slot_words(layout, target)),
            style="reverse" if j == chosen else None,
        )
    rest = number - len(rows)
    return [table, Text(f"and {rest} more feeds", style="dim")] if rest else [table]
