"""Clips over HTTP under load: ``python -m bench.serve``, about four minutes.

200 clients ask ``diagplan serve`` for clips of crafter-mini of one or two frames, all at once, more than its queue
holds. Twice: undisturbed, and with a ``kill -9`` of the server after a third of the clips, and a new start. Each client
sends its job until it is accepted, follows its events until the last, through lost connections, and fetches the tokens.
Every accepted job must be answered once, with the tokens that ``diagplan batch`` and, for some, ``generate`` give.
"""

import argparse
import http.client
import io
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from base64 import b64encode
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from bench.plan import machine
from bench.play import memory

__all__ = ["load", "main"]

RESULTS = Path(__file__).parent / "results" / "serve.json"
#: Seconds after which a client gives up.
_PATIENCE = 600


class Client(threading.Thread):
    """One client with one job."""

    def __init__(self, port: int, number: int, job: dict[str, Any]) -> None:
        super().__init__(daemon=True)
        self.port, self.number, self.job = port, number, job
        self.statuses: Counter[int] = Counter()
        self.lost = 0
        self.ends: list[str] = []
        self.frames: list[int] = []
        self.id, self.tokens, self.error = "", b"", ""
        self.began = self.accepted = self.first = self.ended = 0.0

    def run(self) -> None:
        """From the job to its tokens."""
        self.began = time.perf_counter()
        try:
            self.send()
            self.follow()
            self.tokens = self.ask("GET", f"/jobs/{self.id}/result.npy")[2]
        except Exception as error:  # noqa: BLE001 - a row of the table, not a lost thread
            self.error = f"{type(error).__name__}: {error}"
        self.ended = time.perf_counter()

    def ask(self, method: str, path: str, body: bytes | None = None) -> tuple[int, dict[str, str], bytes]:
        """An answer, asked for again while nobody listens or all places are taken."""
        headers = {} if body is None else {"content-type": "application/json", "idempotency-key": f"key {self.number}"}
        while time.perf_counter() - self.began < _PATIENCE:
            connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
            try:
                connection.request(method, path, body, headers)
                answer = connection.getresponse()
                data = answer.read()
            except (OSError, http.client.HTTPException):
                self.lost += 1
                time.sleep(0.2)
                continue
            finally:
                connection.close()
            self.statuses[answer.status] += 1
            if answer.status not in (429, 503):
                return answer.status, dict(answer.getheaders()), data
            time.sleep(float(answer.headers.get("retry-after", "1")))
        raise TimeoutError(f"expected an answer within {_PATIENCE} s, got none")

    def send(self) -> None:
        status, _, body = self.ask("POST", "/jobs", json.dumps(self.job).encode())
        if status not in (200, 202):
            raise ValueError(f"expected the job to be accepted, got {status}: {body[:200]!r}")
        self.accepted, self.id = time.perf_counter(), json.loads(body)["id"]

    def follow(self) -> None:
        """Events until the last one; a connection that is lost is made again."""
        last = ""
        while not self.ends:
            connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
            try:
                connection.request("GET", f"/jobs/{self.id}/events", headers={"last-event-id": last} if last else {})
                answer = connection.getresponse()
                event: dict[str, str] = {}
                while answer.status == 200 and (line := answer.readline().decode()):
                    name, _, value = line.rstrip("\n").partition(": ")
                    if name:
                        event[name] = value
                    elif "data" in event:
                        last = event.get("id", last)
                        self.hear(event["event"], json.loads(event["data"]))
                        event = {}
            except (OSError, http.client.HTTPException, ValueError):
                self.lost += 1
                time.sleep(0.2)
            finally:
                connection.close()
            if time.perf_counter() - self.began > _PATIENCE:
                raise TimeoutError("expected the last event, got none")

    def hear(self, kind: str, data: dict[str, Any]) -> None:
        if kind == "frame":
            self.first = self.first or time.perf_counter()
            self.frames.append(data["frame"])
        elif kind != "progress":
            self.ends.append(kind)


class Server:
    """A server, started as often as it is killed."""

    def __init__(self, command: Callable[[int], Sequence[str]], port: int) -> None:
        self.command, self.port = command, port
        self.process = self.start()

    def start(self) -> "subprocess.Popen[bytes]":
        return subprocess.Popen(self.command(self.port), stdout=subprocess.DEVNULL)

    def get(self, path: str) -> tuple[int, str]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        try:
            connection.request("GET", path)
            answer = connection.getresponse()
            return answer.status, answer.read().decode()
        except OSError:
            return 0, ""
        finally:
            connection.close()

    def ready(self) -> float:
        """Wait until it is; the seconds."""
        began = time.perf_counter()
        while self.get("/health")[0] != 200:
            if self.process.poll() is not None or time.perf_counter() - began > 120:
                raise TimeoutError("expected a server that becomes ready, got none")
            time.sleep(0.05)
        return time.perf_counter() - began

    def metrics(self) -> dict[str, float]:
        lines = self.get("/metrics")[1].splitlines()
        return {name: float(value) for name, _, value in (line.rpartition(" ") for line in lines if line[0] != "#")}

    def kill(self) -> float:
        """``kill -9``, and a new start; the seconds until it is ready again."""
        began = time.perf_counter()
        self.process.kill()
        self.process.wait()
        self.process = self.start()
        self.ready()
        return time.perf_counter() - began


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as opened:
        port: int = opened.getsockname()[1]
        return port


