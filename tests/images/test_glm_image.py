import re
import shutil
from pathlib import Path

import numpy as np
import pytest

from diagplan.images import glm_image
from diagplan.images.folder import open_folder
from diagplan.images.prompts import Request
from diagplan.planner.errors import DocumentError, SpecError
from tests.images.test_janus import characters
from tests.support.image_folders import CODES, GLM, folder_of, processor

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")


def test_grids_are_those_of_the_release() -> None:
    grids = {(1024, 1024): ((16, 16), (32, 32)), (768, 1152): ((19, 13), (36, 24))}
    for size, pair in (grids | {(1024, 2048): ((22, 11), (64, 32)), (2048, 2048): ((16, 16), (64, 64))}).items():
        assert glm_image.grids_of(size, None) == pair
    assert glm_image.grids_of(None, (2, 3)) == glm_image.grids_of((26 * 32, 39 * 32), None)
    with pytest.raises(SpecError, match="expected a size in multiples of 32 pixels, got size=100x64"):
        glm_image.grids_of((100, 64), None)
    with pytest.raises(SpecError, match="whose preview has a row and a column"):
        glm_image.grids_of((32, 32 * 300), None)


def test_the_ids_are_those_of_the_specification() -> None:
    asked = glm_image.prompts(open_folder(folder_of("glm-image")), Request(texts=("a cat", "dog"), size=(192, 128)))
    grids = [
        GLM["<sop>"], *characters("4 6"), GLM["<eop>"], GLM["<sop>"], *characters("13 19"), GLM["<eop>"],
        GLM["<|image_start|>"],
    ]  # fmt: skip
    (branch,) = asked.branches
    assert branch.ids.tolist() == [[*characters("a cat"), *grids], [47, 47, *characters("dog"), *grids]]
    assert branch.pad.tolist() == [0, 2]
    preview, picture = asked.layouts
    lead = branch.ids.shape[1]
    assert (preview.rows, preview.cols, preview.lead) == (13, 19, lead)
    assert (picture.rows, picture.cols, picture.lead) == (4, 6, lead + 13 * 19)
    assert (asked.width, asked.height) == (192, 128)


def test_they_are_those_of_the_processor() -> None:
    place = folder_of("glm-image")
    words = transformers.AutoTokenizer.from_pretrained(place / "processor")
    template = "{% for m in messages %}{% for part in m['content'] %}{{ part['text'] }}{% endfor %}{% endfor %}"
    processing = processor("GlmImage", words, chat_template=template)
    texts = ["a red bicycle", "x"]
    chats = [[{"role": "user", "content": [{"type": "text", "text": text}]}] for text in texts]
    theirs = processing.apply_chat_template(
        chats, tokenize=True, padding=True, target_h=1152, target_w=768, return_dict=True, return_tensors="pt"
    )
    ours = glm_image.prompts(open_folder(place), Request(texts=tuple(texts), size=(768, 1152)))
    assert np.array_equal(ours.branches[0].ids, theirs["input_ids"].numpy())
    assert np.array_equal(ours.branches[0].pad, (1 - theirs["attention_mask"]).sum(1).numpy())
    grids = [[1, one.rows, one.cols] for one in reversed(ours.layouts)]
    assert theirs["image_grid_thw"].tolist() == grids * 2


def test_codes_are_doubled_along_both_axes_as_the_pipeline_does() -> None:
    diffusers = pytest.importorskip("diffusers")
    codes = np.random.default_rng(0).integers(0, 9, (2, 3, 5))
    theirs = [diffusers.GlmImagePipeline._upsample_token_ids(torch.from_numpy(one), 3, 5)[0].numpy() for one in codes]
    assert np.array_equal(glm_image.upsampled(codes), np.stack(theirs))


def test_a_token_model_alone_makes_no_pixels() -> None:
    folder = open_folder(folder_of("glm-image") / "vision_language_encoder")
    with pytest.raises(DocumentError, match=r"without model_index\.json"):
        glm_image.require_decoder(folder)


def test_the_pipeline_makes_pixels_of_the_picture_tokens() -> None:
    pytest.importorskip("diffusers")
    place = folder_of("glm-pipeline")
    folder = open_folder(place)
    assert (folder.path, folder.model) == (place, place / "vision_language_encoder")
    codes = np.random.default_rng(0).integers(0, CODES, (2, 2, 3))
    drawn = glm_image.decode(folder, codes, ["a", 'a sign "hi"'], device="cpu", dtype="float32", steps=2)
    assert (drawn.dtype, drawn.shape) == (np.dtype(np.uint8), (2, 64, 96, 3))
    again = glm_image.decode(folder, codes[1:], ['a sign "hi"'], device="cpu", dtype="float32", steps=2, seed=1)
    assert np.array_equal(again[0], drawn[1])
    other = glm_image.decode(folder, codes[::-1], ["a", 'a sign "hi"'], device="cpu", dtype="float32", steps=2)
    assert not np.array_equal(other, drawn)  # the tokens tell


@pytest.mark.parametrize("part", ["vae", "transformer", "tokenizer"])
def test_a_pipeline_without_one_of_its_parts_is_refused(part: str, tmp_path: Path) -> None:
    place = tmp_path / "folder"
    shutil.copytree(folder_of("glm-pipeline"), place)
    shutil.rmtree(place / part)
    with pytest.raises(DocumentError, match=f"expected {part} in {re.escape(str(place))}, got no such folder"):
        glm_image.require_decoder(open_folder(place))


def test_a_damaged_part_is_one_error(tmp_path: Path) -> None:
    place = tmp_path / "folder"
    shutil.copytree(folder_of("glm-pipeline"), place)
    (place / "vae" / "config.json").write_text("{")
    with pytest.raises(DocumentError, match="got one that cannot be loaded"):
        glm_image.decode(open_folder(place), np.zeros((1, 2, 2), int), ["a"], device="cpu", dtype="float32")
