import numpy as np
import pytest

from diagplan.images.sheets import contact_sheet
from diagplan.planner.errors import SpecError

pytest.importorskip("PIL")

RED, BLUE = np.full((2, 30, 40, 3), [[[[200, 0, 0]]], [[[0, 0, 200]]]], dtype=np.uint8)


def test_small_pictures_are_enlarged_as_they_are() -> None:
    sheet = contact_sheet(np.stack([RED, BLUE]), ["a", "b"], columns=2)
    for colour in ([200, 0, 0], [0, 0, 200]):
        places = np.argwhere((sheet == colour).all(axis=2))
        height, width = places.max(axis=0) - places.min(axis=0) + 1
        assert (height, width) == (7 * 30, 7 * 40)
        assert len(places) == height * width
    assert (sheet[0, 0] == [250, 249, 246]).all()
    striped = np.where(np.arange(40)[None, :, None] % 2, RED, BLUE)
    inside = contact_sheet(striped[None], ["a"])[12:222, 12:292].reshape(-1, 3)
    assert len(np.unique(inside, axis=0)) == 2


def test_rows_columns_heads_and_titles() -> None:
    pictures = np.stack([RED, BLUE, RED, BLUE, RED])
    plain = contact_sheet(pictures, list("abcde"), columns=2)
    assert plain.shape[0] > 3 * 210
    wide = contact_sheet(pictures, list("abcde"), columns=5)
    assert wide.shape[1] > 5 * 280
    assert wide.shape[0] < plain.shape[0]
    titled = contact_sheet(pictures[:4], list("abcd"), columns=2, heads=["x", "y"], titles=["one", "two"])
    assert titled.shape[0] > contact_sheet(pictures[:4], list("abcd"), columns=2).shape[0]
    assert contact_sheet(pictures, list("abcde")).shape[1] < wide.shape[1]


def test_long_labels_take_three_lines_and_are_cut() -> None:
    one, long = (contact_sheet(RED[None], [text], columns=1) for text in ("word", "word " * 200))
    assert long.shape[1] == one.shape[1]
    assert long.shape[0] == one.shape[0] + 2 * 22
    assert contact_sheet(RED[None], ["x" * 500], columns=1).shape == one.shape


def test_labels_are_counted() -> None:
    with pytest.raises(SpecError, match="expected a label for each of 1 pictures, got 2"):
        contact_sheet(RED[None], ["a", "b"])
