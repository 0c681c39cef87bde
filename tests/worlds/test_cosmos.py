"""Cosmos' worlds: which files they are opened from, and which do not belong together."""

import json
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("av")

from safetensors.torch import save_file  # noqa: E402

from diagplan.adapters.cosmos import random_weights  # noqa: E402
from diagplan.adapters.cosmos_files import read_cosmos_config  # noqa: E402
from diagplan.adapters.options import LoadOptions  # noqa: E402
from diagplan.planner.errors import DocumentError, SpecError  # noqa: E402
from diagplan.worlds.cosmos import open_world  # noqa: E402
from diagplan.worlds.world import WorldFiles  # noqa: E402
from tests.support.cli import invoke  # noqa: E402
from tests.support.cosmos_world import RELEASE, cosmos_arguments, cosmos_world, write_cosmos_world  # noqa: E402


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_cosmos_world(tmp_path_factory.mktemp("cosmos"))


def test_files_that_do_not_belong_together(files: Path, tmp_path: Path) -> None:
    config = tmp_path / "config.json"
    named = ["--model", "cosmos-4b"]
    for keys, options, words in (
        (
            RELEASE | {"vocab_size": 64_064},
            [],
            "expected a model of the tokenizer's 64000 codes, got vocab_size=64064.",
        ),
        (RELEASE | {"video_latent_shape": [1, 3, 4]}, [], "expected clips of at least 2 frames of tokens, got 1."),
        (RELEASE, named, "expected no config for cosmos-4b, whose sizes are known, got one."),
    ):
        config.write_text(json.dumps(keys))
        save_file(random_weights(read_cosmos_config(config)), tmp_path / "model.safetensors")
        given = cosmos_arguments(
            files, tmp_path / "out.mp4", "--config", config, "--weights", tmp_path / "model.safetensors"
        )
        code, said = invoke(*given, *options)
        assert (code, words in said) in {(1, True), (2, True)}, said


def test_a_world_of_files(files: Path) -> None:
    where = WorldFiles(model="cosmos", weights=files / "base.safetensors", tokenizer=files / "tokenizer")
    world = open_world(where, LoadOptions(config=files / "base.json"))
    assert (world.name, world.fps, world.least_psnr) == ("cosmos", 25, None)
    assert world.config == cosmos_world(files, lazy=True).config


def test_what_is_missing_is_named(files: Path) -> None:
    weights, options = files / "base.safetensors", LoadOptions(config=files / "base.json")
    with pytest.raises(DocumentError, match=r"expected the weights of cosmos-4b, model.pt, got none"):
        open_world(WorldFiles(model="cosmos-4b"), LoadOptions())
    with pytest.raises(DocumentError, match="expected the folder of the video tokenizer"):
        open_world(WorldFiles(model="cosmos", weights=weights), options)
    with pytest.raises(SpecError, match="expected a config for model='cosmos', got none"):
        open_world(WorldFiles(model="cosmos", weights=weights), LoadOptions())
