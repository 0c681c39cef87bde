"""Files of WHAM's recordings: damaged, hostile, and of other kinds."""

import io
import re
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from diagplan.adapters.wham_actions import decode_actions, encode_actions
from diagplan.adapters.wham_recordings import read_actions, read_clip
from diagplan.planner.errors import DocumentError

IMAGES = np.arange(2 * 3 * 4 * 5, dtype=np.uint8).reshape(2, 3, 4, 5)
ACTIONS = np.array([[0] * 12 + [5] * 4, [1] * 12 + [0, 10, 4, 6]])


def refused(read: Callable[[Path], object], path: Path) -> str:
    with pytest.raises(DocumentError) as caught:
        read(path)
    assert "\n" not in str(caught.value)
    assert str(path) in str(caught.value)
    return str(caught.value)


def npy(array: Any) -> bytes:
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


def with_header(header: str) -> bytes:
    """A .npy of 64 bytes of zeros that says something else of itself."""
    text = header.encode() + b"\n"
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text + bytes(64)


def write(path: Path, members: dict[str, bytes], packing: int = zipfile.ZIP_DEFLATED) -> Path:
    with zipfile.ZipFile(path, "w", packing) as archive:
        for name, data in members.items():
            archive.writestr(f"{name}.npy", data)
    return path


def in_both(path: Path, at: int, size: int, value: int) -> Path:
    """The first member's field at that offset, changed in its own header and in the zip's directory."""
    whole = bytearray(path.read_bytes())
    for start in (whole.index(b"PK\x03\x04") + at, whole.index(b"PK\x01\x02") + at + 2):
        whole[start : start + size] = value.to_bytes(size, "little")
    path.write_bytes(whole)
    return path


@pytest.mark.parametrize("read", [read_clip, read_actions])
def test_zips_that_cannot_be_unpacked(read: Callable[[Path], object], tmp_path: Path) -> None:
    members = {"actions": npy(ACTIONS), "images": npy(IMAGES)}
    path = write(tmp_path / "a.npz", members)
    whole = path.read_bytes()
    start = 30 + len("actions.npy")
    path.write_bytes(whole[:start] + bytes([255] * 8) + whole[start + 8 :])
    assert "actions.npy: Error -3 while decompressing data" in refused(read, path)
    assert "is encrypted" in refused(read, in_both(write(path, members), 6, 2, 1))
    for packing in (1, 99):
        said = refused(read, in_both(write(path, members), 8, 2, packing))
        assert "actions.npy is packed in another way than numpy.savez does" in said
    assert "is packed in another way" in refused(read, write(path, members, zipfile.ZIP_LZMA))
    assert "there is no actions.npy in it" in refused(read, write(path, {"images": npy(IMAGES)}))
    assert "No such file" in refused(read, tmp_path / "none.npz")


@pytest.mark.parametrize("name", ["images", "actions"])
@pytest.mark.parametrize(
    ("data", "said"),
    [
        (with_header("((((("), ""),
        (with_header("(" * 5000), ""),
        (
            with_header("{'descr': '<f8', 'fortran_order': False, 'shape': (10000000000000, 16)}"),
            "an array of float64",
        ),
        (with_header("{'descr': '|u1', 'fortran_order': False, 'shape': (9, 9)}"), "an array of uint8 [9, 9] in"),
        (b"\x93NUMPY\x03\x00", "version (3, 0) of the format"),
        (b"no numpy", "the magic string"),
        (b"", "EOF"),
        (npy(np.array([{}], dtype=object)), "Object arrays cannot be loaded"),
    ],
    ids=["open", "nested", "huge", "larger", "version", "other", "empty", "objects"],
)
def test_members_that_are_no_arrays(name: str, data: bytes, said: str, tmp_path: Path) -> None:
    members = {"images": npy(IMAGES), "actions": npy(ACTIONS)} | {name: data}
    assert f"{name}.npy: " + said in refused(read_clip, write(tmp_path / "a.npz", members))
    if name == "actions":
        assert said in refused(read_actions, tmp_path / "a.npz")
        (tmp_path / "a.npy").write_bytes(data)
        assert said in refused(read_actions, tmp_path / "a.npy")


