"""Data parallel training under torch's own launcher: each process takes its share of every batch.

    torchrun --nproc-per-node 2 -m diagplan finetune ...

Gradients are averaged over the processes, which begin with the same weights and so keep the same ones; a batch is drawn
whole by each of them and cut into equal shares. Outside of the launcher there is one worker, which has it all.
"""

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import Tensor

from diagplan.planner.errors import SpecError

__all__ = ["ALONE", "Workers", "joined"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Workers:
    """The processes of one training, seen from one of them.

    Args:
        rank: which this one is.
        count: of all.
    """

    rank: int = 0
    count: int = 1

    @property
    def first(self) -> bool:
        """Whether this one writes files and talks."""
        return self.rank == 0

    def share(self, batch: Tensor) -> Tensor:
        """This worker's part of a batch.

        Raises:
            SpecError: a batch that cannot be cut into equal parts.
        """
        if len(batch) % self.count:
            raise SpecError(
                f"expected a batch that {self.count} processes can share, got batch={len(batch)}. "
                f"Give a multiple of {self.count}."
            )
        each = len(batch) // self.count
        return batch[self.rank * each : (self.rank + 1) * each]

    def average(self, tensors: Iterable[Tensor | None]) -> None:
        """Replace each tensor by its mean over the workers."""
        if self.count == 1:
            return
        for tensor in tensors:
            if tensor is not None:
                dist.all_reduce(tensor)
                tensor /= self.count

    def wait(self) -> None:
        """Go on when all workers have come here."""
        if self.count > 1:
            dist.barrier()


ALONE = Workers()


@contextmanager
def joined(device: str) -> Iterator[tuple[Workers, str]]:
    """The workers that torchrun has started, and the device of this one; alone where it has not.

    Raises:
        SpecError: torchrun's variables without what goes with them, or workers that cannot meet.
    """
    if "WORLD_SIZE" not in os.environ or "RANK" not in os.environ:
        yield ALONE, device
        return
    kind = torch.device(device).type
    try:
        if kind == "cuda":
            device = f"cuda:{int(os.environ.get('LOCAL_RANK', '0'))}"
            torch.cuda.set_device(device)
        dist.init_process_group("nccl" if kind == "cuda" else "gloo")
    except (RuntimeError, ValueError) as error:
        raise SpecError(
            f"expected to meet the other processes of torchrun, got {type(error).__name__}: "
            f"{str(error).splitlines()[0]}. Start it with torchrun, or unset RANK and WORLD_SIZE."
        ) from None
    try:
        yield Workers(rank=dist.get_rank(), count=dist.get_world_size()), device
    finally:
        dist.destroy_process_group()
