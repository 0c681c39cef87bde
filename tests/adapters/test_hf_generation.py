"""Sampling as a model's own generation_config.json has it, and what transformers adds where it says nothing."""

import json
from pathlib import Path
from typing import Any

import pytest

from diagplan import Greedy, Sample
from diagplan.adapters.hf_generation import generation_defaults
from diagplan.planner.errors import DocumentError


def test_the_silent_fifty() -> None:
    assert generation_defaults({"do_sample": True}).sampler() == Sample(temperature=1.0, top_k=50)
    assert generation_defaults({"do_sample": True, "top_k": 0}).sampler() == Sample(temperature=1.0)
    assert generation_defaults({"do_sample": True, "top_k": None}).sampler() == Sample(temperature=1.0, top_k=50)


def test_values_of_the_file() -> None:
    held = {"do_sample": True, "temperature": 0.9, "top_p": 0.75, "top_k": 2048, "min_p": 0.1, "guidance_scale": 5}
    defaults = generation_defaults(held)
    assert defaults.sampler() == Sample(temperature=0.9, top_k=2048, top_p=0.75, min_p=0.1)
    assert defaults.guidance_scale == 5.0
    assert set(defaults.stated) == set(held)


def test_greedy_where_it_does_not_sample() -> None:
    assert generation_defaults({"temperature": 0.5}).sampler() == Greedy()


def test_it_can_be_printed() -> None:
    defaults = generation_defaults({"do_sample": True, "temperature": 0.9, "repetition_penalty": 1.2})
    assert defaults.lines() == [
        "do_sample True (generation_config.json)",
        "temperature 0.9 (generation_config.json)",
        "top_k 50 (transformers' own, the file says nothing)",
        "top_p off (transformers' own, the file says nothing)",
        "min_p off (transformers' own, the file says nothing)",
        "guidance_scale off (transformers' own, the file says nothing)",
        "repetition_penalty 1.2 (generation_config.json, not followed)",
    ]


def test_special_ids_are_the_checkpoints_own() -> None:
    """Two copies of Janus-Pro-1B differ in them."""
    held = {"pad_token_id": 100015, "bos_token_id": 100000, "generation_kwargs": {"boi_token_id": 100016}}
    assert generation_defaults(held).ids == {"bos_token_id": 100000, "pad_token_id": 100015, "boi_token_id": 100016}
    assert generation_defaults({"eos_token_id": [1, 2], "generation_kwargs": 3}).ids == {}


def test_a_folder(tmp_path: Path) -> None:
    assert generation_defaults(tmp_path) == generation_defaults({})
    (tmp_path / "generation_config.json").write_text(json.dumps({"do_sample": True}))
    assert generation_defaults(str(tmp_path)) == generation_defaults({"do_sample": True})


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("{", r"expected a JSON object, got .*generation_config\.json"),
        ("[]", r"expected a JSON object, got .*generation_config\.json, which is not \(it holds"),
        ('{"top_k": -1}', r"generation_config\.json: expected top_k >= 0, got top_k=-1"),
        ('{"temperature": "hot"}', "expected temperature to be a finite number, got temperature='hot'"),
        ('{"do_sample": 1}', "expected do_sample to be true or false, got 1"),
        ('{"do_sample": true, "temperature": 0}', "expected temperature > 0"),
        ('{"do_sample": true, "top_p": 0}', "expected 0 < top_p <= 1"),
    ],
)
def test_a_file_that_makes_no_sense(tmp_path: Path, text: str, reason: str) -> None:
    (tmp_path / "generation_config.json").write_text(text)
    with pytest.raises(DocumentError, match=reason):
        generation_defaults(tmp_path)


def test_transformers_reads_the_same() -> None:
    transformers = pytest.importorskip("transformers")
    for held in ({}, {"do_sample": True, "top_k": 0}, {"temperature": 0.7, "top_p": 0.9, "do_sample": True}):
        theirs: Any = transformers.GenerationConfig(**held)
        if hasattr(theirs, "_get_default_generation_params"):  # since 5.0 generate fills them in
            theirs.update(**theirs._get_default_generation_params(), defaults_only=True)
        ours = generation_defaults(held)
        assert (theirs.top_k or None) == ours.top_k
        assert theirs.temperature == ours.temperature
        assert (theirs.top_p if theirs.top_p < 1 else None) == ours.top_p
