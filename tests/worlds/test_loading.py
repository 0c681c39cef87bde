"""From a name to a world: releases, folders, exports; and what is none of them."""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("av")
pytest.importorskip("diffusers")

from diagplan.adapters.options import LoadOptions  # noqa: E402
from diagplan.planner.errors import DiagplanError, SpecError  # noqa: E402
from diagplan.worlds import SHIPPED, load_world  # noqa: E402
from diagplan.worlds.loading import folder_of, open_world, release_names, require_known  # noqa: E402


@pytest.mark.parametrize(
    ("file", "said"),
    [("model.safetensors", "finite logits"), ("tokenizer/diffusion_pytorch_model.safetensors", "finite weights")],
)
def test_weights_that_are_no_numbers(tmp_path: Path, file: str, said: str) -> None:
    from safetensors.torch import load_file, save_file

    shutil.copytree(SHIPPED["crafter-mini"], tmp_path / "world")
    path = tmp_path / "world" / file
    tensors = load_file(path)
    name = next(name for name in tensors if name.endswith(("lm_head.weight", "decoder.conv_out.weight")))
    save_file(tensors | {name: tensors[name] * float("nan")}, path)
    with pytest.raises(DiagplanError, match=said):
        load_world(str(tmp_path / "world"))


def test_the_transformer_of_a_lazy_world_is_loaded_when_it_is_asked_for() -> None:
    world = load_world("crafter-mini", lazy=True)
    assert "model" not in vars(world)
    assert world.load() is world.model
    assert "model" in vars(world)


def test_a_world_that_ships_is_found_by_its_name_and_any_other_by_its_folder(tmp_path: Path) -> None:
    assert folder_of("crafter-mini") == folder_of(Path("crafter-mini")) == SHIPPED["crafter-mini"]
    assert folder_of(tmp_path) == folder_of(str(tmp_path)) == tmp_path


def test_releases_are_those_of_the_families() -> None:
    assert release_names() == (
        "mc-ar", "cosmos", "cosmos-4b", "cosmos-12b", "cosmos-5b-v2w", "cosmos-13b-v2w", "wham", "wham-200m",
        "wham-1.6b",
    )  # fmt: skip


@pytest.mark.parametrize("model", ["nothing", "x" * 300, "x" * 5000, "a\0b"])
@pytest.mark.parametrize("backend", ["torch", "onnx"])
def test_what_there_is_not_is_said_before_anything_is_loaded(model: str, backend: str) -> None:
    with pytest.raises(SpecError) as opened:
        open_world(model, LoadOptions(backend=backend))
    with pytest.raises(SpecError) as known:
        require_known(model, backend)
    assert str(known.value) == str(opened.value)


@pytest.mark.parametrize("model", [*SHIPPED, *release_names(), str(SHIPPED["crafter-mini"])])
def test_names_and_folders_that_are_known(model: str) -> None:
    require_known(model, "torch")


@pytest.mark.parametrize(
    ("model", "more", "words"),
    [
        ("nothing", {}, "expected one of crafter-mini, mc-ar, cosmos"),
        ("x" * 5000, {}, "got model='xxx"),
        ("a\0b", {}, "expected one of crafter-mini"),
        ("crafter-mini", {"weights": "x"}, "expected weights, tokenizer and config with a release only"),
        ("crafter-mini", {"context": np.zeros((1, 2))}, "expected a text for Cosmos Video2World models only"),
        ("crafter-mini", {"backend": "onnx"}, "expected the folder of an exported world model"),
        ("crafter-mini", {"backend": "jax"}, "expected backend to be one of torch, onnx"),
        ("crafter-mini", {"device": "zork"}, "expected a device of this machine"),
    ],
)
def test_what_is_no_world(model: str, more: dict[str, Any], words: str) -> None:
    with pytest.raises(SpecError, match=words):
        load_world(model, **more)


def test_an_exported_folder_is_known_as_one(tmp_path: Path) -> None:
    """Its files name the backend; what was chosen at export is not chosen again."""
    (tmp_path / "model.onnx").write_bytes(b"")
    with pytest.raises(SpecError, match="with backend='onnx', got model='"):
        open_world(str(tmp_path), LoadOptions(config="300M_16f"))
    with pytest.raises(SpecError, match=r"got dtype='bfloat16'. They were chosen when the model was exported"):
        load_world(str(tmp_path), dtype="bfloat16")
    shutil.copytree(SHIPPED["crafter-mini"], tmp_path / "world")
    (tmp_path / "world" / "model.onnx").write_bytes(b"")
    assert load_world(str(tmp_path / "world"), lazy=True).source.options.backend == "torch"  # it has weights too


def test_a_folder_may_be_a_path_and_nothing_else_than_text() -> None:
    assert load_world(SHIPPED["crafter-mini"], lazy=True).name == load_world("crafter-mini", lazy=True).name
    with pytest.raises(SpecError, match="expected model to be text, got model="):
        load_world(3)  # type: ignore[arg-type]
