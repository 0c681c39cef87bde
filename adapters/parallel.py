"""The processes of ``torchrun`` that one model is spread over: how they meet, and what they tell each other.

    torchrun --nproc-per-node 2 -m diagplan run ... --tensor-parallel

gloo carries tensors between CPUs, NCCL between GPUs. Every call here is one that all ranks make, in the same order.
"""

import os
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist
import torch.nn.functional as F  # noqa: N812
from torch import Tensor
from torch.distributed.rendezvous import rendezvous

from diagplan.adapters.contract import Ranks
from diagplan.planner.errors import RanksError, SpecError
from diagplan.planner.shown import shown

__all__ = ["Counted", "ProcessRanks", "Started", "joined_ranks", "met_ranks", "started_ranks"]

#: How long a rank waits for another one that is alive and says nothing.
_PATIENCE = timedelta(minutes=10)
_SAID = "diagplan/said"


class ProcessRanks:
    """The ranks of torch's default process group; see ``diagplan.adapters.contract.Ranks``.

    Args:
        device: ``"cpu"`` or this rank's GPU, ``"cuda:1"``.

    Attributes:
        rank, world: which this one is, of how many.
        device: as given.
    """

    def __init__(self, device: str) -> None:
        self.rank, self.world, self.device = dist.get_rank(), dist.get_world_size(), device

    def sum(self, x: Tensor) -> Tensor:
        """The sum of every rank's x; x is overwritten.

        Raises:
            RanksError: another rank no longer answers.
        """
        x = x.contiguous()
        self._together(lambda: dist.all_reduce(x))
        return x

    def join(self, x: Tensor, sizes: Sequence[int]) -> Tensor:
        """Every rank's x, [..., sizes[rank]], along the last axis.

        Raises:
            RanksError: another rank no longer answers.
        """
        widest = max(sizes)
        own = F.pad(x, (0, widest - x.shape[-1])).contiguous()
        parts = [torch.empty_like(own) for _ in sizes]
        self._together(lambda: dist.all_gather(parts, own))
        return torch.cat([part[..., :size] for part, size in zip(parts, sizes, strict=True)], dim=-1)

    def numbers(self, number: int) -> list[int]:
        """Every rank's number.

        Raises:
            RanksError: another rank no longer answers.
        """
        own = torch.tensor([number], dtype=torch.int64, device=self.device)
        parts = [torch.empty_like(own) for _ in range(self.world)]
        self._together(lambda: dist.all_gather(parts, own))
        return [int(part) for part in parts]

    def _together(self, call: Callable[[], object]) -> None:
        try:
            call()
        except RuntimeError as error:
            reason = re.sub(r"\[[^\[\]]*\.(?:cc|cpp):\d+\]\s*", "", str(error)).strip().partition("\n")[0]
            raise RanksError(
                f"expected all {self.world} ranks to go on together, got {shown(reason, 120)} on rank {self.rank}. "
                "Another rank has ended; if it said nothing, it was killed, for lack of memory perhaps. Start all anew."
            ) from None


class Counted:
    """Ranks that count what they tell each other, for estimates of time.

    Args:
        ranks: the ranks.

    Attributes:
        sums, joins, numbers_told: calls.
        summed_bytes, joined_bytes: of the tensors of all sums, and of the results of all joins.
    """

    def __init__(self, ranks: Ranks) -> None:
        self._ranks = ranks
        self.rank, self.world = ranks.rank, ranks.world
        self.sums = self.joins = self.numbers_told = self.summed_bytes = self.joined_bytes = 0

    def sum(self, x: Tensor) -> Tensor:
        """As the ranks do."""
        self.sums += 1
        self.summed_bytes += x.nbytes
        total: Tensor = self._ranks.sum(x)
        return total

    def join(self, x: Tensor, sizes: Sequence[int]) -> Tensor:
        """As the ranks do."""
        whole: Tensor = self._ranks.join(x, sizes)
        self.joins += 1
        self.joined_bytes += whole.nbytes
        return whole

    def numbers(self, number: int) -> list[int]:
        """As the ranks do."""
        self.numbers_told += 1
        return self._ranks.numbers(number)