@pytest.mark.parametrize(
    "actions",
    [
        np.array(3),
        ACTIONS[0],
        ACTIONS[None],
        ACTIONS.astype(complex),
        ACTIONS.astype(bool),
        ACTIONS.astype("datetime64[s]"),
        ACTIONS.astype(str),
        np.zeros((2, 16), dtype=[("a", "i4")]),
    ],
    ids=lambda actions: f"{actions.dtype} {actions.ndim}",
)
def test_actions_are_a_table_of_numbers_in_either_form(actions: Any, tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", images=IMAGES, actions=actions)
    np.save(tmp_path / "a.npy", actions)
    want = f"expected actions as numbers [T, 16], got {actions.dtype} {list(actions.shape)} in"
    assert want in refused(read_clip, tmp_path / "a.npz")
    assert want in refused(read_actions, tmp_path / "a.npz")
    assert want in refused(read_actions, tmp_path / "a.npy")


@pytest.mark.parametrize("read", [read_clip, read_actions])
def test_one_array_under_the_name_of_several(read: Callable[[Path], object], tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    path.write_bytes(npy(ACTIONS))
    assert "which is one array. Save both with numpy.savez, or actions alone as .npy." in refused(read, path)


def test_no_more_is_unpacked_than_the_limit(tmp_path: Path) -> None:
    path = write(tmp_path / "a.npz", {"images": npy(IMAGES), "actions": npy(ACTIONS)})
    in_both(path, 22, 4, (1 << 31) + 1)  # as it unpacks to
    assert "images.npy: 2,147,483,649 bytes, more than 2,048 MiB" in refused(read_clip, path)
    large = np.zeros((1 << 19, 16))
    np.savez_compressed(path, images=IMAGES, actions=large)
    assert path.stat().st_size < 1 << 20
    assert re.search(r"actions\.npy: 67,\d+,\d+ bytes, more than 64 MiB", refused(read_actions, path))
    with (tmp_path / "a.npy").open("wb") as file:
        file.truncate((1 << 26) + 1)
    assert "more than 64 MiB" in refused(read_actions, tmp_path / "a.npy")
    write(path, {"images": npy(IMAGES) + bytes(5000), "actions": npy(ACTIONS)})
    in_both(path, 22, 4, 150)  # less than it unpacks to: no more is taken
    assert "images.npy: Bad CRC-32" in refused(read_clip, path)


def test_actions_without_the_images(tmp_path: Path) -> None:
    path = write(tmp_path / "a.npz", {"images": b"damaged", "actions": npy(ACTIONS)})
    np.testing.assert_array_equal(read_actions(path), encode_actions(ACTIONS))
    np.savez_compressed(path, images=IMAGES, actions=ACTIONS)
    frames, actions = read_clip(path)
    np.testing.assert_array_equal(frames, IMAGES.transpose(0, 2, 3, 1))
    np.testing.assert_array_equal(actions, ACTIONS)


def test_actions_in_all_three_forms(tmp_path: Path) -> None:
    np.savez(tmp_path / "play.npz", images=IMAGES, actions=ACTIONS.astype(np.float32))
    blocks = read_actions(tmp_path / "play.npz")
    np.save(tmp_path / "play.npy", decode_actions(blocks))
    np.testing.assert_array_equal(read_actions(tmp_path / "play.npy"), blocks)
    lines = tmp_path / "play.jsonl"
    lines.write_text('{"buttons": [1,0,0,0,0,0,0,0,0,0,0,1], "sticks": [0, 1.0, -1, 0.1]}\n\n')
    np.testing.assert_array_equal(decode_actions(read_actions(lines)), [[1, *[0] * 10, 1, 5, 10, 0, 6]])
    lines.write_text("\n")
    assert read_actions(lines).shape == (0, 16)


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("a.jsonl", "{}", "on each line, got another one at"),
        ("a.jsonl", '{"buttons": [0], "sticks": [0, 0, 0, 0]}', "on each line, got another one at"),
        ("a.jsonl", '{"buttons": [2,0,0,0,0,0,0,0,0,0,0,0], "sticks": [0,0,0,0]}', "expected buttons as 0 or 1"),
        ("a.jsonl", '{"buttons": [0,0,0,0,0,0,0,0,0,0,0,0], "sticks": [0,0,0,2]}', "positions from -1 to 1"),
        ("a.jsonl", '{"buttons": [0,0,0,0,0,0,0,0,0,0,0,0], "sticks": [0,0,0,NaN]}', "got another one at"),
        ("a.jsonl", '{"buttons": [0,0,0,0,0,0,0,0,0,0,0,true], "sticks": [0,0,0,0]}', "got another one at"),
        ("a.jsonl", "[" * 100_000, "line 1"),
        ("a.jsonl", "\udcff", "not UTF-8"),
        ("a.npy", "no numpy", "expected a .npy of actions, got"),
        ("a.npz", "no zip", "expected a .npz with images and actions"),
        ("none.jsonl", None, "cannot read the actions"),
    ],
)
def test_actions_that_are_none(tmp_path: Path, name: str, text: str | None, words: str) -> None:
    if text is not None:
        (tmp_path / name).write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(DocumentError, match=words.replace(".", r"\.")):
        read_actions(tmp_path / name)


def test_an_array_of_other_actions(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.full((2, 16), 7))
    with pytest.raises(DocumentError, match="expected 0 or 1 for button 0, got 7"):
        read_actions(tmp_path / "a.npy")
    np.save(tmp_path / "a.npy", np.zeros((16,)))
    with pytest.raises(DocumentError, match=r"expected actions as numbers \[T, 16\]"):
        read_actions(tmp_path / "a.npy")
