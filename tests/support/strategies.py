"""Hypothesis strategies for layouts, schedules, policies and whole compile requests.

Every request drawn here is legal: what the compiler would refuse is avoided when drawing, not filtered afterwards.
"""

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from hypothesis import strategies as st
from numpy.typing import NDArray

from diagplan.planner.chain_compiler import chain_layouts
from diagplan.planner.compiler import SlotOrder, compile_plan
from diagplan.planner.layout import Layout
from diagplan.planner.plan import Plan
from diagplan.planner.policy import Policies, ProxyPolicy
from diagplan.planner.schedule import Diagonal, Imported, NextToken, Schedule, ZipAR

__all__ = [
    "PROXIES",
    "Request",
    "chain_requests",
    "compiled",
    "delays",
    "imported_orders",
    "layouts",
    "pad_widths",
    "plans",
    "policies",
    "requests",
    "schedules",
]

#: The proxy policies that the compiler knows, in the order of the specification's table.
PROXIES: tuple[ProxyPolicy, ...] = ("above", "latest", "prompt", "previous-frame", "above-predecessor")


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """The arguments of one ``compile_plan``."""

    layout: Layout
    schedule: Schedule
    policies: Policies = field(default_factory=Policies)
    max_width: int | None = None
    slots: SlotOrder = "position"
    pad: tuple[int, ...] | None = None


def compiled(request: Request, **changes: object) -> Plan:
    """The plan of a request, some of its arguments changed."""
    asked = replace(request, **changes)  # type: ignore[arg-type]
    return compile_plan(
        asked.layout,
        asked.schedule,
        asked.policies,
        max_width=asked.max_width,
        slots=asked.slots,
        pad=asked.pad,
    )


@st.composite
def layouts(draw: st.DrawFn, *, frames: int = 6, side: int = 9) -> Layout:
    """Layouts up to ``frames`` x ``side`` x ``side``, with lead, prompt frames and given tokens between."""
    prompt_frames = draw(st.sampled_from((0, 0, 1, 1, 2)))
    return Layout(
        frames=draw(st.integers(1, frames)),
        rows=draw(st.integers(1, side) | st.integers(2, side)),
        cols=draw(st.integers(1, side) | st.integers(2, side)),
        prompt_frames=prompt_frames,
        lead=draw(st.integers(0 if prompt_frames else 1, 4)),
        between_frames=draw(st.sampled_from((0, 0, 0, 1, 2, 5))),
        between_rows=draw(st.sampled_from((0,) * 8 + (1, 2))),  # after given tokens no row needs a proxy
    )


def _alone(layout: Layout, k: int) -> int:
    return (layout.rows - 1) * min(k, layout.cols) + layout.cols


@st.composite
def delays(draw: st.DrawFn, layout: Layout) -> tuple[int, int | None]:
    """Row and frame delays (k, d), the clamped ones and frames in sequence (d = None) included."""
    k = draw(st.integers(1, layout.cols + 1) | st.integers(1, max(1, layout.cols - 1)))
    alone = _alone(layout, k)
    stacked = layout.rows * min(k, layout.cols)
    return k, draw(st.none() | st.integers(1, alone + 1) | st.sampled_from((1, min(alone, stacked), alone)))


@st.composite
def imported_orders(draw: st.DrawFn, layout: Layout, *, label: str = "imported") -> Imported:
    """Legal orders: affine ones, permutations, and wavefronts of random monotone staircases."""
    shape = (layout.frames, layout.rows, layout.cols)
    frame, row, col = np.indices(shape)
    kind = draw(st.sampled_from(("affine", "permutation", "staircase", "blocks")))
    raw: NDArray[np.int64]
    if kind == "affine":
        a, b, c = (draw(st.integers(0, 7)) for _ in range(3))
        raw = a * frame + b * row + c * col
    elif kind == "permutation":
        raw = np.array(draw(st.permutations(range(layout.tokens)))).reshape(shape)
    elif kind == "staircase":
        # Rows start ever later, and so do columns, by random amounts: no cell before its left or upper neighbour.
        on, down, across = (
            np.cumsum([0, *draw(st.lists(st.integers(0, 3), min_size=n - 1, max_size=n - 1))]) for n in shape
        )
        raw = on[frame] + down[row] + across[col]
    else:
        size = draw(st.integers(1, 4))
        raw = (frame + 1) * (row % size * size + col % size)
    return Imported(steps=_without_gaps(raw if layout.prompt_frames else _first_cells_first(raw)), label=label)