def load(
    command: Callable[[int], Sequence[str]], jobs: Sequence[dict[str, Any]], *, kill: bool
) -> tuple[dict[str, Any], dict[int, Any]]:
    """One run: figures, and the tokens of each job by its number.

    Args:
        command: of a server, for a port.
        jobs: one of each client.
        kill: whether the server is killed after a third of them.
    """
    server = Server(command, free_port())
    try:
        opening = server.ready()
        clients = [Client(server.port, number, job) for number, job in enumerate(jobs)]
        began = time.perf_counter()
        for client in clients:
            client.start()
        counted, recovery = Counter[str](), None
        if kill:
            while sum(bool(client.ends) for client in clients) < len(jobs) // 3:
                time.sleep(0.02)
            counted.update(server.metrics())
            recovery = server.kill()
        for client in clients:
            client.join()
        seconds = time.perf_counter() - began
        last = server.metrics()
        resident = memory(server.process.pid)
        server.process.send_signal(signal.SIGTERM)
        code = server.process.wait(60)
    finally:
        if server.process.poll() is None:
            server.process.kill()
            server.process.wait()
    counted.update({name: value for name, value in last.items() if "_total" in name or "batch_size" in name})
    kept = {name: value for name, value in last.items() if name.startswith("diagplan_jobs{")}
    return figures(clients, seconds, counted) | {
        "kill": kill, "opening_seconds": round(opening, 2), "exit_code": code, "server_bytes": resident,
        "recovery_seconds": None if recovery is None else round(recovery, 2),
        "jobs_kept": {re.findall('"(.*)"', name)[0]: int(value) for name, value in kept.items()},
    }, {client.number: np.load(io.BytesIO(client.tokens)) for client in clients if client.ends == ["done"]}  # fmt: skip


def figures(clients: Sequence[Client], seconds: float, counted: Counter[str]) -> dict[str, Any]:
    """What clients saw, and what the server counted."""
    done = [client for client in clients if client.ends == ["done"]]
    statuses = sum((client.statuses for client in clients), Counter[int]())
    frames = sum(len(client.frames) for client in done)
    batches, given = counted["diagplan_batch_size_count"], counted["diagplan_batch_size_sum"]
    return {
        "clients": len(clients), "answered_once": len(done), "seconds": round(seconds, 2),
        "different_ids": len({client.id for client in clients}),
        "every_frame_once": all(client.frames == list(range(1, client.job["frames"] + 1)) for client in done),
        "errors": [client.error for client in clients if client.error][:5],
        "clips_a_second": round(len(done) / seconds, 3), "frames_a_second": round(frames / seconds, 3),
        "refused_429": statuses[429], "refused_503": statuses[503],
        "connections_lost": sum(client.lost for client in clients),
        "to_acceptance": spread([client.accepted - client.began for client in done]),
        "to_first_frame": spread([client.first - client.accepted for client in done if client.first]),
        "from_acceptance": spread([client.ended - client.accepted for client in done]),
        "batches": int(batches), "jobs_a_batch": round(given / batches, 2) if batches else None,
        "batch_sizes": {
            name.partition('"')[2].rstrip('"}'): int(value)
            for name, value in counted.items() if name.startswith("diagplan_batch_size_bucket")
        },
        "losses": int(counted["diagplan_worker_losses_total"]),
    }  # fmt: skip


def spread(values: Sequence[float]) -> dict[str, float]:
    """Percentiles, in seconds."""
    if not values:
        return {}
    parts = np.percentile(values, (50, 95, 99, 100)).tolist()
    return dict(zip(("median", "p95", "p99", "most"), (round(part, 3) for part in parts), strict=True))


def crafter_jobs(clients: int) -> list[dict[str, Any]]:
    """A clip of one or two frames for each client, with a seed of its own."""
    from diagplan.worlds.loading import SHIPPED

    clip = SHIPPED["crafter-mini"] / "clip.mp4"
    actions = [json.loads(line) for line in clip.with_suffix(".jsonl").read_text().splitlines()]
    video = b64encode(clip.read_bytes()).decode()
    return [{"video": video, "actions": actions, "frames": 1 + n % 2, "seed": n} for n in range(clients)]


