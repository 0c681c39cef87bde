"""Which workers a call gets: processes of this machine, each with its share of CPUs or GPUs, or actors of Ray."""

import os
import socket

from diagplan.backends.threads import Threads, usable_cpus
from diagplan.batch.driver import Pool
from diagplan.batch.messages import Opening
from diagplan.batch.processes import Processes, gpus_of
from diagplan.planner.arguments import require_number
from diagplan.planner.errors import SpecError
from diagplan.planner.layout import require_int

__all__ = ["local_workers", "open_pool", "require_crew"]


def require_crew(workers: int, gpus_per_worker: float) -> int:
    """The number of workers, if there can be so many.

    Raises:
        SpecError: an argument of another kind or out of range.
    """
    if not require_number("gpus_per_worker", gpus_per_worker, "Give 1, or 0.5.") > 0:
        raise SpecError(f"expected gpus_per_worker > 0, got gpus_per_worker={gpus_per_worker}. Give 1, or 0.5.")
    return require_int("workers", workers, 1, largest=100_000)


def open_pool(
    opening: Opening,
    workers: int,
    ray: str | None,
    *,
    gpus_per_worker: float = 1,
    device: str = "cpu",
    threads: Threads = None,
) -> Pool:
    """Workers, none of which has been started.

    Args:
        opening: what each worker is opened with.
        workers: how many.
        ray: as for ``diagplan.batch.run_batch``.
        gpus_per_worker: where the device is ``"cuda"``.
        device: of the models.
        threads: CPU threads of one pass; workers that measure them share this machine's CPUs evenly.

    Raises:
        SpecError: a device that several workers cannot share, no GPU, or no cluster.
        MissingExtraError: Ray is not installed.
    """
    if ray is not None:
        from diagplan.batch.ray_actors import RayActors

        cpus = threads if isinstance(threads, int) else 1
        return RayActors(opening, ray, cpus=cpus, gpus=gpus_per_worker if device.startswith("cuda") else 0)
    return local_workers(opening, workers, gpus_per_worker=gpus_per_worker, device=device, threads=threads)


def local_workers(
    opening: Opening,
    workers: int,
    *,
    gpus_per_worker: float = 1,
    device: str = "cpu",
    threads: Threads = None,
    wake: socket.socket | None = None,
) -> Processes:
    """Workers as processes of this machine, which share its CPUs and GPUs; none has been started.

    Args:
        opening: what each is opened with.
        workers: how many.
        gpus_per_worker: where the device is ``"cuda"``.
        device: of the models.
        threads: as for ``open_pool``.
        wake: as for ``Processes``.

    Raises:
        SpecError: several workers on one named GPU, or no GPU.
    """
    on_gpu = device.startswith("cuda")
    environments: list[dict[str, str]] = [{} for _ in range(workers)]
    if workers > 1 and not isinstance(threads, int) and "OMP_NUM_THREADS" not in os.environ:
        for one in environments:  # workers that each measure would each find the machine free
            one["OMP_NUM_THREADS"] = str(max(1, usable_cpus() // workers))
    if on_gpu and workers > 1:
        if device != "cuda":
            raise SpecError(
                f"expected device='cuda' for several workers, got device={device!r}. Each gets GPUs of its own; "
                "CUDA_VISIBLE_DEVICES says which there are."
            )
        visible = _visible_gpus()
        for number, one in enumerate(environments):
            one["CUDA_VISIBLE_DEVICES"] = gpus_of(number, gpus_per_worker, visible)
    return Processes(opening, environments, wake)


def _visible_gpus() -> list[str]:
    named = os.environ.get("CUDA_VISIBLE_DEVICES")
    if named is not None and named.strip():
        return [name.strip() for name in named.split(",") if name.strip()]
    import torch

    count = torch.cuda.device_count()
    if not count:
        raise SpecError("expected a CUDA device, got none. Give device='cpu'.")
    return [str(number) for number in range(count)]
