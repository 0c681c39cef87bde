"""Layout + schedule + policies -> plan. Vectorised: no Python loop over tokens.

Three kinds of feed make up a plan. A *predictor* at position t - 1 chooses token t; where the token of t - 1 is not
known yet it feeds a proxy. A *given* feed writes a given token that predicts nothing. A *late* feed writes a
generated token that its predictor feed could not carry (see ``Policies.row_end``).
"""

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from diagplan.planner.arguments import require_kind
from diagplan.planner.errors import SpecError
from diagplan.planner.layout import Int32, Layout, require_int
from diagplan.planner.lowering import cap_width, pad_steps, step_order_slots
from diagplan.planner.plan import Plan
from diagplan.planner.policy import Policies, require_policies
from diagplan.planner.proxies import NO_PROXY, proxy_sources
from diagplan.planner.schedule import Schedule, cell_steps, record, require_schedule
from diagplan.planner.shown import shown

__all__ = ["SlotOrder", "compile_plan"]

SlotOrder = Literal["position", "step-order"]
Feeds = tuple[Int32, Int32, Int32, Int32]  # step, source, position, target


def compile_plan(
    layout: Layout,
    schedule: Schedule,
    policies: Policies | None = None,
    *,
    max_width: int | None = None,
    slots: SlotOrder = "position",
    pad: Sequence[int] | None = None,
) -> Plan:
    """Compile the decoding plan of one sequence.

    Args:
        layout: the token grid and its given tokens.
        schedule: when each cell is generated.
        policies: proxies and cache treatment; ``None`` is ``BUNDLES["default"]``.
        max_width: no step has more feeds than this (the prompt's prefill does not count); tokens are delayed.
        slots: ``"position"`` puts the keys and values of position p into cache slot p; ``"step-order"`` numbers the
            cache slots in the order of the feeds, so that each step writes one contiguous run.
        pad: widths to which steps are filled up with padding feeds, e.g. ``(1, 2, 4, 8)``; wider steps stay as
            they are.

    Raises:
        SpecError: the description is inconsistent; the message says what to change.

    >>> from diagplan.planner.schedule import Diagonal
    >>> compile_plan(Layout(frames=3, rows=40, cols=64, prompt_frames=2), Diagonal(k=2, d=10)).steps
    162
    """
    policies = Policies() if policies is None else policies
    require_kind("layout", layout, Layout, "The layout comes first: compile_plan(layout, schedule, policies).")
    require_schedule(schedule)
    require_policies(policies)
    for name in ("proxy", "row_end", "visibility"):
        if getattr(policies, name) in ("custom", "listed"):
            raise SpecError(
                f"expected a named policy, got {name}={shown(getattr(policies, name))}. "
                "That value marks plans made elsewhere. Choose a policy that says what to do."
            )
    if max_width is not None:
        max_width = require_int("max_width", max_width, 1)
    steps = cell_steps(schedule, layout)
    step, source, position, target = (
        np.concatenate(column)
        for column in zip(
            _predictors(layout, policies, steps), _given(layout, steps), _late(layout, policies, steps), strict=True
        )
    )
    order = np.argsort(step.astype(np.int64) * layout.positions + position, kind="stable")
    width = np.bincount(step, minlength=int(steps.max()) + 1)
    plan = Plan(
        layout=layout,
        schedule=record(schedule, layout),
        policies=policies,
        positions=layout.positions,
        given=layout.given_runs(),
        step_offsets=np.concatenate([[0], np.cumsum(width)]),
        source=source[order],
        position=position[order],
        slot=position[order],
        target=target[order],
        cache_slots=layout.positions,
        cache_initial="zeros" if policies.visibility == "causal" else "undefined",
    )
    if max_width is not None:
        plan = cap_width(plan, max_width)
    if slots == "step-order":
        plan = step_order_slots(plan)
    elif slots != "position":
        raise SpecError(f"expected slots to be 'position' or 'step-order', got slots={shown(slots)}.")
    return plan if pad is None else pad_steps(plan, pad)


def _known_steps(layout: Layout, steps: Int32) -> Int32:
    """The step whose logits choose each position's token, int32 [positions]; -1 for given ones."""
    known = np.full(layout.positions, -1, dtype=np.int32)
    known[layout.cell_slots()] = steps
    return known


def _predictors(layout: Layout, policies: Policies, steps: Int32) -> Feeds:
    target = layout.cell_slots().ravel()
    step = steps.ravel()
    position = target - 1
    source = position.copy()
    waiting = np.flatnonzero(_known_steps(layout, steps)[position] >= step)
    source[waiting] = proxy_sources(policies.proxy, layout, steps, waiting)
    illegal = np.flatnonzero(source == NO_PROXY)
    if len(illegal):
        shown = ", ".join(
            f"(frame {f}, row {r}, col {c}) in step {steps[f, r, c]}"
            for f, r, c in zip(*(axis.tolist() for axis in np.unravel_index(illegal[:3], steps.shape)), strict=True)
        )
        raise SpecError(
            f"expected a known image token to feed for every cell, got none for {len(illegal)} cell(s): {shown}. "
            "The slot before such a cell is unknown and nothing known can stand in for it. Give it a later step."
        )
    return step, source, position, target


def _block_starts(layout: Layout, steps: Int32) -> tuple[Int32, NDArray[np.intp], Int32]:
    """Per block of given tokens: its slots [G, 2], the raster index of the cell behind it, the step that feeds it.

    A block is fed when the frame behind it starts (or the row, within a frame), the prompt in step 0.
    """
    blocks = layout.given_runs()
    behind = np.searchsorted(layout.cell_slots().ravel(), blocks[:, 1])
    row_start = steps.min(axis=2)  # [T, h]
    frame, cell = np.divmod(behind, layout.rows * layout.cols)
    begin = np.where(cell == 0, row_start.min(axis=1)[frame], row_start.ravel()[behind // layout.cols])
    begin[0] = 0
    return blocks, behind, begin


def _given(layout: Layout, steps: Int32) -> Feeds:
    blocks, behind, begin = _block_starts(layout, steps)
    # The block's last token predicts the cell behind it; it is fed here only if that cell comes later still.
    length = blocks[:, 1] - (steps.ravel()[behind] == begin) - blocks[:, 0]
    position = np.repeat(blocks[:, 0] - np.cumsum(length) + length, length) + np.arange(length.sum())
    return _cache_only(np.repeat(begin, length), position)


def _late(layout: Layout, policies: Policies, steps: Int32) -> Feeds:
    """Feeds of generated tokens that predict nothing.

    ``refresh``: each token is fed in the step after it was generated, unless its predictor feed comes just then.
    ``keep``: only a token followed by given ones is fed, with them, and only if it is known by then.
    """
    if policies.row_end == "refresh":
        known = _known_steps(layout, steps)
        position = layout.cell_slots().ravel()[:-1]
        step = known[position] + 1
        fed = (step <= steps.max()) & (known[position + 1] != step)
        return _cache_only(step[fed], position[fed])
    blocks, behind, begin = _block_starts(layout, steps)
    fed = steps.ravel()[behind - 1] < begin
    fed[0] = False  # before the prompt there is no token
    return _cache_only(begin[fed], blocks[fed, 0] - 1)


def _cache_only(step: NDArray[np.integer[Any]], position: NDArray[np.integer[Any]]) -> Feeds:
    fed = position.astype(np.int32)
    return step.astype(np.int32), fed, fed, np.full_like(fed, -1)
