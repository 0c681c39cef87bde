"""A Chromium of the system, driven by Playwright: ``make test-browser``; other runs skip these tests and say so."""

import os
import shutil
from collections.abc import Iterator
from typing import Any

import pytest

#: ``make test-browser`` sets it: then nothing is skipped in silence.
ASKED = os.environ.get("DIAGPLAN_BROWSER") == "required"


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    if not ASKED:
        pytest.skip("make test-browser runs the tests in a browser")
    from playwright.sync_api import sync_playwright

    path = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    assert path is not None, "expected a Chromium, got none. Install it: apt-get install chromium"
    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield opened
        opened.close()


@pytest.fixture
def errors() -> list[str]:
    """What pages complain of."""
    return []


@pytest.fixture
def page(browser: Any, errors: list[str]) -> Iterator[Any]:
    """A page past whose policy tests may evaluate; it must not complain."""
    context = browser.new_context(bypass_csp=True, viewport={"width": 1100, "height": 900})
    opened = context.new_page()
    opened.on("pageerror", lambda error: errors.append(str(error)))
    opened.on("console", lambda message: errors.append(message.text) if message.type == "error" else None)
    yield opened
    context.close()
    assert errors == []
