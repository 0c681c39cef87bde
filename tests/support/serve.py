"""Services in tests: a worker's work without a model, jobs, and a server as a process of its own.

``python -m tests.support.serve SPOOL`` serves the stub at a free port, which it prints.
"""

import http.client
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from diagplan.batch.jobs import Job, seed_of
from diagplan.batch.messages import Outcome, Told
from diagplan.batch.recipe import Recipe, file_digest
from diagplan.batch.records import finished, folder_of, place_of, read_record, write_record
from diagplan.planner.errors import DocumentError
from diagplan.schemas.atomic import make_folder, npy_bytes, write_atomically
from diagplan.serve.places import frame_place
from tests.packaging.test_layering import ROOT

__all__ = ["STUB", "TOKENS", "Running", "StubServed", "job", "open_stub", "running", "stub_tokens", "wait_for"]

STUB = "tests.support.serve:open_stub"
TOKENS = [[[1, 2], [3, 4]]]
RECIPE = Recipe(model="stub", batch=3)


def job(**more: Any) -> bytes:
    """The body of a request."""
    return json.dumps({"tokens": TOKENS, "seed": 5, "frames": 2} | more).encode()


def stub_tokens(seed: int, tokens: Any = TOKENS) -> list[Any]:
    """What the stub makes of a prompt."""
    held: list[Any] = (np.array(tokens) + seed % 1000).tolist()
    return held


class StubServed:
    """Adds the seed to the prompt; the job's text says what goes wrong.

    ``wrong``: the job alone. ``full``: the disk, until the folder has a file ``room``. ``kill``: the worker. ``kill
    once``: the first time. ``slow``: it takes a while. ``large``: frames of 100 kB. ``block``: it waits for a file
    ``release``.
    """

    def __init__(self, recipe: Recipe, out: Path) -> None:
        self.recipe, self.out, self.identity = recipe, out, {"model": {"weights": recipe.model}}
        self.tell: Callable[[Told], None] = lambda _: None

    def tell_by(self, tell: Callable[[Told], None]) -> None:
        self.tell = tell

    def do(self, jobs: Sequence[Job]) -> list[Outcome]:
        with (self.out.parent / "batches").open("a") as file:
            file.write(" ".join(job.id for job in jobs) + "\n")
        return [self._one(job) for job in jobs]

    def _one(self, job: Job) -> Outcome:
        given = np.zeros((1, 2, 2), np.int64) if job.tokens is None else np.load(job.tokens)
        frames = job.frames or 2
        seed = seed_of(self.recipe.seed, job.id) if job.seed is None else job.seed
        made_from = {
            "seed": seed,
            "frames": frames,
            "inputs": {name: file_digest(path) for name, path in job.files().items()},
        }
        if finished(self.out, job.id, read_record(self.out, job.id), made_from):
            return Outcome(number=job.number, id=job.id, state="there", frames=frames, tokens=4)
        spool, mark = self.out.parent, self.out.parent / f"{job.id}.killed"
        match job.text:
            case "wrong":
                return Outcome(number=job.number, id=job.id, state="wrong", message=f"expected a clip in {job.tokens}.")
            case "full" if not (spool / "room").exists():
                raise DocumentError("The disk is full.")
            case "block":
                wait_for((spool / "release").exists)
            case "kill":
                os.kill(os.getpid(), signal.SIGKILL)
            case "kill once" if not mark.exists():
                mark.touch()
                os.kill(os.getpid(), signal.SIGKILL)
            case _:
                pass
        for number in range(1, frames + 1 if self.recipe.pictures else 1):
            if job.text == "slow":
                time.sleep(0.05)
            place = frame_place(self.out, job.id, number)
            make_folder(place.parent)
            write_atomically(place, b"\x89PNG %d" % number + b"x" * (100_000 * (job.text == "large")))
            self.tell(Told(id=job.id, passes=3 * number, of=3 * frames, frames=number))
        make_folder(folder_of(self.out, job.id))
        write_atomically(place_of(self.out, job.id, ".npy"), npy_bytes(given + seed % 1000))
        endings = [".npy"]
        if job.video is not None:
            endings.append(".mp4")
            write_atomically(place_of(self.out, job.id, ".mp4"), job.video.read_bytes())
        facts = {"line": job.number, "seed": seed, "plan": "none", "steps": 1, "frames": frames, "tokens": 4}
        write_record(self.out, job.id, made_from, facts, endings)
        return Outcome(number=job.number, id=job.id, state="done", frames=frames, tokens=4, passes=3.0 * frames)


