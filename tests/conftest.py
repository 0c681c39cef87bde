"""The three Hypothesis profiles; ``make test`` and ``make search`` choose one."""

import os

from hypothesis import settings

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
