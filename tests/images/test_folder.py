import json
import re
from pathlib import Path

import pytest

from diagplan.images.folder import open_folder
from diagplan.planner.errors import DocumentError, SpecError
from tests.support.image_folders import MAKERS, folder_of

pytest.importorskip("transformers")


@pytest.mark.parametrize("family", [family for family in MAKERS if family not in ("llamagen", "glm-pipeline")])
def test_a_folder_tells_its_family(family: str) -> None:
    folder = open_folder(folder_of(family))
    assert folder.painter == family
    assert folder.context == 512
    assert (folder.tokenizer / "tokenizer.json").is_file()
    assert (folder.model / "model.safetensors").is_file()
    assert (folder.raster is not None) == (family == "raster-llama")


def test_a_pipelines_parts_are_where_it_keeps_them() -> None:
    place = folder_of("glm-pipeline")
    for path in (place, place / "vision_language_encoder"):
        folder = open_folder(path)
        assert (folder.path, folder.model) == (place, place / "vision_language_encoder")
        assert folder.tokenizer == place / "processor"


def test_a_file_is_llamagens() -> None:
    place = folder_of("llamagen")
    assert open_folder(place / "c2i.safetensors", None, place / "c2i.json").painter == "llamagen"
    assert open_folder(place / "t2i.safetensors", None, place / "t2i.json").painter == "llamagen-t2i"


def write(folder: Path, name: str, value: object) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / name).write_text(json.dumps(value))
    return folder


def test_folders_of_other_models_are_refused_by_the_file_that_tells(tmp_path: Path) -> None:
    for folder, file in (
        (
            write(tmp_path / "sdxl", "model_index.json", {"_class_name": "StableDiffusionXLPipeline"}),
            "model_index.json",
        ),
        (write(tmp_path / "unet", "config.json", {"_class_name": "UNet2DConditionModel"}), "config.json"),
        (write(tmp_path / "llm", "config.json", {"model_type": "llama"}), "config.json"),
        (write(tmp_path / "own", "config.json", {"model_type": "multi_modality"}), "config.json"),
    ):
        with pytest.raises((DocumentError, SpecError), match=re.escape(str(folder / file))):
            open_folder(folder)
    with pytest.raises(DocumentError, match=r"expected config\.json in "):
        open_folder(write(tmp_path / "empty", "other.json", {}))
    with pytest.raises(DocumentError, match="where there is nothing"):
        open_folder(tmp_path / "absent")


def test_parts_of_a_configuration_are_objects_and_numbers_whole(tmp_path: Path) -> None:
    folder = write(tmp_path / "a", "config.json", {"model_type": "emu3", "vq_config": 3, "text_config": {}})
    held = open_folder(folder)
    with pytest.raises(
        DocumentError, match=rf"expected an object vq_config in {re.escape(str(folder / 'config.json'))}"
    ):
        held.sizes("vq_config")
    assert held.sizes("absent") == {}
    assert held.context is None
    for wrong in (True, "3", 0, 1 << 40, 1.5):
        with pytest.raises(DocumentError, match=r"expected codes in .* to be a whole number >= 1"):
            held.whole(wrong, "codes")
