import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest

from diagplan.images import emu3
from diagplan.images.folder import open_folder
from diagplan.images.prompts import Request
from diagplan.planner.errors import DocumentError, SpecError
from diagplan.planner.presets import PRESETS
from tests.images.test_janus import characters
from tests.support.image_folders import CODES, EMU3, EMU3_FIRST, folder_of, processor

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")


def test_grids_are_those_of_the_release() -> None:
    ratios = {(1, 1): (90, 90), (4, 3): (78, 104), (3, 4): (104, 78), (16, 9): (68, 120), (9, 16): (120, 68)}
    for ratio, grid in (ratios | {(3, 2): (73, 110)}).items():
        assert emu3.grid_of(None, ratio) == grid
    assert emu3.grid_of(None, (16, 9)) == (PRESETS["emu3-16x9"].layout.rows, PRESETS["emu3-16x9"].layout.cols)
    assert emu3.grid_of((960, 544), None) == (68, 120)
    with pytest.raises(SpecError, match="expected a size in multiples of 8 pixels, got size=100x64"):
        emu3.grid_of((100, 64), None)
    with pytest.raises(SpecError, match="expected a ratio of a row and a column at least"):
        emu3.grid_of(None, (10**6, 1))


def test_the_ids_are_those_of_the_specification() -> None:
    request = Request(texts=("a cat", "dog"), negative="blurry", size=(48, 32))
    asked = emu3.prompts(open_folder(folder_of("emu3")), request)
    size = [EMU3["<|image start|>"], *characters("4*6"), EMU3["<|image token|>"]]
    first = EMU3["<|extra_203|>"]
    long = [first, *characters("a cat masterpiece, film grained, best quality."), *size]
    short = [0, 0, first, *characters("dog masterpiece, film grained, best quality."), *size]
    negative = [first, *characters("blurry"), *size]
    conditional, other = asked.branches
    assert conditional.ids.tolist() == [long, short]
    assert conditional.pad.tolist() == [0, 2]
    rest = len(long) - len(negative)
    assert other.ids.tolist() == [[0] * rest + negative] * 2
    assert other.pad.tolist() == [rest, rest]
    assert asked.pad.tolist() == [0, 2, rest, rest]
    (layout,) = asked.layouts
    assert (layout.rows, layout.cols, layout.lead, layout.between_rows) == (4, 6, len(long), 1)
    assert asked.given(0).tolist() == [[*long, 3, 3, 3], [*short, 3, 3, 3]]
    assert (asked.width, asked.height) == (48, 32)


def test_the_negative_prompt_is_the_releases_and_ends_in_the_marks_of_a_picture() -> None:
    asked = emu3.prompts(open_folder(folder_of("emu3")), Request(texts=("a",), size=(16, 16), suffix=""))
    size = [EMU3["<|image start|>"], *characters("2*2"), EMU3["<|image token|>"]]
    assert asked.branches[1].ids[0].tolist() == [EMU3["<|extra_203|>"], *characters(emu3.NEGATIVE), *size]
    assert asked.branches[0].ids[0, asked.branches[0].pad[0] :].tolist() == [
        EMU3["<|extra_203|>"],
        *characters("a"),
        *size,
    ]


def test_they_are_those_of_the_processor() -> None:
    place = folder_of("emu3")
    words = transformers.AutoTokenizer.from_pretrained(place)
    words.padding_side = "left"
    processing = processor("Emu3", words)
    texts = ["a red bicycle", "x"]
    theirs = processing(
        text=texts, return_for_image_generation=True, ratio="16:9", image_area=4096, padding=True, return_tensors="pt"
    )
    ours = emu3.prompts(open_folder(place), Request(texts=tuple(texts), size=(88, 48), suffix="", guided=False))
    assert [list(map(int, one)) for one in theirs["image_sizes"]] == [[ours.layouts[0].rows, ours.layouts[0].cols]] * 2
    assert np.array_equal(ours.branches[0].ids, theirs["input_ids"].numpy())
    assert np.array_equal(ours.branches[0].pad, (1 - theirs["attention_mask"]).sum(1).numpy())


def test_the_decoder_is_the_models_own() -> None:
    place = folder_of("emu3")
    ids = np.random.default_rng(0).integers(EMU3_FIRST, EMU3_FIRST + CODES, (2, 3, 4))
    model = transformers.Emu3ForConditionalGeneration.from_pretrained(place).eval()
    lines = np.concatenate([ids, np.full((2, 3, 1), 3)], axis=2).reshape(2, -1)
    sequence = np.concatenate([lines, np.zeros((2, 3), dtype=np.int64)], axis=1)
    with torch.inference_mode():
        theirs = model.decode_image_tokens(image_tokens=torch.from_numpy(sequence), height=3, width=4)
    images = transformers.Emu3ImageProcessor(image_mean=[0.5] * 3, image_std=[0.5] * 3)
    pictures = [np.asarray(picture) for picture in images.postprocess(list(theirs.float()))["pixel_values"]]
    ours = emu3.decoder(open_folder(place), "cpu")(ids)
    assert ours.shape == (2, 24, 32, 3)
    assert len(np.unique(ours)) > 16
    assert np.abs(ours.astype(int) - np.stack(pictures)).max() <= 1


def test_codes_without_order_are_refused(tmp_path: Path) -> None:
    place = tmp_path / "folder"
    shutil.copytree(folder_of("emu3"), place)
    config = json.loads((place / "config.json").read_text())
    config["vocabulary_map"]["<|visual token 000003|>"] = 9
    (place / "config.json").write_text(json.dumps(config))
    with pytest.raises(DocumentError, match=f"in {re.escape(str(place / 'config.json'))} to name the visual tokens"):
        emu3.first_code(open_folder(place))
