import json
from pathlib import Path
from typing import Any

import pytest

from diagplan.adapters.samplers import Greedy, Sample
from diagplan.images.defaults import Choice, changed, default_sampler, described
from diagplan.images.folder import ModelFolder
from diagplan.planner.errors import DocumentError, SpecError

RELEASE = Sample(temperature=1.0, top_k=2048)


def folder(place: Path, held: dict[str, Any] | None) -> ModelFolder:
    if held is not None:
        (place / "generation_config.json").write_text(json.dumps(held))
    return ModelFolder(path=place, painter="emu3", model=place, tokenizer=place, config={}, generation=held or {})


@pytest.mark.parametrize(
    ("held", "sampler", "words"),
    [
        (None, RELEASE, "as X samples"),
        ({}, RELEASE, "has no do_sample, and states no top_k: transformers takes 50"),
        ({"top_k": 2048}, RELEASE, "has no do_sample, and states top_k 2048"),
        ({"do_sample": True}, Sample(top_k=50), "states no top_k: transformers takes 50"),
        ({"do_sample": True, "top_k": 0, "temperature": 0.7}, Sample(temperature=0.7), "states top_k off"),
        ({"do_sample": True, "top_k": 9, "top_p": 0.5}, Sample(top_k=9, top_p=0.5), "states top_k 9"),
    ],
)
def test_the_folder_holds_then_the_release(held: Any, sampler: Any, words: str, tmp_path: Path) -> None:
    choice = default_sampler(folder(tmp_path, held), RELEASE, "X")
    assert choice.sampler == sampler
    assert words in choice.source


def test_without_a_release_generate_is_followed(tmp_path: Path) -> None:
    held = folder(tmp_path, {"temperature": 0.9, "top_p": 0.75})
    assert default_sampler(held, None, "X").sampler == Greedy()
    assert default_sampler(held, None, "X", sampled=True).sampler == Sample(temperature=0.9, top_k=50, top_p=0.75)


def test_values_that_no_sampler_takes_name_the_file(tmp_path: Path) -> None:
    with pytest.raises(DocumentError, match=r"generation_config\.json"):
        default_sampler(folder(tmp_path, {"do_sample": True, "temperature": -1}), RELEASE, "X")


def test_single_values_replace_the_folders() -> None:
    own = Choice(RELEASE, "here")
    assert changed(own) == own
    assert changed(own, greedy=True) == Choice(Greedy(), "as asked")
    assert changed(own, temperature=0).sampler == Greedy()
    assert changed(own, top_k=0, min_p=0.1) == Choice(Sample(min_p=0.1), "top_k and min_p as asked, the rest: here")
    assert changed(own, top_p=1).sampler == RELEASE
    assert changed(Choice(Greedy(), "here"), top_k=5).sampler == Sample(top_k=5)
    with pytest.raises(SpecError, match="expected greedy or top_k, got both"):
        changed(own, greedy=True, top_k=3)
    with pytest.raises(SpecError, match="expected top_k >= 1"):
        changed(own, top_k=-1)


def test_words_for_people() -> None:
    assert described(Greedy()) == "greedy"
    assert described(Sample()) == "temperature 1, all ids"
    words = "temperature 0.7, top-k 5, top-p 0.9, min-p 0.05"
    assert described(Sample(temperature=0.7, top_k=5, top_p=0.9, min_p=0.05)) == words
