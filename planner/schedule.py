"""When each cell is generated: the schedules, and the step number of every cell.

The diagonal schedule is affine, step(f, r, c) = d' f + k' r + c (Diagonal Decoding, arXiv 2503.14070, section 3),
with k' = min(k, w) and d' = min(d, F), F = (h - 1) k' + w being the steps of one frame alone.
"""

from dataclasses import dataclass, field
from itertools import islice
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from diagplan.planner.arguments import require_kind
from diagplan.planner.errors import SpecError
from diagplan.planner.layout import MAX_POSITIONS, Layout, store_int
from diagplan.planner.shown import shown
from diagplan.planner.values import ByValue

__all__ = [
    "MAX_LABEL",
    "Diagonal",
    "Imported",
    "NextToken",
    "Schedule",
    "ScheduleName",
    "ScheduleRecord",
    "ZipAR",
    "cell_steps",
    "record",
    "recorded",
    "require_schedule",
]

#: The longest label of an imported order.
MAX_LABEL = 200

ScheduleName = Literal["next-token", "diagonal", "zipar", "zipar-llamagen", "imported", "custom"]


@dataclass(frozen=True, slots=True, kw_only=True)
class NextToken:
    """One token a step in raster order: k = w and d = h w.

    >>> NextToken()
    NextToken()
    """


