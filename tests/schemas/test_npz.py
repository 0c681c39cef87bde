"""Arrays of .npz files: what NumPy writes is read; what is damaged, or unpacks to far more than it is, is one error."""

import io
import zipfile
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pytest

from diagplan.planner.errors import DocumentError
from diagplan.schemas.npz import read_npz
from tests.search.damage import bomb, hurt_bytes

ARRAYS: dict[str, Any] = {"a": np.arange(6).reshape(2, 3), "b": np.zeros((0, 4), np.float32), "key": np.array("abc")}


def saved(**arrays: Any) -> bytes:
    data = io.BytesIO()
    np.savez_compressed(data, **arrays)
    return data.getvalue()


def written(folder: Path, data: bytes) -> Path:
    path = folder / "x.npz"
    path.write_bytes(data)
    return path


def test_what_numpy_writes_is_read(tmp_path: Path) -> None:
    found = read_npz(written(tmp_path, saved(**ARRAYS)), ["key", "a", "b"])
    assert list(found) == ["key", "a", "b"]
    for name, array in found.items():
        assert array.dtype == ARRAYS[name].dtype
        np.testing.assert_array_equal(array, ARRAYS[name])


def test_a_bomb_is_not_unpacked(tmp_path: Path) -> None:
    path = written(tmp_path, bomb(saved(**ARRAYS), "a.npy", 1 << 30))
    with pytest.raises(DocumentError, match=r"a would be 1,073,741,824 bytes, more than 268,435,456\.$"):
        read_npz(path, ["a"])
    assert read_npz(path, ["key"])["key"] == "abc"  # it is not looked at


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "File is not a zip file"),
        (saved(b=ARRAYS["b"]), "There is no item named"),
        (saved(a=np.array([None])), "elements of object"),
    ],
    ids=["empty", "lacking", "objects"],
)
def test_other_files(data: bytes, said: str, tmp_path: Path) -> None:
    with pytest.raises(DocumentError, match=said):
        read_npz(written(tmp_path, data), ["a"])
    with pytest.raises(DocumentError, match="No such file"):
        read_npz(tmp_path / "none.npz", ["a"])


def test_another_packing_is_refused(tmp_path: Path) -> None:
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w", zipfile.ZIP_BZIP2) as archive:
        archive.writestr("a.npy", b"x")
    with pytest.raises(DocumentError, match="packed in another way"):
        read_npz(written(tmp_path, data.getvalue()), ["a"])


def test_damage_is_one_error_or_none(tmp_path: Path) -> None:
    whole, rng = saved(**ARRAYS), Random(0)
    for _ in range(300):
        path = written(tmp_path, hurt_bytes(rng, whole))
        try:
            read_npz(path, ["key", "a"])
        except DocumentError:
            continue