def _first_cells_first(raw: NDArray[np.int64]) -> NDArray[np.int64]:
    """Without a prompt frame a stand-in is at hand if each frame's first cell comes before the rest of its frame."""
    start = np.arange(len(raw))
    order = raw - raw.min(axis=(1, 2), keepdims=True) + start[:, None, None] + 1
    order[:, 0, 0] = start
    return np.asarray(order)


def _without_gaps(raw: NDArray[np.int64]) -> NDArray[np.int64]:
    return np.unique(raw, return_inverse=True)[1].reshape(raw.shape)


@st.composite
def schedules(draw: st.DrawFn, layout: Layout) -> Schedule:
    """Any schedule on a layout."""
    kind = draw(st.sampled_from(("next-token", "diagonal", "diagonal", "zipar", "zipar-llamagen", "imported")))
    if kind == "next-token":
        return NextToken()
    if kind == "imported":
        return draw(imported_orders(layout, label=draw(st.sampled_from(("imported", "lpd", "näher")))))
    k, d = draw(delays(layout))
    if kind == "diagonal":
        return Diagonal(k=k, d=d)
    return ZipAR(window=k, variant="ideal" if kind == "zipar" else "llamagen")


@st.composite
def policies(draw: st.DrawFn, layout: Layout | None = None, *, causal: bool = True) -> Policies:
    """Policies with every named value; ``prompt`` only where the layout has a prompt frame."""
    prompt = layout is None or layout.prompt_frames > 0
    known = (*PROXIES, "prompt") if prompt else [name for name in PROXIES if name != "prompt"]
    return Policies(
        proxy=draw(st.sampled_from(known)),
        row_end=draw(st.sampled_from(("keep", "refresh"))),
        proxy_kv=draw(st.sampled_from(("visible", "hidden"))),
        visibility=draw(st.sampled_from(("written", "causal"))) if causal else "written",
    )


def pad_widths() -> st.SearchStrategy[tuple[int, ...] | None]:
    """No padding, one width, or several, in any order."""
    return st.none() | st.sampled_from(((1,), (4,), (1, 2, 4, 8), (16, 3), (2, 2, 40)))


@st.composite
def requests(draw: st.DrawFn, *, frames: int = 6, side: int = 9) -> Request:
    """Any legal request."""
    layout = draw(layouts(frames=frames, side=side))
    slots: SlotOrder = draw(st.sampled_from(("position", "position", "step-order")))
    return Request(
        layout=layout,
        schedule=draw(schedules(layout)),
        policies=draw(policies(layout, causal=slots == "position")),
        max_width=draw(st.none() | st.integers(1, 3) | st.integers(1, 2 * side)),
        slots=slots,
        pad=draw(pad_widths()),
    )


@st.composite
def plans(draw: st.DrawFn, *, frames: int = 6, side: int = 9) -> tuple[Request, Plan]:
    """A legal request and its compiled plan."""
    request = draw(requests(frames=frames, side=side))
    return request, compiled(request)


@st.composite
def chain_requests(draw: st.DrawFn, *, plans: int = 3, frames: int = 2, side: int = 4) -> dict[str, Any]:
    """The arguments of one ``compile_chain``: two plans or more, given tokens between some of them."""
    grids = draw(st.lists(layouts(frames=frames, side=side), min_size=2, max_size=plans))
    grids[0] = replace(grids[0], lead=max(1, grids[0].lead))
    between = [draw(st.sampled_from((0, 0, 1, 3))) for _ in grids[1:]]
    placed = chain_layouts([replace(grid, lead=grid.lead or 1) for grid in grids], between)
    return {
        "layouts": placed,
        "schedules": [draw(schedules(layout)) for layout in placed],
        "policies": [draw(policies(layout)) for layout in placed],
        "max_width": draw(st.none() | st.none() | st.integers(1, 4)),
    }
