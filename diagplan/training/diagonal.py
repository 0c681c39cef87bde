"""Training from a plan, on torch: the training plan's columns as tensors, its mask as attention, its loss.

Two ways of attention give the same numbers. ``sdpa`` cuts the sequence into parts of queries and each part's keys off
behind the last one it may see, so its boolean masks, made once for all layers, hold about one byte for each pair that
is seen. ``flex`` is FlexAttention with a block mask: memory linear in the entries, blocks that nobody sees are skipped.
It needs a GPU: on a CPU torch 2.13 has no backward pass for it, and uncompiled it holds all scores.
"""

from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from numpy.typing import NDArray
from torch import Tensor

from diagplan.planner.errors import SpecError
from diagplan.planner.training_plan import TrainingPlan, iter_visible
from diagplan.training.llama import Attend, TrainedMcAr

__all__ = ["AttentionKind", "LaidOut", "lay_out", "plan_logits", "plan_loss"]

AttentionKind = Literal["auto", "flex", "sdpa"]
_PART = 256  # queries of one part
_BLOCK = 128  # entries of one side of a block of the block mask

# Shapes: B samples, H heads, K key-value heads, N entries, U unwritten slots, M entries with a target, D head_dim.


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class LaidOut:
    """A training plan on a device.

    Args:
        source, position: of every entry, int64 [N].
        rows, target: the entries with a target, and those targets, int64 [M].
        attend: q [B, H, N, D], k and v [B, K, N, D] -> [B, H, N, D] under the plan's mask.
    """

    source: Tensor
    position: Tensor
    rows: Tensor
    target: Tensor
    attend: Attend


def lay_out(plan: TrainingPlan, device: str | torch.device = "cpu", *, attention: AttentionKind = "auto") -> LaidOut:
    """Put a training plan on a device; it serves any number of batches.

    Args:
        plan: from ``training_plan``.
        device: where the model is.
        attention: ``"flex"``, ``"sdpa"``, or ``"auto"``: flex on a GPU.

    Raises:
        SpecError: no such attention.
    """
    if attention not in get_args(AttentionKind):
        raise SpecError(f"expected attention to be one of auto, flex, sdpa, got attention={attention!r}.")
    place = torch.device(device)
    flex = attention == "flex" or (attention == "auto" and place.type == "cuda")
    rows = np.flatnonzero(plan.target >= 0)

    def put(column: NDArray[Any]) -> Tensor:
        return torch.from_numpy(column.astype(np.int64)).to(place)

    return LaidOut(
        source=put(plan.source),
        position=put(plan.position),
        rows=put(rows),
        target=put(plan.target[rows]),
        attend=_flex(plan, place) if flex else _sdpa(plan, place),
    )


def plan_logits(model: TrainedMcAr, laid: LaidOut, ids: Tensor) -> Tensor:
    """Logits [B, M, V] of the tokens at ``laid.target``, from the true ids of all slots, int64 [B, positions]."""
    logits: Tensor = model(ids[:, laid.source], laid.rows, position=laid.position, attend=laid.attend)
    return logits


def plan_loss(model: TrainedMcAr, laid: LaidOut, ids: Tensor) -> Tensor:
    """Nats a token: the mean cross-entropy of all targets of a batch, ids int64 [B, positions]."""
    logits = plan_logits(model, laid, ids)
    return F.cross_entropy(logits.float().flatten(0, 1), ids[:, laid.target].flatten())


