"""A Chromium of the system, driven by Playwright; skipped where either is missing, unless it is asked for."""

import os
import shutil
from collections.abc import Iterator
from typing import Any

import pytest

#: ``make test-browser`` sets it: then nothing is skipped in silence.
REQUIRED = os.environ.get("DIAGPLAN_BROWSER") == "required"


def missing(what: str) -> Any:
    if REQUIRED:
        pytest.fail(f"{what} is missing, and make test-browser asks for it")
    pytest.skip(f"{what} is missing; make test-browser says more")


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        missing("playwright")
    path = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if path is None:
        missing("chromium")
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
