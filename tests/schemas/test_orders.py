"""Orders from files: the step of every cell, and what is no order."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from diagplan.planner.errors import DocumentError, SpecError
from diagplan.schemas import orders
from diagplan.schemas.orders import read_order
from tests.support.strategies import imported_orders, layouts


@given(st.data())
def test_both_kinds_of_file_hold_the_same_order(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    order = data.draw(imported_orders(data.draw(layouts(frames=2, side=4))))
    folder = tmp_path_factory.mktemp("orders")
    np.save(folder / "mine.npy", order.steps.astype(data.draw(st.sampled_from(("int64", "uint8", ">i4")))))
    (folder / "mine.json").write_text(json.dumps(order.steps.tolist()))
    for name in ("mine.npy", "mine.json"):
        read = read_order(folder / name)
        assert np.array_equal(read.steps, order.steps)
        assert read.label == "mine"


def test_one_frame_needs_no_third_level(tmp_path: Path) -> None:
    path = tmp_path / "flat.json"
    path.write_text("[[0, 1], [1, 2]]")
    assert read_order(str(path)).steps.tolist() == [[[0, 1], [1, 2]]]


def test_labels_are_the_files_name_or_as_asked(tmp_path: Path) -> None:
    path = tmp_path / ("a\tb" + "x" * 230 + ".json")
    path.write_text("[[0]]")
    assert read_order(path).label == "a?b" + "x" * 197
    assert read_order(path, label="lpd").label == "lpd"
    message = f"expected a label of at most 200 characters, got {201}. Shorten it."
    with pytest.raises(SpecError, match=f"^{re.escape(message)}$"):
        read_order(path, label="y" * 201)


def write(path: Path, content: str | bytes) -> Path:
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("o.txt", "[[0]]", "expected an order as .npy or .json, got o.txt. Save it as one of the two."),
        ("o.json", "[[0", "expected nested lists of integers in o.json, got Expecting ',' delimiter"),
        ("o.json", "[[0], [1, 2]]", "expected nested lists of integers in o.json, got "),
        ("o.json", "[" * 100_000, "expected nested lists of integers in o.json, got "),
        ("o.npy", b"", "expected a .npy array of integers in o.npy, got "),
        ("o.npy", "[[0]]", "expected a .npy array of integers in o.npy, got "),
    ],
)
def test_files_that_hold_no_array(tmp_path: Path, name: str, content: str | bytes, message: str) -> None:
    with pytest.raises(DocumentError, match=f"^{re.escape(message)}"):
        read_order(write(tmp_path / name, content))


@pytest.mark.parametrize(
    ("content", "got"),
    [
        ("[[0.5]]", "2 levels of float64."),
        ("[[true]]", "2 levels of bool."),
        ('[["0"]]', "2 levels of str32."),
        ("[]", "1 levels of float64."),
        ("[[[[0]]]]", "4 levels of int64."),
    ],
)
def test_lists_of_something_else(tmp_path: Path, content: str, got: str) -> None:
    message = f"expected nested lists of integers, [T][h][w] or [h][w], in o.json, got {got}"
    with pytest.raises(SpecError, match=f"^{re.escape(message)}$"):
        read_order(write(tmp_path / "o.json", content))


def test_numbers_that_are_no_order(tmp_path: Path) -> None:
    for content, message in (
        ("[[0, 2]]", "expected steps from 0 to 1, got 2. Number the steps from 0 without gaps."),
        ("[[-1, 0]]", "expected steps from 0 to 1, got -1. Number the steps from 0 without gaps."),
    ):
        with pytest.raises(SpecError, match=f"^{re.escape(message)}$"):
            read_order(write(tmp_path / "o.json", content))


def test_an_archive_of_arrays_is_refused_and_nothing_in_it_is_run(tmp_path: Path) -> None:
    archive, pickled = tmp_path / "a.npz", tmp_path / "p.npy"
    np.savez(archive, steps=np.zeros((1, 1), np.int64))
    message = "expected one .npy array in o.npy, got an archive. Save the array alone."
    with pytest.raises(DocumentError, match=f"^{re.escape(message)}$"):
        read_order(archive.rename(tmp_path / "o.npy"))
    np.save(pickled, np.array([[{}]], dtype=object), allow_pickle=True)
    with pytest.raises(
        DocumentError,
        match=re.escape(
            "expected a .npy array of integers in p.npy, got a file that cannot be read: elements of object"
        ),
    ):
        read_order(pickled)


def test_an_order_longer_than_any_plan(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(orders, "MAX_POSITIONS", 3)
    with pytest.raises(DocumentError, match=re.escape("expected at most 3 cells in o.json, got 4.")):
        read_order(write(tmp_path / "o.json", "[[0, 1], [2, 3]]"))
    assert read_order(write(tmp_path / "o.json", "[[0, 1, 2]]")).steps.size == 3
