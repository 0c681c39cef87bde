"""Plans in words: the schedule, what is given, the place of a slot, the feeds of a step."""

from collections import Counter

from diagplan.drawing.readout import FeedKind, Readout, StepFeeds
from diagplan.planner.compare import Difference
from diagplan.planner.layout import Layout
from diagplan.planner.plan import Plan

__all__ = [
    "difference_words",
    "feeds_words",
    "given_words",
    "profile_words",
    "query_words",
    "schedule_words",
    "slot_words",
]

_LABEL = 40  # characters of a foreign label that are shown
_NAMES = {
    "next-token": "next-token decoding",
    "diagonal": "diagonal decoding",
    "zipar": "ZipAR",
    "zipar-llamagen": "ZipAR as released for LlamaGen",
}


def schedule_words(plan: Plan) -> str:
    """The schedule and its delays, e.g. ``diagonal decoding, k=2 d=10``; delays that were clamped say so."""
    schedule = plan.schedule
    asked = {"k": (schedule.k, schedule.k_in_force), "d": (schedule.d, schedule.d_in_force)}
    if schedule.name.startswith("zipar"):
        asked = {"window": asked["k"]}
    delays = [
        f"{name}={value}" + (f" ({force} in force)" if force is not None and force != value else "")
        for name, (value, force) in asked.items()
        if value is not None
    ]
    if schedule.name in ("imported", "custom"):
        label = "".join(char for char in str(schedule.label or "imported") if char.isprintable())
        name = "order " + (label if len(label) <= _LABEL else label[: _LABEL - 3] + "...")
    else:
        name = _NAMES.get(schedule.name, schedule.name)
    words = ", ".join([name, " ".join(delays)] if delays else [name])
    if schedule.name == "diagonal" and schedule.d is None and plan.layout.frames > 1:
        words += ", frames in sequence"
    return words


def given_words(layout: Layout) -> str:
    """What is given, e.g. ``1 prompt frame, 11 tokens between frames``."""
    several = layout.prompt_frames + layout.frames > 1
    parts = [
        (layout.lead, "leading token"),
        (layout.prompt_frames, "prompt frame"),
        (layout.between_frames if several else 0, "token between frames"),
        (layout.between_rows if layout.rows > 1 else 0, "token between rows"),
    ]
    plural = {"token between frames": "tokens between frames", "token between rows": "tokens between rows"}
    return ", ".join(
        f"{number} {name if number == 1 else plural.get(name, name + 's')}" for number, name in parts if number
    )


def slot_words(layout: Layout, slot: int) -> str:
    """A slot in words: ``frame 1 row 3 col 0``, ``prompt frame 0 row 3 col 0`` or ``given 5``.

    >>> slot_words(Layout(frames=1, rows=2, cols=3, lead=1), 4)
    'frame 0 row 1 col 0'
    """
    if not 0 <= slot < layout.positions:
        return f"slot {slot} (outside)"
    frame, inside = divmod(slot - layout.lead, layout.frame_stride)
    row, col = divmod(inside, layout.row_stride)
    if slot < layout.lead or row >= layout.rows or col >= layout.cols:
        return f"given {slot}"
    if frame < layout.prompt_frames:
        return f"prompt frame {frame} row {row} col {col}"
    return f"frame {frame - layout.prompt_frames} row {row} col {col}"


def feeds_words(feeds: StepFeeds) -> str:
    """How many feeds of each kind, e.g. ``3 predictors, 1 proxy``."""
    many = {"predictor": "predictors", "proxy": "proxies"}
    counts = Counter(feeds.kinds)
    kinds: tuple[FeedKind, ...] = ("predictor", "proxy", "given", "late", "padding")
    return (
        ", ".join(f"{n} {kind if n == 1 else many.get(kind, kind)}" for kind in kinds if (n := counts[kind])) or "none"
    )


def query_words(layout: Layout, feeds: StepFeeds, chosen: int | None) -> str:
    """Which feed of a step a drawing shows, and what it predicts."""
    if chosen is None:
        return "The step has no query."
    source, position, target = (int(column[chosen]) for column in (feeds.source, feeds.position, feeds.target))
    words = f"Feed {chosen} of the step, at {slot_words(layout, position)}"
    words += f", with the token of {slot_words(layout, source)}" if source not in (position, -1) else ""
    return words + (f", predicts {slot_words(layout, target)}" if target >= 0 else ", predicts nothing")


def profile_words(readout: Readout) -> str:
    """What the width profile shows, with its largest and mean width."""
    widths = readout.widths
    if not len(widths):
        return "Tokens fed in each forward pass: the plan has no steps"
    words = f"Tokens fed in each forward pass: {int(widths.max())} at most, {widths.mean():.1f} on average"
    words += f"; the prompt's {readout.prefill} not counted" if readout.prefill else ""
    return words + (f"; {readout.padding} padding feeds not counted" if readout.padding else "")


def difference_words(difference: Difference, a: Plan, b: Plan) -> str:
    """How one feed differs between two plans, e.g. ``frame 0 row 1 col 0: step 1 in a, 2 in b``."""
    present = a if difference.what != "only b" else b
    if difference.target >= 0:
        feed = slot_words(present.layout, difference.target)
    else:
        feed = f"the feed of {slot_words(present.layout, difference.position)} alone"
    if difference.what in ("only a", "only b"):
        step = max(difference.a, difference.b)
        return f"{feed}: {difference.what}, in step {step}"
    if difference.what == "source":
        return f"{feed}: fed {slot_words(a.layout, difference.a)} in a, {slot_words(b.layout, difference.b)} in b"
    if difference.what == "mask":
        return f"{feed}: sees {difference.a} positions in a, {difference.b} in b" + (
            ", not the same ones" if difference.a == difference.b else ""
        )
    name = {"slot": "cache slot"}.get(difference.what, difference.what)
    return f"{feed}: {name} {difference.a} in a, {difference.b} in b"
