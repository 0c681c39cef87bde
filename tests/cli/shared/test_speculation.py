"""The options of speculation, which exclude each other or go together."""

import pytest

from diagplan import SpecError
from diagplan.cli.shared.speculation import speculation_from_options
from diagplan.planner.speculation import Speculation


def test_what_options_ask_for() -> None:
    assert speculation_from_options(exact=False, speculate=None, draft=None) is None
    assert speculation_from_options(exact=True, speculate=None, draft=None) == "auto"
    assert speculation_from_options(exact=False, speculate=8, draft=None) == Speculation(window=8)
    assert speculation_from_options(exact=False, speculate=8, draft="left") == Speculation(window=8, draft="left")


def test_options_that_exclude_each_other() -> None:
    with pytest.raises(SpecError, match="expected --exact or --speculate, got both"):
        speculation_from_options(exact=True, speculate=8, draft=None)
    with pytest.raises(SpecError, match="expected --speculate with --draft, got --draft above alone"):
        speculation_from_options(exact=True, speculate=None, draft="above")
