import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from diagplan.images import chameleon
from diagplan.images.folder import open_folder
from diagplan.images.prompts import Request
from diagplan.planner.errors import DocumentError, SpecError
from tests.images.test_janus import characters
from tests.support.checkpoints import write_safetensors
from tests.support.image_folders import CHAMELEON, CODES, folder_of, processor, vqgan

pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

FIRST, TURN, BEGIN, END = (CHAMELEON[name] for name in ("<s>", "<reserved08706>", "<racm3:break>", "<eoss>"))


def test_the_ids_are_those_of_the_specification() -> None:
    asked = chameleon.prompts(open_folder(folder_of("chameleon")), Request(texts=("a cat", "dog")))
    full, nothing = asked.branches
    long = [FIRST, *characters("a cat"), TURN, BEGIN]
    assert full.ids.tolist() == [long, [1, 1, FIRST, *characters("dog"), TURN, BEGIN]]
    assert full.pad.tolist() == [0, 2]
    rest = len(long) - 2
    assert nothing.ids.tolist() == [[1] * rest + [FIRST, BEGIN]] * 2
    assert nothing.pad.tolist() == [rest] * 2
    (layout,) = asked.layouts
    assert (layout.rows, layout.cols, layout.lead) == (8, 8, len(long))


def test_they_are_those_of_the_processor_and_begin_of_image() -> None:
    place = folder_of("chameleon")
    words = transformers.AutoTokenizer.from_pretrained(place)
    words.padding_side = "left"
    processing = processor("Chameleon", words)
    texts = ["a red bicycle", "x"]
    theirs = processing(text=list(texts), padding=True, return_tensors="pt")["input_ids"].numpy()
    ours = chameleon.prompts(open_folder(place), Request(texts=tuple(texts), guided=False)).branches[0].ids
    assert np.array_equal(ours[:, :-1], theirs)
    assert (ours[:, -1] == BEGIN).all()


def test_a_prompt_with_a_picture_has_three_branches() -> None:
    prompt = [FIRST, 70, BEGIN, 5, 6, END, 71, TURN, BEGIN]
    branches = chameleon.branches_of(prompt, (4, 44), first=FIRST, begin=BEGIN, end=END)
    assert branches == [prompt, [FIRST, BEGIN, 5, 6, END, BEGIN], [FIRST, BEGIN]]
    f, i, u = np.random.default_rng(0).normal(size=(3, 7))
    weights = chameleon.weights_of(3.0, 3)
    assert isinstance(weights, tuple)
    assert np.allclose(weights[0] * f + weights[1] * i + weights[2] * u, u + 1.2 * (i - u) + 3.0 * (f - i))


def test_codes_are_as_the_names_spell_them(tmp_path: Path) -> None:
    folder = open_folder(folder_of("chameleon"))
    assert chameleon.codes_of(folder) == (4, 4 + CODES)
    config = transformers.ChameleonConfig.from_pretrained(folder.model)
    mapping = transformers.models.chameleon.modeling_chameleon.ChameleonImageVocabularyMapping(config.vocabulary_map)
    assert chameleon.code_table(folder) == mapping.bpe2img
    place = tmp_path / "gap"
    shutil.copytree(folder.model, place)
    held = json.loads((place / "config.json").read_text())
    held["vocabulary_map"].pop("IMGIMGDZ")
    (place / "config.json").write_text(json.dumps(held))
    with pytest.raises(DocumentError, match="to name image tokens without gaps, got 39 of them"):
        chameleon.codes_of(open_folder(place))


def test_pixels_are_those_of_the_codes_that_names_spell(tmp_path: Path) -> None:
    place = tmp_path / "folder"
    shutil.copytree(folder_of("chameleon"), place)
    held = json.loads((place / "config.json").read_text())
    names = held["vocabulary_map"]
    names["IMGIMGDZ"], names["IMGIMGEZ"] = names["IMGIMGEZ"], names["IMGIMGDZ"]  # codes 3 and 4
    (place / "config.json").write_text(json.dumps(held))
    from diagplan.adapters.vq_decoder import load_vq

    file = write_safetensors(vqgan(), place / "vqgan.safetensors")
    codes = np.array([[[3, 4], [0, 39]]])
    drawn = chameleon.decoder(open_folder(place), "cpu")(np.array([[[8, 7], [4, 43]]]))
    assert np.array_equal(drawn, load_vq(file).decode(codes))
    assert drawn.shape == (1, 8, 8, 3)


def test_what_it_does_not_know_is_refused() -> None:
    folder = open_folder(folder_of("chameleon"))
    with pytest.raises(SpecError, match="expected pictures of 16x16"):
        chameleon.prompts(folder, Request(texts=("a",), ratio=(16, 9)))
    with pytest.raises(SpecError, match="expected no negative prompt"):
        chameleon.prompts(folder, Request(texts=("a",), negative="b"))
