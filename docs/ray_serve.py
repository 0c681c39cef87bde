"""Several services behind Ray Serve; docs/serve.md explains it, `make test-ray` runs it.

    ray start --head
    python -m docs.ray_serve /shared/spools 4

Replica N answers below /N, has the spool N of its own, and is an application of its own: Ray Serve, which sends a
request to any replica of an application, would else ask one for the jobs of another.
"""

import hashlib
import sys
from pathlib import Path
from typing import Any

from diagplan.batch import Recipe

__all__ = ["prefix_of", "replica", "run"]


def prefix_of(key: str, replicas: int) -> str:
    """Where the job of an Idempotency-Key belongs, the same for all clients.

    >>> prefix_of("order 17", 4)
    '/0'
    """
    return f"/{int.from_bytes(hashlib.sha256(key.encode()).digest()[:8], 'big') % replicas}"


def replica(spool: Path, recipe: Recipe, **more: Any) -> Any:
    """An application of one replica: the same HTTP service as `diagplan serve`, with its worker beside it.

    Args:
        spool: of this replica alone; where replicas may move between machines, in a file system that all see.
        recipe: what is done with every clip.
        more: for `diagplan.serve.service.Service`, such as `settings=Settings(token=...)`.
    """
    from ray import serve

    def build() -> Any:
        from diagplan.serve.app import make_app
        from diagplan.serve.service import Service
        from diagplan.serve.settings import Settings
        from diagplan.serve.spool import Spool

        return make_app(Service(recipe, Spool(spool), **{"settings": Settings(), **more}))

    deployment = serve.deployment(
        name="clips",
        num_replicas=1,
        max_ongoing_requests=1000,  # a client that follows events is one of them
        graceful_shutdown_timeout_s=600,  # jobs in hand are finished
        ray_actor_options={"num_cpus": 1},  # a GPU: "num_gpus": 1
    )
    return deployment(serve.ingress(build)()).bind()


def run(folder: Path, replicas: int, recipe: Recipe, **more: Any) -> None:
    """Start them all; again with the same folder, they go on with what is in it."""
    from ray import serve

    for number in range(replicas):
        application = replica(folder / str(number), recipe, **more)
        serve.run(application, name=f"clips-{number}", route_prefix=f"/{number}")


if __name__ == "__main__":
    run(Path(sys.argv[1]), int(sys.argv[2]), Recipe(model="crafter-mini", speculation="auto"))
