"""Playing in a browser: keys move the player, frames arrive, two tabs are two players, a server that comes back."""

import os
import re
import signal
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch")
pytest.importorskip("av")
pytest.importorskip("diffusers")
pytest.importorskip("uvicorn")
pytest.importorskip("starlette")
pytest.importorskip("websockets")

from diagplan.games.clips import read_clip

ROOT = Path(__file__).resolve().parents[2]


def started(port: int = 0, *more: str) -> tuple[subprocess.Popen[str], str]:
    """A server and its address."""
    server = subprocess.Popen(
        [sys.executable, "-m", "diagplan", "play", "--port", str(port), "--no-open", "--k", "1,4", *more],
        stdout=subprocess.PIPE, text=True, cwd=ROOT,
        env=os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path])},
    )  # fmt: skip
    assert server.stdout is not None
    found = re.search(r"http://\S+", server.stdout.readline())
    assert found is not None
    return server, found[0]


def ended(server: subprocess.Popen[str]) -> None:
    server.send_signal(signal.SIGINT)
    assert server.wait(20) == 0
    assert server.stdout is not None
    server.stdout.close()


@pytest.fixture(scope="module")
def address(browser: Any) -> Iterator[str]:
    server, where = started()
    yield where
    ended(server)


def played(page: Any, address: str, frames: int = 2) -> None:
    page.goto(address)
    page.wait_for_function(f"window.game && game.frames >= {frames}", timeout=60_000)


def after(page: Any, frames: int) -> None:
    page.evaluate(f"window.mark = game.frames + {frames}")
    page.wait_for_function("game.frames >= mark", timeout=60_000)


def picture(page: Any) -> str:
    return str(page.evaluate("document.getElementById('picture').toDataURL()"))


def test_keys_act_and_reset_leads_back(page: Any, address: str) -> None:
    played(page, address)
    page.keyboard.down("ArrowRight")
    page.wait_for_function("game.lags.length > 0", timeout=60_000)
    after(page, 3)
    page.keyboard.up("ArrowRight")
    moved = picture(page)
    assert page.inner_text("#passes") == "20"
    assert page.inner_text("#lag").endswith(" ms")
    page.click("#reset")
    page.wait_for_function("document.getElementById('frames').textContent === '0'", polling=5, timeout=60_000)
    assert picture(page) != moved


def test_another_plan_and_the_wave(page: Any, address: str) -> None:
    played(page, address)
    page.select_option("#plan", "k=4")
    page.wait_for_function(
        "document.getElementById('name').textContent === 'k=4' &&"
        " document.getElementById('passes').textContent === '44'",
        timeout=60_000,
    )
    page.select_option("#plan", "exact")
    page.wait_for_function(
        "document.getElementById('name').textContent === 'exact' &&"
        " document.getElementById('passes').textContent !== '44'",
        timeout=60_000,
    )
    after(page, 2)
    assert 1 <= int(page.inner_text("#passes")) < 108
    page.click("#show")
    page.wait_for_function(
        "[...document.getElementById('wave').getContext('2d').getImageData(0, 0, 12, 9).data].some((v) => v > 0)",
        timeout=60_000,
    )


def test_saving(page: Any, address: str, tmp_path: Path) -> None:
    played(page, address, 4)
    with page.expect_download(timeout=60_000) as download:
        page.click("#save")
    download.value.save_as(tmp_path / "played.zip")
    with zipfile.ZipFile(tmp_path / "played.zip") as archive:
        archive.extractall(tmp_path)
    assert len(read_clip(tmp_path / "played.mp4").frames) >= 4


def test_two_tabs_are_two_players(browser: Any, address: str) -> None:
    contexts = [browser.new_context(bypass_csp=True) for _ in range(2)]
    one, other = (context.new_page() for context in contexts)
    played(one, address)
    played(other, address)
    one.keyboard.down("ArrowDown")
    after(one, 5)
    after(other, 1)
    assert picture(one) != picture(other)
    for context in contexts:
        context.close()


def test_the_queue_and_a_server_that_comes_back(browser: Any) -> None:
    server, where = started(0, "--players", "1")
    port = int(where.rstrip("/").rpartition(":")[2])
    contexts = [browser.new_context(bypass_csp=True) for _ in range(2)]
    one, other = (context.new_page() for context in contexts)
    played(one, where)
    other.goto(where)
    other.wait_for_function(
        "document.getElementById('say').textContent.includes('number 1 in the queue')", timeout=60_000
    )
    contexts[0].close()
    other.wait_for_function("game.frames > 1", timeout=60_000)
    other.click("#pause")
    ended(server)
    other.wait_for_function("document.getElementById('say').textContent.includes('No connection')", timeout=60_000)
    server, _ = started(port)
    other.wait_for_function("document.getElementById('say').textContent === ''", timeout=60_000)
    before = other.evaluate("game.frames")
    other.wait_for_timeout(2000)
    assert other.evaluate("game.frames") <= before + 3  # it is paused still
    other.click("#pause")
    after(other, 2)
    contexts[1].close()
    ended(server)


def test_touch_buttons(browser: Any, address: str) -> None:
    context = browser.new_context(
        bypass_csp=True, has_touch=True, is_mobile=True, viewport={"width": 390, "height": 800}
    )
    page = context.new_page()
    played(page, address)
    button = page.locator("#touch button[data-code=ArrowLeft]")
    button.scroll_into_view_if_needed()
    button.tap()
    page.wait_for_function("game.lags.length > 0", timeout=60_000)
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    context.close()
