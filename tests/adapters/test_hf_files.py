"""Folders of transformers' models: loaded off line, estimated before, refused in one line that names the file."""

import json
import re
import shutil
import sys
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

from diagplan import DocumentError, LoadOptions, MissingExtraError, SpecError, load_model, wrap  # noqa: E402
from diagplan.adapters import hf_files  # noqa: E402
from diagplan.adapters.hf_files import open_folder, read_folder  # noqa: E402
from diagplan.adapters.hf_kinds import KINDS  # noqa: E402
from diagplan.backends.memory import sizes_of  # noqa: E402
from diagplan.backends.torch_backend import BACKEND  # noqa: E402
from tests.support import hf_models as tiny  # noqa: E402

RASTER = tiny.RASTER
FAMILIES = pytest.mark.parametrize("family", KINDS)


@cache
def saved(family: str) -> tuple[Any, TemporaryDirectory[str]]:
    module, folder = tiny.BUILDERS[family](), TemporaryDirectory()
    with hf_files._quiet():
        module.save_pretrained(folder.name)
    return module, folder


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A copy of Emu3's, to be damaged."""
    place = tmp_path / "model"
    shutil.copytree(saved("emu3")[1].name, place)
    return place


def changed(folder: Path, **keys: Any) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | keys))


@FAMILIES
def test_a_folder_is_the_model_that_was_saved(family: str) -> None:
    module, place = saved(family)
    config = RASTER if family == "raster-llama" else None
    model: Any = load_model(family, place.name, config=config)
    kept = wrap(module, family=family, raster=config, fast=True)
    assert (model.family, model.vocabulary, model.raster) == (family, kept.vocabulary, kept.raster)
    assert model.fingerprint() == kept.fingerprint()
    assert model.dtype == torch.float32
    assert model.fast == kept.fast
    portable: Any = load_model(family, place.name, config=config, portable=True)
    assert not portable.fast
    assert portable.fingerprint() == wrap(module, family=family, raster=config).fingerprint()


@FAMILIES
def test_config_json_tells_the_family(family: str) -> None:
    config = RASTER if family == "raster-llama" else None
    model: Any = load_model("transformers", saved(family)[1].name, config=config, dtype="bfloat16")
    assert model.family == {"anole": "chameleon"}.get(family, family)
    assert model.dtype == torch.bfloat16


@FAMILIES
def test_sizes_before_loading_are_those_after(family: str) -> None:
    options = LoadOptions(config=RASTER if family == "raster-llama" else None, dtype="bfloat16", portable=True)
    before = BACKEND.sizes(family, saved(family)[1].name, options)
    model: Any = BACKEND.load(family, saved(family)[1].name, options)
    after = sizes_of(model)
    assert before is not None
    assert before._replace(weights=0, loading=0) == after._replace(weights=0)
    whole = {part.data_ptr(): part.nbytes for part in model.module.state_dict().values()}
    assert before.weights == pytest.approx(sum(whole.values()), rel=0.01)  # a few buffers are float32
    assert after.weights <= before.weights


def test_a_raster_lies_beside_the_weights(tmp_path: Path) -> None:
    place = tmp_path / "model"
    shutil.copytree(saved("raster-llama")[1].name, place)
    fields = {"ids": [40, 80], "rows": 5, "cols": 6, "between_rows": [3]}
    (place / "raster.json").write_text(json.dumps(fields))
    model: Any = load_model("transformers", place)
    assert model.raster == RASTER
    (tmp_path / "other.json").write_text(json.dumps(fields | {"rows": 7}))
    model = load_model("raster-llama", place, config=tmp_path / "other.json")
    assert model.raster.rows == 7
    (place / "raster.json").write_text(json.dumps(fields | {"colums": 7}))
    with pytest.raises(DocumentError, match=r"raster\.json: expected the fields ids, .*, got 'colums'"):
        load_model("transformers", place)


def test_a_language_model_is_refused() -> None:
    place = saved("raster-llama")[1].name
    with pytest.raises(SpecError, match=rf"expected a model of image tokens, got {place}/config.json .*'llama'"):
        load_model("transformers", place)


def test_another_family_is_named() -> None:
    place = saved("emu3")[1].name
    with pytest.raises(SpecError, match=r"model_type janus for the family janus-pro, got 'emu3' .* of the family emu3"):
        load_model("janus-pro", place)


def test_a_diffusion_model_is_refused(tmp_path: Path) -> None:
    (tmp_path / "model_index.json").write_text("{}")
    with pytest.raises(DocumentError, match=r"model_index\.json, a diffusion pipeline without vision_language_encoder"):
        load_model("transformers", tmp_path)


def test_a_part_of_one_is_refused(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"_class_name": "UNet2DConditionModel"}')
    with pytest.raises(DocumentError, match="_class_name='UNet2DConditionModel', a part of a diffusion pipeline"):
        load_model("transformers", tmp_path)


