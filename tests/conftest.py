"""The three Hypothesis profiles, of which ``make test`` and ``make search`` choose one, and the shipped world model."""

import os
from typing import TYPE_CHECKING

import pytest
from hypothesis import settings

from tests.support import kept

if TYPE_CHECKING:
    from diagplan.worlds import World

# derandomize is stated each time: Hypothesis changes its own defaults where it finds a CI variable.
settings.register_profile("default", deadline=None, derandomize=False)
settings.register_profile("ci", deadline=None, derandomize=True, print_blob=True)
settings.register_profile(
    "search",
    deadline=None,
    derandomize=False,
    print_blob=True,
    max_examples=int(os.environ.get("SEARCH_EXAMPLES", "2000")),
)
settings.load_profile("default")


def pytest_configure(config: pytest.Config) -> None:
    if kept.set_up():
        config.add_cleanup(kept.clear)


@pytest.fixture(scope="module")
def world() -> "World":
    """``crafter-mini``; tests that ask for it are in files that are skipped without torch."""
    from diagplan.worlds import load_world

    return load_world("crafter-mini")
