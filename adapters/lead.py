"""Embeddings in the place of ids, as ``lead`` of ``diagplan.adapters.contract.Model.forward``."""

from collections.abc import Callable

import torch
from torch import Tensor

__all__ = ["embedded"]


def embedded(ids: Tensor, lead: Tensor | None, embed: Callable[[Tensor], Tensor]) -> Tensor:
    """What is fed, [B, n, width]: the embeddings of ids, and embedding i of its row for an id -1 - i.

    Args:
        ids: int64 [B, n].
        lead: [B, P, width]; ``None``: all ids are ids.
        embed: ids from 0 on, [B, n], to embeddings.
    """
    if lead is None:
        return embed(ids)
    place = (-1 - ids).clamp(min=0)[..., None].expand(-1, -1, lead.shape[-1])
    return torch.where((ids < 0)[..., None], lead.gather(1, place), embed(ids.clamp(min=0)))
