"""Training from folders to folders, by one call from Python."""

from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch")
for needed in ("av", "diffusers", "matplotlib"):
    pytest.importorskip(needed)

from diagplan.adapters.image_tokenizer import load_image_tokenizer  # noqa: E402
from diagplan.planner.errors import DocumentError, SpecError  # noqa: E402
from diagplan.training.folders import tokenizer_from_clips, world_from_clips  # noqa: E402
from tests.support.scrolling import CODES, TOKENIZER, write_scrolls  # noqa: E402


def test_a_tokenizer_from_clips(tmp_path: Path) -> None:
    (tmp_path / "clips").mkdir()
    clips = write_scrolls(tmp_path / "clips")
    told: list[Any] = []
    made = tokenizer_from_clips(clips, tmp_path / "out", TOKENIZER, on_progress=lambda *what: told.append(what[:3]))
    assert (made.folder, made.clips, made.parameters) == (tmp_path / "out", 3, None)
    assert made.log["step"] == TOKENIZER.all_steps
    assert told[-1] == ("training", TOKENIZER.all_steps, TOKENIZER.all_steps)
    assert load_image_tokenizer(made.folder).codes == CODES
    before = {path.name: path.read_bytes() for path in made.folder.glob("*.safetensors")}
    assert before
    again = tokenizer_from_clips(clips, tmp_path / "out", TOKENIZER)  # it is done: nothing is trained
    assert again.log == made.log
    assert before == {path.name: path.read_bytes() for path in made.folder.glob("*.safetensors")}


def test_what_is_not_there_is_said_before_any_work(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="expected a device of this machine, got device='toaster'"):
        tokenizer_from_clips(tmp_path, tmp_path / "out", device="toaster")
    with pytest.raises(DocumentError):
        tokenizer_from_clips(tmp_path / "nowhere", tmp_path / "out")
    with pytest.raises(DocumentError):
        world_from_clips(tmp_path / "nowhere", tmp_path, tmp_path / "out")
    assert not (tmp_path / "out").exists()
