import json
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from diagplan.images.folder import open_folder
from diagplan.images.vq import as_pixels, image_statistics, load_vq, require_vq
from diagplan.planner.errors import DocumentError
from tests.support.image_folders import folder_of

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")
safetensors = pytest.importorskip("safetensors.torch")


def vq_of(place: Path) -> Any:
    kind = transformers.models.janus.modeling_janus.JanusVQVAE
    return load_vq(open_folder(place), kind, transformers.JanusConfig, "cpu")


def copied(tmp_path: Path) -> Path:
    place = tmp_path / "folder"
    shutil.copytree(folder_of("janus-pro"), place)
    return place


def resaved(place: Path, change: Any) -> None:
    file = place / "model.safetensors"
    safetensors.save_file(change(safetensors.load_file(file)), file, metadata={"format": "pt"})


def test_pixels_are_cut_and_their_fraction_dropped() -> None:
    values = torch.tensor([-2.0, -1.0, 0.0, 0.999, 1.0, 2.0])
    expected = np.clip((values.numpy() + 1) * 127.5, 0, 255).astype(np.uint8)
    grid = values.reshape(1, 1, 1, 6).expand(2, 3, 1, 6)
    assert as_pixels(grid).tolist() == np.broadcast_to(expected[None, None, :, None], (2, 1, 6, 3)).tolist()
    assert as_pixels(torch.full((1, 3, 1, 1), 2.0), mean=0.25, std=0.1)[0, 0, 0, 0] == int(0.45 * 255)


def test_it_is_loaded_alone_and_from_older_names(tmp_path: Path) -> None:
    place = copied(tmp_path)
    whole = transformers.JanusForConditionalGeneration.from_pretrained(place).model.vqmodel.state_dict()
    alone = vq_of(place).state_dict()
    assert all(torch.equal(alone[name], tensor) for name, tensor in whole.items())
    # As transformers wrote them before 5: without what stands before, and without the language model.
    resaved(place, lambda held: {n.removeprefix("model."): t for n, t in held.items() if "vqmodel" in n})
    again = vq_of(place).state_dict()
    assert all(torch.equal(again[name], tensor) for name, tensor in whole.items())


def test_weights_without_it_are_refused(tmp_path: Path) -> None:
    place = copied(tmp_path)
    resaved(place, lambda held: {name: t for name, t in held.items() if "vqmodel" not in name})
    with pytest.raises(DocumentError, match=rf"decoder's tensors \(vqmodel\.decoder\.\*\) in {re.escape(str(place))}"):
        require_vq(open_folder(place))


def test_weights_of_another_one_are_refused(tmp_path: Path) -> None:
    place = copied(tmp_path)
    resaved(place, lambda held: {name: t for name, t in held.items() if "vqmodel.decoder.conv_in.weight" not in name})
    with pytest.raises(DocumentError, match=r"got 1 missing or of another shape, the first 'decoder\.conv_in\.weight'"):
        vq_of(place)
    config = json.loads((place / "config.json").read_text())
    config["vq_config"]["num_res_blocks"] = "two"
    (place / "config.json").write_text(json.dumps(config))
    with pytest.raises(DocumentError, match=r"expected vq_config in .* to describe an image decoder"):
        vq_of(place)


def test_mean_and_deviation_are_the_files(tmp_path: Path) -> None:
    place = copied(tmp_path)
    folder = open_folder(place)
    assert image_statistics(folder, 0.5) == (0.5, 0.5)
    file = place / "preprocessor_config.json"
    file.write_text(json.dumps({"image_mean": [0.25] * 3, "image_std": [0.1] * 3}))
    assert image_statistics(folder, 0.5) == (0.25, 0.1)
    for wrong, message in (([0.1, 0.2, 0.3], "those of CLIP"), ("x", "expected three numbers image_mean")):
        file.write_text(json.dumps({"image_mean": wrong}))
        with pytest.raises(DocumentError, match=message):
            image_statistics(folder, 0.5)
