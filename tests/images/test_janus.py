import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from diagplan.images import janus
from diagplan.images.folder import open_folder
from diagplan.images.prompts import Request
from diagplan.planner.errors import DocumentError, SpecError
from tests.support.image_folders import CHARACTERS, CODES, JANUS, folder_of, processor

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")


def characters(text: str) -> list[int]:
    return [CHARACTERS if one == "\n" else CHARACTERS + 1 + ord(one) - 32 for one in text]


def changed(tmp_path: Path, name: str, **values: Any) -> Path:
    """A copy of the folder with other values in one of its files."""
    place = tmp_path / "changed"
    shutil.copytree(folder_of("janus-pro"), place)
    held = json.loads((place / name).read_text())
    (place / name).write_text(
        json.dumps({key: value for key, value in {**held, **values}.items() if value is not None})
    )
    return place


def test_the_ids_are_those_of_the_specification() -> None:
    asked = janus.prompts(open_folder(folder_of("janus-pro")), Request(texts=("a cat", "dog")))
    long = [1, *characters("<|User|>: a cat\n\n<|Assistant|>:"), 3]
    short = [0, 0, 1, *characters("<|User|>: dog\n\n<|Assistant|>:"), 3]
    conditional, other = asked.branches
    assert (conditional.ids - CODES).tolist() == [long, short]
    assert conditional.pad.tolist() == other.pad.tolist() == [0, 2]
    # All but BOS and begin_of_image become pads, which are seen: the padding of the branch is that of the other.
    assert (other.ids - CODES).tolist() == [[1] + [0] * (len(long) - 2) + [3], [0, 0, 1] + [0] * (len(short) - 4) + [3]]
    (layout,) = asked.layouts
    assert (layout.rows, layout.cols, layout.lead, layout.between_rows) == (6, 6, len(long), 0)
    assert (asked.width, asked.height) == (12, 12)
    assert asked.given(0).shape == (2, len(long))


def test_they_are_those_of_the_processor() -> None:
    place = folder_of("janus-pro")
    words = transformers.AutoTokenizer.from_pretrained(place)
    processing = processor("Janus", words)
    processing.chat_template = (place / "chat_template.jinja").read_text()
    texts = ["a red bicycle", "x"]
    chats = [[{"role": "user", "content": [{"type": "text", "text": text}]}] for text in texts]
    written = processing.apply_chat_template(chats, add_generation_prompt=True)
    theirs = processing(text=written, generation_mode="image", padding=True, return_tensors="pt")
    ours = janus.prompts(open_folder(place), Request(texts=tuple(texts), guided=False))
    assert len(ours.branches) == 1
    assert np.array_equal(ours.branches[0].ids - CODES, theirs["input_ids"].numpy())
    assert np.array_equal(ours.branches[0].pad, (1 - theirs["attention_mask"]).sum(1).numpy())


def test_what_is_appended_stands_within_the_template() -> None:
    folder = open_folder(folder_of("janus-pro"))
    both = [
        janus.prompts(folder, Request(texts=("a cat",), suffix=" in ink")),
        janus.prompts(folder, Request(texts=("a cat in ink",))),
    ]
    assert np.array_equal(both[0].branches[0].ids, both[1].branches[0].ids)


def test_sizes_that_a_file_leaves_out_are_the_releases(tmp_path: Path) -> None:
    place = changed(tmp_path, "config.json", vision_config={}, vq_config={})
    asked = janus.prompts(open_folder(place), Request(texts=("a cat",)))
    assert (asked.layouts[0].rows, asked.width) == (24, 384)
    assert asked.branches[0].ids[0, 0] == 16384 + 1


def test_without_a_chat_template_the_text_around_is_the_same(tmp_path: Path) -> None:
    place = tmp_path / "bare"
    shutil.copytree(folder_of("janus-pro"), place)
    (place / "chat_template.jinja").unlink()
    both = [janus.prompts(open_folder(one), Request(texts=("a cat",))) for one in (place, folder_of("janus-pro"))]
    assert np.array_equal(both[0].branches[0].ids, both[1].branches[0].ids)


def test_another_checkpoints_ids_are_read_from_its_own_files(tmp_path: Path) -> None:
    place = changed(tmp_path, "generation_config.json", pad_token_id=70)
    asked = janus.prompts(open_folder(place), Request(texts=("a cat",)))
    assert set((asked.branches[1].ids - CODES).ravel()) == {1, 3, 70}
    (tmp_path / "boi").mkdir()
    other = changed(tmp_path / "boi", "generation_config.json", generation_kwargs={"boi_token_id": 4})
    with pytest.raises(DocumentError, match=r"to end in the id 4 of begin_of_image, got 3\. .*different checkpoints"):
        janus.prompts(open_folder(other), Request(texts=("a cat",)))


def test_the_tokenizer_tells_begin_of_image_where_the_file_does_not(tmp_path: Path) -> None:
    place = changed(tmp_path, "generation_config.json", generation_kwargs=None)
    asked = janus.prompts(open_folder(place), Request(texts=("a cat",)))
    assert asked.branches[1].ids[0, -1] - CODES == JANUS["<begin_of_image>"]


def test_what_it_does_not_know_is_refused() -> None:
    folder = open_folder(folder_of("janus-pro"))
    for wrong in ({"size": (720, 720)}, {"ratio": (16, 9)}):
        with pytest.raises(SpecError, match="expected pictures of 12x12"):
            janus.prompts(folder, Request(texts=("a",), **wrong))  # type: ignore[arg-type]
    with pytest.raises(SpecError, match="expected no negative prompt"):
        janus.prompts(folder, Request(texts=("a",), negative="b"))


def test_the_decoder_is_the_models_own() -> None:
    place = folder_of("janus-pro")
    codes = np.random.default_rng(0).integers(0, CODES, (2, 6, 6))
    model = transformers.JanusForConditionalGeneration.from_pretrained(place).eval()
    with torch.inference_mode():
        theirs = model.decode_image_tokens(torch.from_numpy(codes.reshape(2, 36))).numpy()
    expected = np.clip((theirs + 1) * 127.5, 0, 255).astype(np.uint8)
    ours = janus.decoder(open_folder(place), "cpu")(codes)
    assert ours.shape == (2, 12, 12, 3)
    assert len(np.unique(ours)) > 16
    assert np.abs(ours.astype(int) - expected).max() <= 1  # one rounding in float32
    assert (ours == expected).mean() > 0.99
