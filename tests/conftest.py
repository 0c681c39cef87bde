"""The Hypothesis profiles of ``make test`` and ``make search``, files made once a run, and the shipped world model."""

import os
from collections import defaultdict
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

#: Programs that tests start hold back what they print into a pipe, as they do wherever nobody has set this.
os.environ.pop("PYTHONUNBUFFERED", None)


def pytest_configure(config: pytest.Config) -> None:
    if kept.set_up():
        config.add_cleanup(kept.clear)


#: Files whose tests take longer, in seconds, are named at the end of a run.
LONG = 20


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    taken: dict[str, float] = defaultdict(float)
    for reports in terminalreporter.stats.values():
        for report in reports:
            if isinstance(report, pytest.TestReport):
                taken[report.nodeid.partition("::")[0]] += report.duration
    long = [(name, seconds) for name, seconds in sorted(taken.items(), key=lambda item: -item[1]) if seconds > LONG]
    if long:
        terminalreporter.section(f"files over {LONG} s")
        for name, seconds in long:
            terminalreporter.line(f"{seconds:6.0f} s {name}")


@pytest.fixture(scope="module")
def world() -> "World":
    """``crafter-mini``; tests that ask for it are in files that are skipped without torch."""
    from diagplan.worlds import load_world

    return load_world("crafter-mini")
