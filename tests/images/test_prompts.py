import numpy as np
import pytest

from diagplan.images.prompts import Branch, Prompted, Request, padded, parse_ratio, parse_size
from diagplan.planner.errors import SpecError
from diagplan.planner.layout import Layout


def test_branches_are_padded_to_the_longest_of_all() -> None:
    first, second = padded([[[5, 6, 7], [8]], [[9], [9]]], 0)
    assert first.ids.tolist() == [[5, 6, 7], [0, 0, 8]]
    assert first.pad.tolist() == [0, 2]
    assert second.ids.tolist() == [[0, 0, 9], [0, 0, 9]]
    assert second.pad.tolist() == [2, 2]


def test_given_ids_and_some_of_the_pictures() -> None:
    branch = Branch(ids=np.array([[5, 6], [7, 8], [9, 10]]), pad=np.array([0, 1, 0]))
    asked = Prompted(
        layouts=(Layout(frames=1, rows=3, cols=2, lead=2, between_rows=2),), branches=(branch, branch),
        between=(3, 4), width=2, height=3, texts=("a", "b", "c"),
    )  # fmt: skip
    assert asked.given(1).tolist() == [[5, 6, 3, 4, 3, 4], [7, 8, 3, 4, 3, 4], [9, 10, 3, 4, 3, 4]]
    assert asked.pad.tolist() == [0, 1, 0, 0, 1, 0]
    some = asked.only(slice(1, 3))
    assert some.texts == ("b", "c")
    assert some.given(0).tolist() == [[7, 8, 3, 4, 3, 4], [9, 10, 3, 4, 3, 4]]
    assert some.pad.tolist() == [1, 0, 1, 0]


def test_sizes_and_ratios() -> None:
    assert parse_size(" 1024 x 768 ") == (1024, 768)
    assert parse_size([64, 32]) == (64, 32)
    assert parse_ratio("16:9") == (16, 9)
    for wrong in ("1024", "1024X768", "axb", "0x5", "1024x768x3", 5, [1], "99999x3", [1.5, 2]):
        with pytest.raises(SpecError, match="expected size"):
            parse_size(wrong)
    with pytest.raises(SpecError, match=r"Write 16:9\."):
        parse_ratio("16x9")


def test_a_request_is_checked() -> None:
    for wrong in ((), "a", (3,), None):
        with pytest.raises(SpecError, match=r"prompt|list of texts"):
            Request(texts=wrong)  # type: ignore[arg-type]
    with pytest.raises(SpecError, match="expected size or ratio, got both"):
        Request(texts=("a",), size=(8, 8), ratio=(1, 1))
