"""Values in messages: short texts, in little time, whatever their size."""

import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from diagplan.planner.errors import SpecError
from diagplan.planner.layout import require_int
from diagplan.planner.shown import shown


def nested(levels: int) -> list[object]:
    """A list whose text doubles with every level."""
    value: list[object] = []
    for _ in range(levels):
        value = [value, value]
    return value


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "None"),
        (True, "True"),
        (-7, "-7"),
        (1 << 200, "a number of 201 bits"),
        ("ab", "'ab'"),
        ("x" * 61, repr("x" * 60) + "..."),
        (b"\x00", r"b'\x00'"),
        (nested(3), "a list of 2"),
        ({"a": 1}, "a dict of 1"),
        ([5, 40.5, None, True], "[5, 40.5, None, True]"),
        ((1 << 200,), "(a number of 201 bits,)"),
        ([1] * 5, "a list of 5"),
        (["a"], "a list of 1"),
        ((), "a tuple of 0"),
        (np.zeros(3), "a ndarray"),
        (object(), "an object"),
    ],
)
def test_texts(value: object, text: str) -> None:
    assert shown(value) == text


def test_a_path_shows_its_end() -> None:
    assert shown("x" * 300, 300) == repr("x" * 300)
    assert shown("x" * 301, 300) == repr("x" * 300) + "..."


LARGE = {
    "digits": 10 ** (10**6),
    "shared": nested(60),
    "text": "y" * (1 << 26),
    "bytes": b"z" * (1 << 26),
    "list": [0] * (1 << 22),
}


@pytest.mark.parametrize("kind", LARGE)
def test_large_values_take_no_time(kind: str) -> None:
    value = LARGE[kind]
    begin = time.process_time()
    assert len(shown(value)) < 300
    assert time.process_time() - begin < 1  # formatting any of them whole takes far more, or never ends


@given(st.recursive(st.one_of(st.none(), st.integers(), st.floats(), st.text(), st.binary()), st.lists))
def test_every_text_is_short(value: object) -> None:
    assert len(shown(value)) < 700


def test_a_number_of_many_digits_is_refused_in_words() -> None:
    with pytest.raises(SpecError, match="expected k <= 2147483647, got k=a number of 1329 bits"):
        require_int("k", 10**400, 1)
    with pytest.raises(SpecError, match="expected k to be an integer, got k=a list of 2"):
        require_int("k", nested(60), 1)