@contextmanager
def joined_ranks(device: str) -> Iterator[ProcessRanks]:
    """The ranks that torchrun has started, met.

    Args:
        device: ``"cpu"``, or ``"cuda"``: each rank then has the GPU of its number on its machine.

    Raises:
        SpecError: not started by torchrun, one rank alone, fewer GPUs than ranks, or ranks that cannot meet.
    """
    with started_ranks() as started:
        yield started.meet(device)


@contextmanager
def started_ranks() -> Iterator["Started"]:
    """The ranks that torchrun has started, before they have met: what goes wrong then is already said once.

    Raises:
        SpecError: not started by torchrun, or one rank alone.
    """
    numbers = {name: os.environ.get(name, "") for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK")}
    if not all(number.isdecimal() for number in numbers.values()):
        raise SpecError(
            "expected --tensor-parallel under torchrun, got no RANK, WORLD_SIZE and LOCAL_RANK in the environment. "
            "Start it so: torchrun --nproc-per-node 2 -m diagplan ..., or leave --tensor-parallel out."
        )
    rank, world, local = (int(number) for number in numbers.values())
    if world < 2:
        raise SpecError(
            f"expected two ranks or more for --tensor-parallel, got WORLD_SIZE={shown(world)}. One rank would "
            "hold all of the model. Give torchrun --nproc-per-node 2 or more, or leave --tensor-parallel out."
        )
    try:
        # Under torchrun the store is the launcher's own and outlives the ranks.
        store, _, _ = next(rendezvous("env://", rank, world, timeout=_PATIENCE))
    except (RuntimeError, ValueError) as error:
        raise _strangers(error) from None
    yield Started(rank, world, local, store)
    if dist.is_initialized():
        dist.destroy_process_group()  # not after an error: it would wait for ranks that do not come


class Started:
    """A rank that knows of the others, and has not met them.

    Attributes:
        rank, world: which this one is, of how many.
    """

    def __init__(self, rank: int, world: int, local: int, store: Any) -> None:
        self.rank, self.world, self._local, self._store = rank, world, local, store

    def meet(self, device: str) -> ProcessRanks:
        """Wait for all ranks; ``device`` and errors as for ``joined_ranks``."""
        if device not in ("cpu", "cuda"):
            raise SpecError(
                f"expected device cpu or cuda with --tensor-parallel, got device={shown(device)}. Every rank takes the "
                "GPU of its own number. Say --device cuda."
            )
        if device == "cuda":
            gpus = torch.cuda.device_count()
            if self._local >= gpus:
                raise SpecError(
                    f"expected a GPU for every rank, got {shown(gpus)} GPU(s) for rank {self._local} there. Start no "
                    "more ranks than GPUs, or say --device cpu."
                )
            device = f"cuda:{self._local}"
            torch.cuda.set_device(device)
        kind, store = "gloo" if device == "cpu" else "nccl", self._store
        try:
            dist.init_process_group(kind, store=store, rank=self.rank, world_size=self.world, timeout=_PATIENCE)
        except (RuntimeError, ValueError) as error:
            raise _strangers(error) from None
        return ProcessRanks(device)

    def is_first_to_say(self) -> bool:
        """Whether no other rank has asked this before: the one that speaks of an error."""
        try:
            return bool(self._store.add(_SAID, 1) == 1)
        except RuntimeError:  # the rank that kept the store has gone
            return True


def met_ranks() -> ProcessRanks:
    """The ranks of a process that has met the others."""
    return ProcessRanks(f"cuda:{torch.cuda.current_device()}" if dist.get_backend() == "nccl" else "cpu")


def _strangers(error: Exception) -> SpecError:
    first_line = str(error).partition("\n")[0][:200]
    return SpecError(
        f"expected to meet the other ranks of torchrun, got {type(error).__name__}: {shown(first_line)}. Start all of "
        "them together, by torchrun."
    )
