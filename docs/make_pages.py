"""Take the pictures of both pages in a real Chromium: ``python -m docs.make_pages``, after ``make test-browser``.

On the game's picture stands what it was played at: take it on a machine that does nothing else.
"""

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from diagplan import Diagonal, Layout, compile_plan, show

IMAGES = Path(__file__).parent / "images"
#: Share of the wave's cells that are known.
_KNOWN = (
    "(() => { const c = document.getElementById('wave'), d = c.getContext('2d').getImageData(0, 0, c.width, c.height);"
    " let n = 0; for (let i = 1; i < d.data.length; i += 4) n += d.data[i] > 100; return 4 * n / d.data.length; })()"
)


def game(browser: Any, out: Path) -> None:
    """A game while its next frame is decoded; the server is held for as long as the picture takes."""
    command = [
        sys.executable,
        "-m",
        "diagplan",
        "play",
        "--port",
        "0",
        "--no-open",
        "--json",
        "--k",
        "1",
        "--fps",
        "30",
    ]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=os.environ)
    try:
        assert server.stdout is not None
        page = browser.new_context(bypass_csp=True, viewport={"width": 760, "height": 800}).new_page()
        page.goto(json.loads(server.stdout.readline())["address"])
        page.wait_for_function("window.game && game.frames > 2", timeout=60_000)
        for key in ("ArrowRight", "ArrowDown", "ArrowLeft", "ArrowUp", "ArrowRight"):
            page.keyboard.down(key)
            page.wait_for_timeout(700)
            page.keyboard.up(key)
        page.click("#show")
        page.wait_for_function("document.getElementById('frames').textContent > 8", timeout=120_000)
        page.wait_for_function(f"{_KNOWN} > 0.3 && {_KNOWN} < 0.8", polling=2, timeout=60_000)
        server.send_signal(signal.SIGSTOP)
        page.screenshot(path=out, clip={"x": 0, "y": 0, "width": 760, "height": 770})
    finally:
        server.send_signal(signal.SIGCONT)
        server.send_signal(signal.SIGINT)
        server.wait(20)


def explorer(browser: Any, out: Path) -> None:
    """Two plans side by side, one cell held in both."""
    layout = Layout(frames=2, rows=4, cols=6, prompt_frames=1, between_frames=3, lead=2, between_rows=1)
    page = browser.new_page(viewport={"width": 1000, "height": 640})
    with tempfile.TemporaryDirectory() as folder:
        one, other = (compile_plan(layout, schedule) for schedule in (Diagonal(k=1, d=5), Diagonal(k=2)))
        show(one, other).save(Path(folder, "plan.html"))
        page.goto(Path(folder, "plan.html").as_uri())
        page.wait_for_function("window.explorer")
        slot = int(layout.cell_slots()[0, 2, 3])
        x, y = page.evaluate(
            f"(() => {{ const v = explorer.views[0], b = v.grid.getBoundingClientRect(), w = v.where[{slot}];"
            " return [b.left + w[0] + 3, b.top + w[1] + 3]; })()"
        )
        page.mouse.click(x, y)
        page.evaluate("explorer.go(9)")
        page.wait_for_timeout(300)
        page.screenshot(path=out)


def main() -> None:
    """Take both pictures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=IMAGES, help="the folder of play.png and explorer.png")
    out = parser.parse_args().out
    from playwright.sync_api import sync_playwright

    chromium = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if chromium is None:
        raise SystemExit("expected a Chromium, got none. Install it: apt-get install chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        explorer(browser, out / "explorer.png")
        game(browser, out / "play.png")
        browser.close()
    sys.stdout.write(f"wrote {out / 'explorer.png'} and {out / 'play.png'}\n")


if __name__ == "__main__":
    main()