def open_stub(recipe: Recipe, out: Path) -> StubServed:
    """The work; a model named ``broken`` cannot be loaded, one named ``late`` takes a while."""
    if recipe.model == "broken":
        raise DocumentError("expected a checkpoint, got none.")
    if recipe.model == "late":
        wait_for((out.parent / "open").exists)
    return StubServed(recipe, out)


def wait_for(true: Callable[[], Any], seconds: float = 30.0, pause: float = 0.01) -> Any:
    """What a function gives once it is true."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        value = true()
        if value:
            return value
        time.sleep(pause)
    raise TimeoutError("expected it to become true in time")


class Running:
    """A server in a process of its own."""

    def __init__(self, process: subprocess.Popen[str], port: int) -> None:
        self.process, self.port = process, port

    def ask(
        self, method: str, path: str, body: bytes | None = None, headers: Mapping[str, str] | None = None
    ) -> tuple[int, dict[str, str], bytes]:
        """Status, headers and body of an answer."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            kind = {} if body is None else {"content-type": "application/json"}
            connection.request(method, path, body, {**kind, **(headers or {})})
            answer = connection.getresponse()
            return answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read()
        finally:
            connection.close()

    def post(self, body: bytes, key: str | None = None) -> tuple[int, dict[str, Any]]:
        """Status and document of a job that is sent."""
        status, _, answer = self.ask("POST", "/jobs", body, {} if key is None else {"idempotency-key": key})
        return status, json.loads(answer)

    def get(self, path: str) -> dict[str, Any]:
        """A document."""
        document: dict[str, Any] = json.loads(self.ask("GET", path)[2])
        return document

    def until(self, name: str, *states: str) -> dict[str, Any]:
        """A job when it has come to one of these states."""

        def there() -> dict[str, Any] | None:
            document = self.get(f"/jobs/{name}")
            return document if document["state"] in states else None

        document: dict[str, Any] = wait_for(there, pause=0.05)
        return document

    def ready(self) -> None:
        """Wait until it is."""
        wait_for(lambda: self.ask("GET", "/health")[0] == 200, pause=0.05)

    def end(self, number: int, seconds: float = 20.0) -> int:
        """Send a signal; the exit code."""
        self.process.send_signal(number)
        return self.process.wait(seconds)


@contextmanager
def running(spool: Path, *arguments: str, command: Sequence[str] = ("-m", "tests.support.serve")) -> Iterator[Running]:
    """A server; it is ended with the block, if it was not before."""
    process = subprocess.Popen(
        [sys.executable, *command, *arguments, *(["-o"] if "serve" in command else []), str(spool)],
        cwd=ROOT, stdout=subprocess.PIPE, text=True, env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        yield Running(process, int(json.loads(line)["address"].rpartition(":")[2]))
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()
        assert process.stdout is not None
        process.stdout.close()


def main() -> None:
    """Serve the stub."""
    from diagplan.play.serving import listen
    from diagplan.serve.service import Service
    from diagplan.serve.serving import serve_jobs
    from diagplan.serve.settings import Settings
    from diagplan.serve.spool import Spool

    port = int(sys.argv[2]) if sys.argv[1] == "--port" else 0
    service = Service(RECIPE, Spool(sys.argv[-1]), Settings(queue=50, body_seconds=1.0), opener=STUB)
    opened = listen("127.0.0.1", port)
    print(json.dumps({"address": f"http://127.0.0.1:{opened.getsockname()[1]}"}), flush=True)
    try:
        serve_jobs(service, opened)
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    main()
