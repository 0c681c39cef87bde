"""The picture of one step: what it generates from which tokens, and what one of its queries sees."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from diagplan.drawing.chart import profile_chart
from diagplan.drawing.colours import Colour, rgb
from diagplan.drawing.panels import (
    ACCENT,
    BLANK,
    CONTENT,
    GREY,
    HATCH_LINE,
    INK,
    MARGIN,
    RED,
    Entry,
    Spread,
    cell_numbers,
    fitted,
    legend,
    numbers_fit,
    spread,
    wrapped,
)
from diagplan.drawing.readout import Query, Readout, Sight, StepFeeds, feed_of_query, frames_of_step, query, step_feeds
from diagplan.drawing.scene import Cells, Item, Rect, Scene, Text, arrow, hatch
from diagplan.drawing.wording import feeds_words, profile_words, query_words, schedule_words

__all__ = ["KNOWN", "SIGHTS", "step_figure"]

KNOWN: Colour = rgb("b9c6d6")
_PROMPT: Colour = rgb("dde1e8")
_PROXY: Colour = rgb("8e24aa")
_LATE: Colour = rgb("00796b")
_QUERY: Colour = rgb("d81b60")
#: The colour of each ``Sight``.
SIGHTS: dict[Sight, Colour] = {
    Sight.UNWRITTEN: BLANK,
    Sight.UNSEEN: rgb("2d3342"),
    Sight.SEEN: rgb("5b9bd9"),
    Sight.ZEROS: rgb("c9dff4"),
}
_BETWEEN_BANDS = 44
_MOST_PANELS = 8  # shown unless frames are named
_MOST_ARROWS = 60

Int32 = NDArray[np.int32]
CellColours = Callable[[int], NDArray[np.uint8]]  # of a frame, prompt frames counted first


@dataclass(frozen=True, slots=True, kw_only=True)
class _Board:
    """The panels of a band and the way from a slot to the place of its cell.

    Frames are counted from the first prompt frame.
    """

    readout: Readout
    slots: Int32  # [P + T, h, w]
    frames: tuple[int, ...]
    panels: Spread
    x: int
    y: int

    def cell(self, slot: int) -> tuple[int, int, int] | None:
        """Frame, row and column of a slot, or ``None`` for tokens outside the grids."""
        index = int(np.searchsorted(self.slots.ravel(), slot))
        if index >= self.slots.size or self.slots.ravel()[index] != slot:
            return None
        frame, row, col = (int(axis) for axis in np.unravel_index(index, self.slots.shape))
        return frame, row, col

    def corner(self, slot: int) -> tuple[int, int] | None:
        """The upper left corner of a slot's cell, or ``None`` if it is not shown."""
        cell = self.cell(slot)
        if cell is None or cell[0] not in self.frames:
            return None
        dx, dy = self.panels.place(self.frames.index(cell[0]))
        return self.x + dx + cell[2] * self.panels.pitch, self.y + dy + cell[1] * self.panels.pitch

    def outline(self, items: list[Item], slot: int, colour: Colour) -> bool:
        """Draw a frame around a slot's cell; returns whether it is shown."""
        at = self.corner(slot)
        if at is None:
            return False
        side = self.panels.pitch - self.panels.gap + 2
        stroke = 2.5 if self.panels.pitch >= 14 else 1.5
        items.append(
            Rect(x=at[0] - 1, y=at[1] - 1, width=side, height=side, stroke=colour, stroke_width=stroke, kind="mark")
        )
        return True


def step_figure(readout: Readout, step: int, *, feed: int | None = None, frames: Sequence[int] | None = None) -> Scene:
    """The picture of one step.

    Args:
        readout: the plan.
        step: the step.
        feed: the query whose mask row is shown, counted within the step; ``None``: the last with a target.
        frames: the generated frames to show, prompt frames apart; ``None``: all, or those that take part.

    Raises:
        SpecError: the plan has no such step or feed, or the frames do not fit one picture.
    """
    feeds = step_feeds(readout, step)
    chosen = feed_of_query(feeds, step, feed)
    slots = readout.plan.layout.cell_slots(prompt=True)
    shown = frames_of_step(readout.plan.layout, feeds, chosen, frames, _MOST_PANELS)
    size = (len(shown), readout.plan.layout.rows, readout.plan.layout.cols)
    half = (CONTENT - _BETWEEN_BANDS) // 2
    stacked, narrow = spread(*size, height=230), spread(*size, width=half, height=400)
    beside = narrow.width <= half and narrow.pitch >= stacked.pitch
    panels = narrow if beside else stacked
    width = half if beside else max(CONTENT, panels.width)
    items = list[Item]()
    y = MARGIN + _heading(items, readout, feeds, step)
    words = wrapped(query_words(readout.plan.layout, feeds, chosen), 12.5, width)
    board = _Board(readout=readout, slots=slots, frames=shown, panels=panels, x=MARGIN, y=y)
    below = _step_band(items, board, feeds, step, width, lines=len(words) if beside else 1)
    left = MARGIN + (half + _BETWEEN_BANDS if beside else 0)
    board = replace(board, x=left, y=y if beside else below + 14)
    below = max(below, _query_band(items, board, feeds, step, chosen, width, words))
    width = max(CONTENT, width)
    text, number = fitted(profile_words(readout), 13, width)
    items.append(Text(x=MARGIN, y=below + 22, text=text, size=number, colour=INK))
    items += profile_chart(readout, MARGIN, below + 36, width, 92, mark=step)
    title = f"Step {step} of a plan of {readout.plan.steps} steps"
    return Scene(width=width + 2 * MARGIN, height=below + 128 + MARGIN - 8, title=title, items=items)