@dataclass(frozen=True, slots=True, kw_only=True)
class Diagonal:
    """Diagonal Decoding: row r + 1 starts ``k`` steps after row r, frame f + 1 starts ``d`` steps after frame f.

    Args:
        k: row delay in steps, at least 1; more than w is clamped to w.
        d: frame delay in steps, at least 1; more than F is clamped to F; ``None``: frames in sequence (d = F).

    Raises:
        SpecError: ``k`` or ``d`` is not an integer or below 1.

    >>> Diagonal(k=2, d=10)
    Diagonal(k=2, d=10)
    """

    k: int
    d: int | None = None

    def __post_init__(self) -> None:
        store_int(self, "k", 1)
        if self.d is not None:
            store_int(self, "d", 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class ZipAR:
    """ZipAR: a row starts when the row above has ``window`` tokens; frames in sequence.

    Args:
        window: tokens of the row above that must be known, at least 1; more than w is clamped to w.
        variant: ``"ideal"`` is diagonal(k=window). ``"llamagen"`` is the public release for LlamaGen: row 0 is
            generated alone, so a frame takes 2 w + (h - 2) window steps.

    Raises:
        SpecError: ``window`` is not an integer or below 1, or the variant is unknown.

    >>> ZipAR(window=8)
    ZipAR(window=8, variant='ideal')
    """

    window: int
    variant: Literal["ideal", "llamagen"] = "ideal"

    def __post_init__(self) -> None:
        store_int(self, "window", 1)
        if self.variant not in ("ideal", "llamagen"):
            raise SpecError(f"expected variant to be 'ideal' or 'llamagen', got variant={shown(self.variant)}.")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Imported(ByValue):
    """An order that comes from elsewhere (LPD, RandAR, NAR, PAR, ...): the step of every cell.

    Args:
        steps: integers [T, h, w] (or [h, w] for one frame), from 0, every step used by at least one cell.
        label: what to call the order in plans and tables.

    Raises:
        SpecError: not integers, or a step below 0, or a step that no cell uses; a label that is not printable or over
            ``MAX_LABEL`` characters.

    >>> Imported(steps=[[0, 1], [1, 2]], label="nar").steps.shape
    (1, 2, 2)
    """

    steps: NDArray[np.int32] = field(repr=False)
    label: str = "imported"

    def __init__(self, *, steps: ArrayLike, label: str = "imported") -> None:
        require_kind("label", label, str, "Give the order a name.")
        if len(label) > MAX_LABEL:
            raise SpecError(f"expected a label of at most {MAX_LABEL} characters, got {len(label)}. Shorten it.")
        if not label.isprintable():
            raise SpecError(f"expected a printable label, got label={shown(label)}. Leave control characters out.")
        object.__setattr__(self, "steps", _checked_order(steps))
        object.__setattr__(self, "label", label)


Schedule = NextToken | Diagonal | ZipAR | Imported


def require_schedule(schedule: object) -> None:
    """Raise ``SpecError`` unless the value is a schedule."""
    remedy = "Give one of NextToken(), Diagonal(k=...), ZipAR(window=...), Imported(steps=...)."
    require_kind("schedule", schedule, Schedule, remedy, what="a schedule")


@dataclass(frozen=True, slots=True, kw_only=True)
class ScheduleRecord:
    """What a plan remembers of its schedule: the delays asked for and those in force after clamping.

    ``k`` is the row delay (the window for ZipAR), ``d`` the frame delay; ``None`` where the schedule has none.
    ``steps`` is the number of passes before any width cap; ``order`` the step of every cell in raster order, kept
    for imported orders only, which no formula gives. The name ``custom`` is for plans made by other
    producers, whose steps are taken as they stand.
    """

    name: ScheduleName
    steps: int
    k: int | None = None
    d: int | None = None
    k_in_force: int | None = None
    d_in_force: int | None = None
    label: str | None = None
    order: tuple[int, ...] | None = field(default=None, repr=False)


def _require_cells(steps: object) -> None:
    """Refuse lists that NumPy would take for ever to take apart: one list in many places is of any size."""
    level: list[object] = [steps]
    for _ in range(3):
        parts = (part for value in level if isinstance(value, list | tuple) for part in value)
        level = list(islice(parts, MAX_POSITIONS + 1))
        if len(level) > MAX_POSITIONS:
            raise SpecError(f"expected steps of at most {MAX_POSITIONS} cells, got more. Import fewer frames.")
    if any(isinstance(value, list | tuple) for value in level):
        raise SpecError("expected steps of shape [T, h, w] or [h, w], got lists in lists of a cell. Leave out a level.")


def _checked_order(steps: ArrayLike) -> NDArray[np.int32]:
    _require_cells(steps)
    try:
        order = np.asarray(steps)
    except ValueError as error:
        raise SpecError(f"expected steps to be a rectangular array, got a ragged one ({str(error)[:200]}).") from None
    if order.ndim == 2:
        order = order[None]
    if order.ndim != 3 or order.size == 0:
        raise SpecError(f"expected steps of shape [T, h, w] or [h, w], not empty, got shape {order.shape}.")
    if order.dtype.kind not in "iu":
        raise SpecError(f"expected steps to be integers, got dtype {order.dtype}. Convert them to whole numbers.")
    if order.min() < 0 or order.max() >= order.size:
        worst = order.min() if order.min() < 0 else order.max()
        raise SpecError(
            f"expected steps from 0 to {order.size - 1}, got {worst}. Number the steps from 0 without gaps."
        )
    used = np.zeros(int(order.max()) + 1, dtype=np.bool_)
    used[order] = True
    if not used.all():
        empty = int(np.argmin(used))
        raise SpecError(f"expected every step to have a cell, got none in step {empty}. Renumber without gaps.")
    checked = order.astype(np.int32)
    checked.flags.writeable = False
    return checked


def record(schedule: Schedule, layout: Layout) -> ScheduleRecord:
    """The schedule's name, the delays asked for, those in force on this layout, and its number of steps."""
    h, w = layout.rows, layout.cols
    if isinstance(schedule, Imported):
        order = tuple(schedule.steps.ravel().tolist())
        return ScheduleRecord(name="imported", steps=max(order) + 1, label=schedule.label, order=order)
    k: int | None
    d: int | None = None
    name: ScheduleName
    match schedule:
        case NextToken():
            name, k = "next-token", None
        case Diagonal():
            name, k, d = "diagonal", schedule.k, schedule.d
        case ZipAR():
            name, k = ("zipar" if schedule.variant == "ideal" else "zipar-llamagen"), schedule.window
    k_in_force = w if k is None else min(k, w)
    alone = (h - 1) * k_in_force + w
    if name == "zipar-llamagen" and h > 1:
        alone += w - k_in_force
    d_in_force = alone if d is None else min(d, alone)
    steps = (layout.frames - 1) * d_in_force + alone
    return ScheduleRecord(name=name, steps=steps, k=k, d=d, k_in_force=k_in_force, d_in_force=d_in_force)


def recorded(kept: ScheduleRecord) -> Schedule:
    """The schedule that a plan remembers, for other numbers of frames.

    Raises:
        SpecError: an imported order or another producer's, which fit one number of frames.

    >>> recorded(record(Diagonal(k=2), Layout(frames=1, rows=3, cols=4, lead=1)))
    Diagonal(k=2, d=None)
    """
    match kept.name:
        case "next-token":
            return NextToken()
        case "diagonal" if kept.k is not None:
            return Diagonal(k=kept.k, d=kept.d)
        case "zipar" | "zipar-llamagen" if kept.k is not None:
            return ZipAR(window=kept.k, variant="ideal" if kept.name == "zipar" else "llamagen")
    raise SpecError(
        f"expected a schedule by name, which gives the steps of any number of frames, got {kept.name}. Compile one by "
        "--k, --window or --schedule next-token."
    )


def cell_steps(schedule: Schedule, layout: Layout) -> NDArray[np.int32]:
    """The step in which each cell is generated, int32 [T, h, w].

    Raises:
        SpecError: an imported order has another shape than the layout.
    """
    shape = (layout.frames, layout.rows, layout.cols)
    if isinstance(schedule, Imported):
        if schedule.steps.shape != shape:
            raise SpecError(
                f"expected steps of shape [T, h, w] = {list(shape)}, got {list(schedule.steps.shape)}. "
                "Give frames, rows and cols of the order."
            )
        return schedule.steps
    delays = record(schedule, layout)
    assert delays.k_in_force is not None
    assert delays.d_in_force is not None
    row = np.arange(layout.rows, dtype=np.int32) * delays.k_in_force
    if delays.name == "zipar-llamagen":
        row[1:] += layout.cols - delays.k_in_force
    frame = np.arange(layout.frames, dtype=np.int32) * delays.d_in_force
    return np.asarray(frame[:, None, None] + row[:, None] + np.arange(layout.cols, dtype=np.int32), dtype=np.int32)