def reference(folder: Path, clients: int, batch: int, of_generate: int) -> tuple[dict[int, Any], dict[str, Any]]:
    """The tokens of ``diagplan batch`` by number; how long it took, and whether ``generate`` gives some of them too."""
    from diagplan.backends.sampling import Sample
    from diagplan.batch import Recipe, run_batch
    from diagplan.batch.records import place_of
    from diagplan.planner.schedule import Diagonal
    from diagplan.video.files import read_video
    from diagplan.worlds.generation import generate
    from diagplan.worlds.loading import SHIPPED, load_world
    from diagplan.worlds.plans import plan_for

    clip = SHIPPED["crafter-mini"] / "clip.mp4"
    entry = {"video": str(clip), "actions": str(clip.with_suffix(".jsonl"))}
    jobs = folder / "jobs.jsonl"
    numbers = sorted(range(clients), key=lambda n: n % 2)  # clips of one length pass together
    lines = [json.dumps(entry | {"id": str(n), "frames": 1 + n % 2, "seed": n}) for n in numbers]
    jobs.write_text("".join(f"{line}\n" for line in lines))
    recipe = Recipe(schedule=Diagonal(k=2), sampling={"temperature": 1.0}, batch=batch)
    summary = run_batch(jobs, folder / "batch", recipe)
    tokens = {n: np.load(place_of(folder / "batch", str(n), ".npy")) for n in range(clients)}
    world = load_world("crafter-mini")
    frames, blocks = read_video(clip, limit=1), world.read_actions(clip.with_suffix(".jsonl"))
    same = True
    for n in range(min(of_generate, clients)):
        plan: Any = plan_for(world, blocks, frames=1 + n % 2, schedule=Diagonal(k=2))
        alone = generate(plan, world, frames, blocks, sampler=Sample(temperature=1.0), seed=n)
        same &= bool(np.array_equal(alone.tokens, tokens[n]))
    return tokens, {
        "seconds": round(summary.seconds, 2), "opening_seconds": round(summary.opening_seconds, 2),
        "frames_a_second": round(summary.frames_per_second, 3), "generate_gives_the_same": same,
        "compared_with_generate": min(of_generate, clients),
    }  # fmt: skip


def main(arguments: Sequence[str] | None = None) -> int:
    """All of it; the exit code says whether every accepted job was answered once with its tokens."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clients", type=int, default=200, help="clients, each with one job")
    parser.add_argument("--batch", type=int, default=8, help="clips that pass together")
    parser.add_argument("--queue", type=int, default=64, help="jobs that may wait")
    parser.add_argument("--generate", type=int, default=8, help="clips that are compared with generate's too")
    parser.add_argument("--out", type=Path, default=RESULTS, help="where to write the JSON")
    options = parser.parse_args(arguments)
    os.environ["PYTHONPATH"] = os.pathsep.join([str(Path.cwd()), os.environ.get("PYTHONPATH", "")])
    folder = Path(tempfile.mkdtemp(prefix="diagplan-serve-"))

    def command(spool: str) -> Callable[[int], Sequence[str]]:
        return lambda port: [
            sys.executable, "-m", "diagplan", "serve", "-o", str(folder / spool), "--port", str(port), "--json",
            "--k", "2", "--temperature", "1", "--batch", str(options.batch), "--queue", str(options.queue),
        ]  # fmt: skip

    try:
        wanted, batch = reference(folder, options.clients, options.batch, options.generate)
        rows = []
        for kill in (False, True):
            row, tokens = load(command(f"spool-{kill}"), crafter_jobs(options.clients), kill=kill)
            same = [n for n in wanted if n in tokens and np.array_equal(tokens[n], wanted[n])]
            rows.append(row | {"same_tokens": len(same)})
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    print_table(rows, batch)
    right = batch["generate_gives_the_same"] and all(is_right(row) for row in rows)
    found = {"machine": machine(), "load": os.getloadavg()[0], "batch": batch, "rows": rows, "right": right}
    options.out.write_text(json.dumps(found | {"options": {"batch": options.batch, "queue": options.queue}}, indent=1))
    print(f"wrote {options.out}")
    if not right:
        print("expected every accepted job to be answered once with its tokens, got others.", file=sys.stderr)
    return 0 if right else 1


def is_right(row: dict[str, Any]) -> bool:
    """Whether every job of a run was accepted once and answered once, with its tokens and all its frames."""
    every = {row[name] for name in ("answered_once", "different_ids", "same_tokens")} == {row["clients"]}
    kept = {"queued": 0, "running": 0, "done": row["clients"], "wrong": 0, "cancelled": 0}
    return every and row["every_frame_once"] and row["jobs_kept"] == kept and row["exit_code"] == 0


def print_table(rows: Sequence[dict[str, Any]], batch: dict[str, Any]) -> None:
    table = Table(title=f"{rows[0]['clients']} clients, crafter-mini, k=2, one or two frames each")
    for name in ("", "undisturbed", "killed once"):
        table.add_column(name, justify="right" if name else "left")
    for name in (
        "seconds", "clips_a_second", "frames_a_second", "answered_once", "same_tokens", "refused_429", "refused_503",
        "connections_lost", "jobs_a_batch", "recovery_seconds",
    ):  # fmt: skip
        table.add_row(name.replace("_", " "), *(str(row[name]) for row in rows))
    for name in ("to_acceptance", "to_first_frame", "from_acceptance"):
        cells = [" / ".join(f"{value:.2f}" for value in row[name].values()) for row in rows]
        table.add_row(f"{name.replace('_', ' ')}, s: 50 / 95 / 99 / 100 %", *cells)
    out = Console(width=120)
    out.print(table)
    out.print(f"diagplan batch on the same jobs: {batch['frames_a_second']} frames a second once the model is loaded")


if __name__ == "__main__":
    sys.exit(main())