def _heading(items: list[Item], readout: Readout, feeds: StepFeeds, step: int) -> int:
    plan, emitted = readout.plan, len(np.unique(feeds.target[(feeds.target >= 0) & (feeds.source >= 0)]))
    title = f"Step {step}: {emitted} token{'' if emitted == 1 else 's'} in one forward pass"
    text, size = fitted(title, 26, CONTENT)
    items.append(Text(x=MARGIN, y=MARGIN + 22, text=text, size=size, colour=INK))
    known = int(np.count_nonzero((readout.steps >= 0) & (readout.steps < step)))
    words = schedule_words(plan)
    words = f"{words[0].upper()}{words[1:]}: {known} of {plan.layout.tokens} tokens are known before this step"
    text, size = fitted(words, 15, CONTENT)
    items.append(Text(x=MARGIN, y=MARGIN + 47, text=text, size=size, colour=GREY))
    below = 64
    if readout.problems:
        for line in wrapped("This plan is damaged: " + "; ".join(readout.problems) + ".", 13, CONTENT):
            items.append(Text(x=MARGIN, y=MARGIN + below + 2, text=line, size=13, colour=RED))
            below += 18
    return below + 8


def _band(items: list[Item], board: _Board, lines: list[str], colours: CellColours, kind: str) -> _Board:
    """The heading and the panels of a band; returns the board where its panels stand."""
    y = board.y
    for index, line in enumerate(lines):
        items.append(
            Text(x=board.x, y=y + 13, text=line, size=14 if index == 0 else 12.5, colour=GREY if index else INK)
        )
        y += 20 if index == 0 else 17
    placed = replace(board, y=y + 4)
    panels, prompt = board.panels, board.readout.plan.layout.prompt_frames
    for index, frame in enumerate(board.frames):
        dx, dy = panels.place(index)
        x, top = placed.x + dx, placed.y + dy
        given = frame < prompt
        name = f"prompt frame {frame}" if given else f"frame {frame - prompt}"
        text, size = fitted(name, 13, panels.box)
        items.append(Text(x=x, y=top - 6, text=text, size=size, colour=INK))
        kinds = f"{kind} prompt-{frame}" if given else f"cells {kind} frame-{frame - prompt}"
        items.append(Cells(x=x, y=top, pitch=panels.pitch, gap=panels.gap, colours=colours(frame), kind=kinds))
        if given and kind == "does":
            items.append(hatch(x, top, panels.panel_width - panels.gap, panels.panel_height - panels.gap, HATCH_LINE))
    return placed


