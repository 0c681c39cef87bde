"""Some kills of every kind; how many, SEARCH_EXAMPLES says."""

import os

import pytest

for needed in ("torch", "av", "crafter", "diffusers", "matplotlib", "onnxscript"):
    pytest.importorskip(needed)

from tests.search.bounded import EXAMPLES, SEED  # noqa: E402
from tests.search.kills import run  # noqa: E402


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
def test_what_is_killed_goes_on_to_the_same_files() -> None:
    row = run(max(1, EXAMPLES // 50), SEED)
    assert row.clean, row.findings