def test_the_token_model_of_a_pipeline_is_found(tmp_path: Path) -> None:
    (tmp_path / "model_index.json").write_text("{}")
    shutil.copytree(saved("glm-image")[1].name, tmp_path / "vision_language_encoder")
    model: Any = load_model("transformers", tmp_path)
    assert model.family == "glm-image"


@pytest.mark.parametrize(
    ("kind", "instead"),
    [("multi_modality", "deepseek-community/Janus-Pro-1B"), ("Emu3", "Emu3-community/Emu3-Gen-hf")],
)
def test_publishers_own_formats_are_named(folder: Path, kind: str, instead: str) -> None:
    changed(folder, model_type=kind)
    with pytest.raises(DocumentError, match=f"its publisher's own, .* Take {instead}"):
        load_model("transformers", folder)


@pytest.mark.parametrize(
    ("text", "reason"), [("{", "Expecting property name"), ("[1]", "it holds a list of 1|it holds \\[1\\]")]
)
def test_a_config_that_is_no_json(folder: Path, text: str, reason: str) -> None:
    (folder / "config.json").write_text(text)
    with pytest.raises(DocumentError, match=rf"expected a JSON object, got .*config\.json, which is not \(({reason})"):
        load_model("emu3", folder)


def test_a_config_of_impossible_sizes(folder: Path) -> None:
    held = json.loads((folder / "config.json").read_text())
    changed(folder, text_config=held["text_config"] | {"num_attention_heads": "many"})
    with pytest.raises(DocumentError, match=r"expected a configuration that transformers takes, got .*config\.json"):
        load_model("emu3", folder)


def test_a_config_without_a_vocabulary(folder: Path) -> None:
    changed(folder, vocabulary_map={})
    with pytest.raises(SpecError, match="expected visual tokens of vocabulary_map without gaps, got 0 ids"):
        load_model("emu3", folder)


def test_other_sizes_than_the_weights(folder: Path) -> None:
    held = json.loads((folder / "config.json").read_text())
    changed(folder, text_config=held["text_config"] | {"intermediate_size": 50})
    with pytest.raises(DocumentError, match=rf"got {folder}.*(of another shape|at which transformers says)"):
        load_model("emu3", folder)
    changed(folder, text_config=held["text_config"] | {"num_hidden_layers": 3})
    with pytest.raises(DocumentError, match=rf"got {folder} with 9 missing: model\.text_model\.layers\.2\."):
        load_model("emu3", folder)


def test_weights_that_are_not_there(folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    (folder / "pytorch_model.bin").write_bytes(b"\x80\x02}q\x00.")
    with pytest.raises(DocumentError, match=r"either model\.safetensors or .*, got .* with .*pytorch_model\.bin"):
        load_model("emu3", folder)
    (folder / "model.safetensors.index.json").write_text('{"weight_map": {"a": "model-1.safetensors"}}')
    with pytest.raises(DocumentError, match=r"index\.json names, got no file 'model-1\.safetensors'"):
        load_model("emu3", folder)


def test_no_folder(tmp_path: Path) -> None:
    with pytest.raises(DocumentError, match=rf"got {tmp_path}/none, where there is nothing"):
        load_model("emu3", tmp_path / "none")
    (tmp_path / "file").touch()
    with pytest.raises(DocumentError, match=rf"got {tmp_path}/file, where there is a file"):
        load_model("emu3", tmp_path / "file")
    with pytest.raises(DocumentError, match=rf"expected config\.json in {tmp_path}, got file"):
        load_model("emu3", tmp_path)


def test_options_that_there_are_not(folder: Path) -> None:
    with pytest.raises(SpecError, match="expected no quantize for a model of transformers"):
        load_model("emu3", folder, quantize="int8")
    with pytest.raises(SpecError, match="expected config to be a Raster or a JSON file of one, got config='300M_16f'"):
        load_model("emu3", folder, config="300M_16f")
    changed(folder, quantization_config={"quant_method": "bitsandbytes"})
    with pytest.raises(SpecError, match=r"config\.json with quantization_config.*hand it to diagplan\.wrap"):
        load_model("emu3", folder)


def test_a_transformers_that_is_too_old(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(hf_files._CLASSES, "emu3", "Emu9ForConditionalGeneration")
    with pytest.raises(SpecError, match="expected a transformers with Emu9ForConditionalGeneration, got version"):
        open_folder(read_folder(folder))


def test_without_transformers(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(MissingExtraError, match=re.escape("pip install 'diagplan[images]'")):
        load_model("emu3", folder)


def test_nothing_is_printed(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    before = transformers.utils.logging.is_progress_bar_enabled()
    load_model("emu3", folder)
    assert capfd.readouterr() == ("", "")
    assert transformers.utils.logging.is_progress_bar_enabled() is before
