"""Workers as actors of Ray, on as many machines as its cluster has.

NOTE: why not Ray Data's ``map_batches``? It retries a whole block without a word about which clip killed its actor,
cannot stop early at a number of errors, and brings pyarrow and pandas for blocks of files that are written anyway. With
plain actors the driver, the same as of local processes, knows which job was in hand, and how often.
"""

import sys
from collections.abc import Sequence
from contextlib import redirect_stdout
from typing import Any

from diagplan.batch.jobs import Job
from diagplan.batch.messages import Lost, Opening, Reply
from diagplan.batch.worker import Station
from diagplan.planner.errors import SpecError
from diagplan.planner.extras import require_packages

__all__ = ["RayActors"]


class RayActors:
    """Workers on a cluster; every one needs diagplan, and sees the same files under the same names.

    Args:
        opening: what each worker is opened with.
        address: ``"auto"``, an address, or ``"local"``: Ray is started on this machine.
        cpus: of a worker.
        gpus: of a worker; may be less than one.

    Raises:
        MissingExtraError: Ray is not installed.
        SpecError: no cluster is there.
    """

    def __init__(self, opening: Opening, address: str, *, cpus: float = 1, gpus: float = 0) -> None:
        require_packages("workers on Ray", "ray")
        import ray

        self._ray, self._opening = ray, opening
        self._began = not ray.is_initialized()
        # It prints what becomes of actors on stdout, which is for the command's own words.
        self._quiet = redirect_stdout(sys.stderr)
        self._quiet.__enter__()
        if self._began:
            try:
                ray.init(
                    address=None if address == "local" else address,
                    log_to_driver=False,
                    logging_level="ERROR",
                    include_dashboard=False if address == "local" else None,
                )
            except (ConnectionError, ValueError, RuntimeError) as error:
                self._quiet.__exit__(None, None, None)
                raise SpecError(
                    f"expected a Ray cluster at {address!r}, got none: {str(error)[:300]} Start one with `ray start "
                    "--head`, or say 'local'."
                ) from None
        # A worker that is lost is replaced here, with what it had in hand.
        self._kind = ray.remote(num_cpus=cpus, num_gpus=gpus, max_restarts=0, max_task_retries=0)(Station)
        self._actors: dict[int, Any] = {}
        self._answers: dict[Any, int] = {}

    @property
    def actors(self) -> dict[int, Any]:
        """The actor of each worker."""
        return self._actors

    def start(self, number: int) -> None:
        """Start a worker, also in the place of one that is lost, and open it."""
        self._stop(number)
        self._actors[number] = self._kind.remote()
        self.send(number, self._opening)

    def send(self, number: int, message: Opening | Sequence[Job]) -> None:
        """Give a worker something to do."""
        self._answers[self._actors[number].answer.remote(message)] = number

    def wait(self, seconds: float) -> list[tuple[int, Reply]]:
        """Answers that have come, waiting so long for the first of them."""
        from ray.exceptions import RayError

        done, _ = self._ray.wait(list(self._answers), num_returns=1, timeout=seconds)
        answers: list[tuple[int, Reply]] = []
        for reference in done:
            number = self._answers.pop(reference)
            try:
                reply: Reply = self._ray.get(reference)
            except RayError as error:
                reply = Lost(reason=f"{type(error).__name__}: {' '.join(str(error).split())}"[:300])
            answers.append((number, reply))
        return answers

    def close(self) -> None:
        """End all workers, and Ray where it was begun here."""
        for number in list(self._actors):
            self._stop(number)
        if self._began:
            self._ray.shutdown()
        self._quiet.__exit__(None, None, None)

    def _stop(self, number: int) -> None:
        actor = self._actors.pop(number, None)
        if actor is not None:
            self._ray.kill(actor)
        self._answers = {reference: other for reference, other in self._answers.items() if other != number}