def _sdpa(plan: TrainingPlan, device: torch.device) -> Attend:
    """Zeros for unwritten slots stand in front of the entries, so that a part's keys are one run of places.

    One zero is as good as another: a part has as many as its queries see at most, and a query sees the first of them.
    """
    parts = []
    for first, seen in iter_visible(plan, _PART):
        last = first + len(seen)
        reach = int(np.searchsorted(plan.step, plan.step[last - 1], side="right"))
        count = seen[:, plan.entries :].sum(axis=1)
        zeros = np.arange(count.max(initial=0)) < count[:, None]
        mask = torch.from_numpy(np.concatenate([zeros, seen[:, :reach]], axis=1)).to(device)
        parts.append((slice(first, last), zeros.shape[1], reach, mask))
    empty = max(zeros for _, zeros, _, _ in parts)

    def attend(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        k, v = (_behind_zeros(x, empty) for x in (k, v))
        grouped = q.shape[1] != k.shape[1]
        out = []
        for queries, zeros, reach, mask in parts:
            keys = slice(empty - zeros, empty + reach)
            out.append(
                F.scaled_dot_product_attention(
                    q[:, :, queries], k[:, :, keys], v[:, :, keys], attn_mask=mask, enable_gqa=grouped
                )
            )
        return torch.cat(out, dim=2)

    return attend


def _behind_zeros(x: Tensor, count: int) -> Tensor:
    return F.pad(x, (0, 0, count, 0)) if count else x


def _flex(plan: TrainingPlan, device: torch.device) -> Attend:
    from torch.nn.attention.flex_attention import flex_attention

    mask, empty = _block_mask(plan, device), len(plan.unwritten)
    kernel: Any = torch.compile(flex_attention) if device.type == "cuda" else flex_attention

    def attend(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        grouped = q.shape[1] != k.shape[1]
        q, k = q.to(v.dtype), k.to(v.dtype)  # rotation leaves float32 under autocast
        out: Tensor = kernel(q, _behind_zeros(k, empty), _behind_zeros(v, empty), block_mask=mask, enable_gqa=grouped)
        return out

    return attend


def _block_mask(plan: TrainingPlan, device: torch.device) -> Any:
    """The plan's mask as FlexAttention's BlockMask; its columns are the unwritten slots and then the entries."""
    from torch.nn.attention.flex_attention import BlockMask

    empty = len(plan.unwritten)

    def put(unwritten: NDArray[Any], entries: NDArray[Any]) -> Tensor:
        return torch.from_numpy(np.concatenate([unwritten, entries])).to(device)

    step = put(np.full(empty, -1, dtype=np.int32), plan.step)
    until = put(plan.unwritten_until, plan.until)
    position = put(plan.unwritten, plan.position)
    shown = put(np.ones(empty, dtype=np.bool_), ~plan.hidden)

    def sees(_b: Tensor, _h: Tensor, query: Tensor, key: Tensor) -> Tensor:
        own = query + empty
        by_rule = (step[key] <= step[own]) & (step[own] < until[key]) & (position[key] <= position[own]) & shown[key]
        return by_rule | (key == own)

    partly, wholly = _block_counts(plan)
    return BlockMask.from_kv_blocks(
        partly[0].to(device),
        partly[1].to(device),
        wholly[0].to(device),
        wholly[1].to(device),
        BLOCK_SIZE=_BLOCK,
        mask_mod=sees,
        seq_lengths=(plan.entries, plan.columns),
    )


def _block_counts(plan: TrainingPlan) -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]:
    """Of each block of queries the partly and the wholly seen blocks of keys: how many, and which first."""
    width = -(-plan.columns // _BLOCK)
    partly: list[NDArray[np.bool_]] = []
    wholly: list[NDArray[np.bool_]] = []
    for _, seen in iter_visible(plan, _BLOCK):
        framed = np.zeros((_BLOCK, width * _BLOCK), dtype=np.bool_)
        framed[: len(seen), : len(plan.unwritten)] = seen[:, plan.entries :]
        framed[: len(seen), len(plan.unwritten) : plan.columns] = seen[:, : plan.entries]
        blocks = framed.reshape(_BLOCK, width, _BLOCK)
        every: NDArray[np.bool_] = np.asarray(blocks.all(axis=(0, 2)))
        wholly.append(every)
        partly.append(np.asarray(blocks.any(axis=(0, 2)) & ~every))

    def listed(kinds: list[NDArray[np.bool_]]) -> tuple[Tensor, Tensor]:
        table = torch.from_numpy(np.stack(kinds))
        order = torch.argsort(table.to(torch.int8), dim=1, descending=True, stable=True)
        return table.sum(1).to(torch.int32)[None, None], order.to(torch.int32)[None, None]

    return listed(partly), listed(wholly)
