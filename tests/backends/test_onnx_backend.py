"""Loading for ONNX Runtime: what was exported says what it is; nothing is chosen again."""

from pathlib import Path

import pytest

pytest.importorskip("torch")
pytest.importorskip("onnxruntime")
pytest.importorskip("onnxscript")

from diagplan import DocumentError, LoadOptions, MismatchError, SpecError
from diagplan.backends.memory import sizes_of
from diagplan.backends.onnx_backend import BACKEND, read_exported_model
from tests.support.exported import exported_folder
from tests.support.mc_ar import golden_model

ONNX = LoadOptions(backend="onnx")


def test_an_export_says_what_it_is() -> None:
    folder = exported_folder()
    document = read_exported_model("mc-ar", folder, ONNX)
    assert document == read_exported_model(None, folder, ONNX)
    assert (document.family, document.source) == ("mc-ar", golden_model().fingerprint())


def test_sizes_are_those_of_the_loaded_model() -> None:
    sizes = BACKEND.sizes("mc-ar", exported_folder(), ONNX)
    assert sizes is not None
    assert sizes._replace(loading=0) == sizes_of(BACKEND.load("mc-ar", exported_folder(), ONNX))


def test_another_family_is_refused() -> None:
    for call in (BACKEND.load, BACKEND.sizes, read_exported_model):
        with pytest.raises(MismatchError, match="expected an exported model of the adapter wham, got one of mc-ar in"):
            call("wham", exported_folder(), ONNX)


def test_what_was_chosen_at_export_is_not_chosen_again() -> None:
    for call in (BACKEND.load, BACKEND.sizes):
        with pytest.raises(SpecError, match="got dtype='float16'"):
            call("mc-ar", exported_folder(), ONNX.replaced(dtype="float16"))


def test_a_folder_that_is_none(tmp_path: Path) -> None:
    with pytest.raises(
        DocumentError, match=r"expected the folder of an exported model, got .*missing, which is none\."
    ):
        BACKEND.load("mc-ar", tmp_path / "missing", ONNX)
