"""Arrays of strangers: what NumPy writes is read, whatever else is one error, in little time and memory."""

import io
import time
import tracemalloc
from pathlib import Path
from random import Random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from diagplan.planner.errors import DocumentError
from diagplan.schemas.arrays import array_from_npy, read_npy

KINDS = st.one_of(
    arrays.integer_dtypes(), arrays.unsigned_integer_dtypes(), arrays.floating_dtypes(), st.just(np.dtype("?"))
)


def saved(array: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


@given(arrays.arrays(KINDS, arrays.array_shapes(min_dims=0, max_dims=4, min_side=0)), st.booleans())
def test_what_numpy_writes_is_read(array: np.ndarray, fortran: bool) -> None:
    written = np.asfortranarray(array) if fortran else array
    found = array_from_npy(saved(written), "a.npy")
    assert found.dtype == array.dtype
    np.testing.assert_array_equal(found, array)


def header(text: str, body: bytes = b"") -> bytes:
    padded = text.encode().ljust(117) + b"\n"
    return b"\x93NUMPY\x01\x00" + len(padded).to_bytes(2, "little") + padded + body


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"hello",
        b"\x93NUMPY\x09\x00",
        header("{'descr': '<i8', 'fortran_order': False, 'shape': (1000000000000,)}"),
        header("{'descr': '<i8', 'fortran_order': False, 'shape': (-1,)}", b"12345678"),
        header("{'descr': '<i8', 'fortran_order': False, 'shape': (99999999999999999999999,)}"),
        header("{'descr': '|O', 'fortran_order': False, 'shape': (1,)}", b"12345678"),
        header("{'descr': '<i8', 'fortran_order': False, 'shape': (True,)}", b"12345678"),
        header("{'descr': '<i8', 'fortran_order': False, 'shape': (2,)}", b"12345678"),
        header("((((((((((("),
        header("{'descr': [('a', '<i8')], 'fortran_order': False, 'shape': (1,)}", b"12345678"),
        header("'\\x"),
    ],
)
def test_other_files_are_one_error(data: bytes) -> None:
    with pytest.raises(DocumentError, match=r"expected a \.npy array of integers in x\.npy, got"):
        array_from_npy(data, "x.npy", of="integers")


def test_an_archive_is_none() -> None:
    with pytest.raises(DocumentError, match="got an archive"):
        array_from_npy(b"PK\x03\x04", "x.npy")


def test_damaged_files_neither_crash_nor_grow() -> None:
    whole, random = saved(np.arange(64).reshape(8, 8)), Random(5)
    tracemalloc.start()
    begin = time.process_time()
    for _ in range(3000):
        data = bytearray(whole)
        for _ in range(random.randint(1, 4)):
            data[random.randrange(128)] = random.choice(b"'(){}[],:0123456789\\<>|?fiuOU \x00\xff")
        try:
            assert array_from_npy(bytes(data), "x").nbytes <= len(data)
        except DocumentError:
            continue
    assert time.process_time() - begin < 30
    assert tracemalloc.get_traced_memory()[1] < 16 << 20
    tracemalloc.stop()


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(DocumentError, match=r"cannot read .*none\.npy: No such file"):
        read_npy(tmp_path / "none.npy")
