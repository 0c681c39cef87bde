"""The three errors of a replay: each of its own kind, all caught as diagplan's."""

import pytest

from diagplan.backends.errors import CapacityError, MismatchError, NumericError
from diagplan.planner.errors import DiagplanError

KINDS = (CapacityError, MismatchError, NumericError)


@pytest.mark.parametrize("kind", KINDS)
def test_each_is_diagplans_and_no_other(kind: type[DiagplanError]) -> None:
    with pytest.raises(DiagplanError, match="expected"):
        raise kind("expected this, got that.")
    assert issubclass(kind, ValueError)  # bad input, for those who catch no more than Python's own
    assert [other for other in KINDS if issubclass(kind, other)] == [kind]
