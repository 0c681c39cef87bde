"""Playing in a real Chromium: ``python -m bench.play``.

A server as ``diagplan play`` starts it, pages that press keys at random, and what the pages see: frames a second, the
time from a key to its picture, what each of several players gets, and the server's memory over many frames. Chromium of
the system, driven by Playwright (`make test-browser` installs both), runs on the same cores.
"""

import argparse
import json
import os
import random
import re
import signal
import statistics
import subprocess
import sys
import time
from pathlib import Path
from shutil import which
from typing import Any

from rich.console import Console
from rich.table import Table

from bench.plan import machine

RESULTS = Path(__file__).parent / "results" / "play.json"
KEYS = ("ArrowLeft", "ArrowRight", "ArrowUp", "ArrowDown", "Space")


def memory(process: int) -> int:
    """Resident bytes of a process, of Linux; 0 elsewhere."""
    try:
        status = Path(f"/proc/{process}/status").read_text()
    except OSError:
        return 0
    found = re.search(r"VmRSS:\s+(\d+) kB", status)
    return 1024 * int(found[1]) if found else 0


def play(pages: list[Any], draw: random.Random, *, seconds: float = 0, frames: int = 0) -> float:
    """Press keys on all pages for so long, or until the first has had so many frames more; the seconds that it took."""
    began, first = time.perf_counter(), int(pages[0].evaluate("game.frames"))
    while True:
        for page in pages:
            key = draw.choice(KEYS)
            page.keyboard.down(key)
            page.wait_for_timeout(draw.uniform(150, 500) / len(pages))
            page.keyboard.up(key)
        took = time.perf_counter() - began
        if (seconds and took >= seconds) or (frames and pages[0].evaluate("game.frames") - first >= frames):
            return took


def measured(
    browser: Any, address: str, server: int, players: int, draw: random.Random, **asked: Any
) -> dict[str, Any]:
    """One row."""
    contexts = [browser.new_context(bypass_csp=True) for _ in range(players)]
    pages = [context.new_page() for context in contexts]
    for page in pages:
        page.goto(address)
    for page in pages:
        page.wait_for_function("window.game && game.frames >= 5", timeout=120_000)
    play(pages, draw, seconds=3)
    before, start = memory(server), [int(page.evaluate("game.frames")) for page in pages]
    for page in pages:
        page.evaluate("game.lags = []")
    took = play(pages, draw, **asked)
    counts = [int(page.evaluate("game.frames")) - first for page, first in zip(pages, start, strict=True)]
    lags = sorted(float(lag) for page in pages for lag in page.evaluate("game.lags"))
    after = memory(server)
    for context in contexts:
        context.close()
    return {
        "players": players, "seconds": round(took, 1), "frames": counts,
        "frames_a_second": [round(count / took, 2) for count in counts],
        "key_to_picture_ms": {
            "median": round(statistics.median(lags), 1), "p95": round(lags[int(0.95 * (len(lags) - 1))], 1),
            "keys": len(lags),
        },
        "memory_before": before, "memory_after": after,
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--frames", type=int, default=2000, help="frames of the one player")
    parser.add_argument("--players", type=int, default=8, help="players at once")
    parser.add_argument("--seconds", type=float, default=120, help="of those players")
    parser.add_argument("--fps", type=int, default=30, help="frames a second at most")
    parser.add_argument("--k", default="1", help="the plan's row delay")
    parser.add_argument("--out", type=Path, default=RESULTS, help="where to write the JSON")
    options = parser.parse_args()
    from playwright.sync_api import sync_playwright

    chromium = next(filter(None, map(which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if chromium is None:
        raise SystemExit("expected a Chromium, got none. Install it: apt-get install chromium")
    command = [sys.executable, "-m", "diagplan", "play", "--port", "0", "--no-open", "--json", "--k", options.k]
    command += ["--fps", str(options.fps), "--players", str(options.players)]
    began = time.perf_counter()
    server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=os.environ)
    assert server.stdout is not None
    address = json.loads(server.stdout.readline())["address"]
    ready = time.perf_counter() - began
    draw = random.Random(1)
    try:
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
            rows = [measured(browser, address, server.pid, 1, draw, frames=options.frames)]
            rows.append(measured(browser, address, server.pid, options.players, draw, seconds=options.seconds))
            browser.close()
    finally:
        stopped = time.perf_counter()
        server.send_signal(signal.SIGINT)
        server.wait(20)
        stopped = time.perf_counter() - stopped
    table = Table(title=f"Playing crafter-mini, k={options.k}")
    for name in ("players", "frames/s of each", "key to picture, ms", "95th percentile", "memory, MiB"):
        table.add_column(name, justify="right")
    for row in rows:
        rates, lag = row["frames_a_second"], row["key_to_picture_ms"]
        grown = f"{row['memory_before'] / 2**20:.0f} to {row['memory_after'] / 2**20:.0f}"
        table.add_row(
            str(row["players"]),
            f"{min(rates):.1f} to {max(rates):.1f}",
            f"{lag['median']:.0f}",
            f"{lag['p95']:.0f}",
            grown,
        )
    Console(width=100).print(table)
    figures = {"ready_seconds": round(ready, 2), "ended_seconds": round(stopped, 2), "k": options.k, "fps": options.fps}
    options.out.parent.mkdir(parents=True, exist_ok=True)
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else None
    content = {"machine": machine(), "load": load} | figures | {"rows": rows}
    options.out.write_text(json.dumps(content, indent=1) + "\n")
    print(f"wrote {options.out}")


if __name__ == "__main__":
    main()
