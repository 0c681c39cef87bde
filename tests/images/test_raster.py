import numpy as np
import pytest

from diagplan.adapters.vq_decoder import load_vq
from diagplan.images import raster
from diagplan.images.folder import open_folder
from diagplan.images.prompts import Request
from diagplan.planner.errors import DocumentError, SpecError
from tests.images.test_janus import characters
from tests.support.checkpoints import write_safetensors
from tests.support.image_folders import folder_of, vqgan

pytest.importorskip("transformers")


def test_the_ids_are_the_tokenizers_then_the_rasters_lead() -> None:
    asked = raster.prompts(open_folder(folder_of("raster-llama")), Request(texts=("a cat", "dog")))
    full, nothing = asked.branches
    assert full.ids.tolist() == [[1, *characters("a cat"), 48], [0, 0, 1, *characters("dog"), 48]]
    assert full.pad.tolist() == [0, 2]
    assert nothing.ids.tolist() == [[0] * 5 + [1, 48]] * 2
    assert nothing.pad.tolist() == [5, 5]
    (layout,) = asked.layouts
    assert (layout.rows, layout.cols, layout.between_rows) == (4, 5, 1)
    assert asked.given(0)[0].tolist() == [1, *characters("a cat"), 48, 3, 3, 3]
    with pytest.raises(SpecError, match="expected no size and no ratio"):
        raster.prompts(open_folder(folder_of("raster-llama")), Request(texts=("a",), size=(8, 8)))


def test_code_0_is_the_first_id(tmp_path) -> None:  # type: ignore[no-untyped-def]
    place = folder_of("raster-llama")
    file = write_safetensors(vqgan(), tmp_path / "vqgan.safetensors")
    ids = np.random.default_rng(0).integers(4, 44, (2, 4, 5))
    drawn = raster.decoder(open_folder(place, file), "cpu")(ids)
    assert np.array_equal(drawn, load_vq(file).decode(ids - 4))
    with pytest.raises(DocumentError, match=r"expected a file of the image decoder for a model of raster\.json"):
        raster.require_file(open_folder(place))
