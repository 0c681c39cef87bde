"""How likely a model itself finds pictures: its loss in few wide passes, every token fed the true ones before it."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import fields, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from diagplan.adapters.contract import allowed_ids, coordinates_of
from diagplan.backends.given import plan_given_slots
from diagplan.backends.pads import pads_of
from diagplan.backends.passes import Layer
from diagplan.backends.prepared import not_finite
from diagplan.backends.program import PassColumns, program
from diagplan.backends.runtime import runtime_of
from diagplan.images.prompts import Prompted
from diagplan.planner.compiler import compile_plan
from diagplan.planner.schedule import NextToken

if TYPE_CHECKING:
    from diagplan.adapters.contract import Model

__all__ = ["losses_of", "teacher_forced_loss"]

Ids = NDArray[np.int64]

# Shapes: B pictures, h rows and w columns of tokens, n feeds of a pass, m of them with a target, V logits.


def teacher_forced_loss(
    model: "Model",
    prompted: Prompted,
    tokens: Ids,
    earlier: Sequence[Ids] = (),
    *,
    lead: Any = None,
    chunk: int = 256,
) -> NDArray[np.float64]:
    """Mean loss of each picture's tokens in nats, float64 [B], of the conditional branch at temperature 1.

    Only ids that a cell may take count. Guidance plays no part: it is the model's own opinion of the picture.

    Args:
        model: on torch.
        prompted: the prompts of the pictures.
        tokens: ids of the picture's grid, int64 [B, h, w].
        earlier: those of the grids before it.
        lead: embeddings that negative ids of the prompts stand for, [B, P, width], of a model that is led by those.
        chunk: feeds of a pass.

    Raises:
        NumericError: logits that are not finite.
    """
    plan = compile_plan(prompted.layouts[-1], NextToken())
    runtime, count = runtime_of(model), len(tokens)
    pads = pads_of(plan, model, prompted.branches[0].pad, count, count)
    ranges = allowed_ids(model.vocabulary, plan.layout)
    places = coordinates_of(model, *prompted.layouts)
    merged = list(_merged(program(plan, chunk=chunk, length_step=runtime.length_step), chunk))
    keys = np.zeros((count, plan.positions), dtype=np.int64)
    known = np.full((count, plan.positions + 1), -1, dtype=np.int64)
    known[:, plan_given_slots(plan)] = _given(prompted, earlier)
    cells = plan.layout.cell_slots()[0]
    known[:, cells] = tokens
    state = runtime.put(known)
    total, led = np.zeros(count), () if lead is None else (lead,)
    with runtime.inference():
        cache = model.new_cache(count, max(columns.mask.shape[1] for columns in merged))
        for columns, p in zip(merged, Layer(runtime, keys, ranges, places, pads).laid_out(merged, {}), strict=True):
            logits = model.forward(state[:, p.source], p.position, p.slot, p.seen, cache, p.rows, *led)
            if not len(p.rows):
                continue
            if not runtime.all_finite(logits):
                raise not_finite(p.step)
            total += _loss(runtime.float32(logits), ranges[columns.target], known[:, columns.target], runtime)
    return total / plan.layout.tokens


def losses_of(
    model: "Model",
    prompted: Prompted,
    tokens: Ids,
    earlier: Sequence[Ids] = (),
    *,
    batch: int,
    embeddings: Callable[[Any, Prompted], Any] | None = None,
) -> NDArray[np.float64]:
    """``teacher_forced_loss`` of every picture, float64 [B], ``batch`` of them at a time.

    Args:
        model: as there, like the other arguments.
        prompted: the prompts of all pictures.
        tokens: of all pictures.
        earlier: the same.
        batch: pictures at a time.
        embeddings: what some prompts' ids stand for, by model and prompts, as of a ``Painter``.

    Raises:
        NumericError: as there.
    """
    losses = []
    for at in range(0, len(tokens), batch):
        part = slice(at, at + batch)
        held, before = prompted.only(part), [grid[part] for grid in earlier]
        # Of all branches of guidance; the conditional one comes first.
        lead = None if embeddings is None else embeddings(model, held)[: len(held.texts)]
        losses.append(teacher_forced_loss(model, held, tokens[part], before, lead=lead))
    return np.concatenate(losses)


def _given(prompted: Prompted, earlier: Sequence[Ids]) -> Ids:
    """The given ids of the picture's plan: the prompt, the grids before it, what stands between rows."""
    lead = prompted.branches[0].ids
    flat = [grid.reshape(len(lead), -1) for grid in earlier]
    rows = prompted.given(0, at=-1)[:, lead.shape[1] :]
    return np.concatenate([lead, *flat, rows], axis=1)


def _merged(passes: Iterator[PassColumns], chunk: int) -> Iterator[PassColumns]:
    """Passes of next-token prediction joined: every feed is known, and none sees what comes after it."""
    held: list[PassColumns] = []
    for columns in passes:
        if held and sum(len(one.source) for one in held) + len(columns.source) > chunk:
            yield _joined(held)
            held = []
        held.append(columns)
    yield _joined(held)


def _joined(passes: Sequence[PassColumns]) -> PassColumns:
    length = max(columns.mask.shape[1] for columns in passes)
    masks = [np.pad(columns.mask, ((0, 0), (0, length - columns.mask.shape[1]))) for columns in passes]
    starts = np.cumsum([0, *(len(columns.source) for columns in passes)])
    rows = [columns.rows + start for columns, start in zip(passes, starts, strict=False)]
    apart = ("step", "last", "mask", "rows")
    joined: dict[str, Any] = {
        field.name: np.concatenate([getattr(columns, field.name) for columns in passes])
        for field in fields(PassColumns)
        if field.name not in apart
    }
    return replace(passes[-1], mask=np.concatenate(masks), rows=np.concatenate(rows), **joined)


def _loss(logits: Any, ranges: Ids, chosen: Ids, runtime: Any) -> NDArray[np.float64]:
    """The sum over a pass of -log p of what was chosen, [B]."""
    values = runtime.numpy(logits).astype(np.float64)
    total = np.zeros(len(values))
    for at, (low, high) in enumerate(ranges.tolist()):
        row = values[:, at, low:high]
        most = row.max(axis=1)
        normal = most + np.log(np.exp(row - most[:, None]).sum(axis=1))
        total += normal - row[np.arange(len(row)), chosen[:, at] - low]
    return total
