"""Load options: one value, checked once."""

import re
from dataclasses import FrozenInstanceError
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from diagplan import LoadOptions
from diagplan.planner.errors import SpecError


def test_defaults_are_what_an_export_takes() -> None:
    LoadOptions().require_as_exported()
    LoadOptions(backend="onnx", device="cuda:1", threads=3).require_as_exported()


@pytest.mark.parametrize(
    ("chosen", "words"),
    [
        ({"config": "300M_16f"}, "got config='300M_16f'."),
        ({"dtype": "bfloat16"}, "got dtype='bfloat16'."),
        ({"quantize": "int8"}, "got quantize='int8'."),
        ({"portable": True}, "got portable=True."),
        ({"context": np.zeros((3, 4))}, "got a context."),
    ],
)
def test_what_was_chosen_at_export_is_not_chosen_again(chosen: dict[str, Any], words: str) -> None:
    message = f"expected no config, dtype, quantize, portable or context with backend='onnx', {words} They were chosen"
    with pytest.raises(SpecError, match=re.escape(message)):
        LoadOptions(backend="onnx", **chosen).require_as_exported()


def test_a_long_config_is_not_printed_whole() -> None:
    with pytest.raises(SpecError) as caught:
        LoadOptions(backend="onnx", config="x" * 10_000).require_as_exported()
    assert len(str(caught.value)) < 500


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"dtype": "float64"}, "expected dtype to be one of float32, bfloat16, float16, got dtype='float64'."),
        ({"quantize": "int4"}, "expected quantize to be None or one of int8, got 'int4'."),
        ({"threads": 0}, "expected threads >= 1, got threads=0."),
        ({"threads": True}, "expected threads to be a whole number from 1 to 1024, 'auto' or None, got threads=True."),
        ({"threads": 1.5}, "expected threads to be a whole number from 1 to 1024, 'auto' or None, got threads=1.5."),
        ({"portable": "no"}, "expected portable to be True or False, got portable='no'."),
        ({"config": [1]}, "expected config to be a name, a file or a family's dataclass of sizes, got config=<list>."),
        ({"device": 0}, "expected device as text, got device=0."),
    ],
)
def test_bad_values(options: dict[str, Any], message: str) -> None:
    with pytest.raises(SpecError, match=re.escape(message)):
        LoadOptions(**options)


def test_options_are_a_value() -> None:
    options = LoadOptions(dtype="float16", config="a")
    assert options.replaced(device="cuda") == LoadOptions(dtype="float16", config="a", device="cuda")
    assert options.of_files() == {
        "config": "a", "dtype": "float16", "device": "cpu", "quantize": None, "portable": False,
    }  # fmt: skip
    with pytest.raises(SpecError, match="expected dtype"):
        options.replaced(dtype="half")
    with pytest.raises(FrozenInstanceError):
        options.dtype = "float32"  # type: ignore[misc]


def test_what_ranks_cannot_share() -> None:
    ranks: Any = SimpleNamespace(rank=0, world=2)
    assert LoadOptions(ranks=ranks).replaced(dtype="bfloat16").ranks is ranks
    for chosen, message in (
        ({"quantize": "int8"}, "expected no quantize with --tensor-parallel, got quantize='int8'."),
        ({"backend": "onnx"}, "expected backend torch with --tensor-parallel, got backend='onnx'."),
        ({"portable": True}, "expected no portable weights with --tensor-parallel, got portable=True."),
    ):
        with pytest.raises(SpecError, match=re.escape(message)):
            LoadOptions(ranks=ranks, **chosen)