def _step_band(items: list[Item], board: _Board, feeds: StepFeeds, step: int, width: int, *, lines: int) -> int:
    readout, prompt = board.readout, board.readout.plan.layout.prompt_frames
    emitted = np.isin(board.slots, feeds.target[(feeds.target >= 0) & (feeds.source >= 0)])  # [P + T, h, w]
    known = np.concatenate(
        [np.ones((prompt, *readout.steps.shape[1:]), dtype=np.bool_), (readout.steps >= 0) & (readout.steps < step)]
    )

    def colours(frame: int) -> NDArray[np.uint8]:
        cells = np.where(known[frame][..., None], KNOWN if frame >= prompt else _PROMPT, BLANK).astype(np.uint8)
        if frame >= prompt:
            cells[emitted[frame]] = ACCENT
        return cells

    words = ["What the step does", f"Feeds: {feeds_words(feeds)}"] + [""] * (lines - 1)
    placed = _band(items, board, words, colours, "does")
    if numbers_fit(readout.plan.steps, board.panels.pitch):
        for index, frame in enumerate(board.frames):
            if frame >= prompt:
                steps = np.where(known[frame] | emitted[frame], readout.steps[frame - prompt], -1)
                dx, dy = board.panels.place(index)
                items += cell_numbers(steps, colours(frame), board.panels.pitch, placed.x + dx, placed.y + dy)
    for j in feeds.which("late").tolist():
        placed.outline(items, int(feeds.position[j]), _LATE)
    hidden = _proxies(items, placed, feeds)
    entries: list[Entry] = [
        ("fill", ACCENT, "generated now"),
        ("fill", KNOWN, "known before"),
        ("fill", BLANK, "to come"),
    ]
    if len(feeds.which("proxy")):
        entries.append(("arrow", _PROXY, "proxy: a token stands in at a place that is not known yet"))
    if hidden:
        entries.append(("note", GREY, f"{hidden} prox{'y' if hidden == 1 else 'ies'} outside what is shown"))
    if len(feeds.which("late")):
        entries.append(("outline", _LATE, "fed late, only written to the cache"))
    missing = len(board.slots) - len(board.frames)
    if missing:
        entries.append(("note", GREY, f"{missing} of {len(board.slots)} frames not shown"))
    marks, end = legend(entries, placed.x, placed.y + board.panels.height + 12, width)
    items += marks
    return round(end)


def _proxies(items: list[Item], board: _Board, feeds: StepFeeds) -> int:
    """Outline and join the two cells of each proxy; returns how many are not shown."""
    hidden, half = 0, (board.panels.pitch - board.panels.gap) / 2
    for count, j in enumerate(feeds.which("proxy").tolist()):
        source, position = board.corner(int(feeds.source[j])), board.corner(int(feeds.position[j]))
        if source is None or position is None or count >= _MOST_ARROWS:
            hidden += 1
            continue
        board.outline(items, int(feeds.source[j]), _PROXY)
        board.outline(items, int(feeds.position[j]), _PROXY)
        way = np.subtract(position, source)
        edge = way * min(1.0, half / max(1, int(np.abs(way).max())))  # from the middle of the source to its edge
        start = (float(source[0] + half + edge[0]), float(source[1] + half + edge[1]))
        end = (position[0] + half, position[1] + half)
        high = source[1] - board.y < board.panels.panel_height / 2  # bows away from the headings
        bend = min(0.18, 60 / max(1.0, float(np.hypot(*way)))) * (-1 if high and way[0] > 0 else 1)
        items += arrow(start, end, _PROXY, bend=bend, width=2 if board.panels.pitch >= 14 else 1.4)
    return hidden


def _query_band(
    items: list[Item], board: _Board, feeds: StepFeeds, step: int, chosen: int | None, width: int, words: list[str]
) -> int:
    if chosen is None:
        row = Query(feed=0, sight=np.zeros(board.readout.plan.layout.positions, dtype=np.uint8), why_not="")
    else:
        row = query(board.readout.plan, feeds, step, chosen)
    table = np.array([SIGHTS[sight] for sight in Sight], dtype=np.uint8)
    lines = ["What one query sees", *words]
    placed = _band(items, board, lines, lambda frame: table[row.sight[board.slots[frame]]], "sees")
    shown = np.unique(row.sight[board.slots[list(board.frames)]])
    names = {Sight.SEEN: "seen", Sight.UNSEEN: "written, not seen", Sight.ZEROS: "seen as zeros, not written"}
    names[Sight.UNWRITTEN] = "not written"
    entries: list[Entry] = [("fill", SIGHTS[sight], name) for sight, name in names.items() if sight in shown]
    if row.why_not:
        entries = [("note", RED, f"The mask row is not drawn: {row.why_not}.")]
    if chosen is not None:
        if placed.outline(items, int(feeds.target[chosen]), ACCENT):
            entries.append(("outline", ACCENT, "the token it predicts"))
        if placed.outline(items, int(feeds.position[chosen]), _QUERY):
            entries.append(("outline", _QUERY, "the query's position"))
    outside = np.ones(len(row.sight), dtype=np.bool_)
    outside[board.slots.ravel()] = False
    if outside.any() and chosen is not None and not row.why_not:
        seen = int(np.count_nonzero(row.sight[outside] == Sight.SEEN))
        entries.append(("note", GREY, f"and {seen} of {int(outside.sum())} given tokens outside the grids"))
    marks, end = legend(entries, placed.x, placed.y + board.panels.height + 12, width)
    items += marks
    return round(end)
