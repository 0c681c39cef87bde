"""LlamaGen's files: what is told by names and shapes, heads by the table, and files that are none."""

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from diagplan import Layout, NextToken, compile_plan, load_model, replay  # noqa: E402
from diagplan.adapters.llamagen import LlamaGen  # noqa: E402
from diagplan.adapters.llamagen_config import CONFIGS, LlamaGenConfig  # noqa: E402
from diagplan.adapters.llamagen_files import (  # noqa: E402
    compare_llamagen,
    load_llamagen,
    open_llamagen,
    read_llamagen_config,
)
from diagplan.adapters.weights import open_checkpoint  # noqa: E402
from diagplan.planner.errors import DocumentError, SpecError  # noqa: E402
from tests.support.checkpoints import write_folder, write_safetensors, write_sparse, write_torch  # noqa: E402
from tests.support.llamagen import CLASSES, TEXTS, trained  # noqa: E402

WEIGHTS = trained(CLASSES, torch.float32)


def tokens(model: Any) -> Any:
    plan = compile_plan(Layout(frames=1, rows=3, cols=3, lead=1), NextToken())
    return replay(plan, model, given=np.array([model.class_id(3)]))


def rebuilt(weights: dict[str, Any]) -> dict[str, Any]:
    """Tensors that torch pickles through ``_rebuild_from_type_v2``, as those of 3B are: they have an attribute."""
    marked = {}
    for name, weight in weights.items():
        marked[name] = weight.clone()
        marked[name]._fsdp_flattened = False
    return marked


def written(kind: str, path: Path) -> Path:
    if kind == "ddp":  # arguments of the run beside the tensors, as an object
        torch.save({"model": WEIGHTS, "steps": 3, "args": argparse.Namespace(lr=1e-4)}, path)
        return path
    if kind == "fsdp":
        return write_torch(WEIGHTS, path, holder=None)
    if kind == "3b":
        marked = write_torch(rebuilt(WEIGHTS), path, holder=None)
        assert b"_rebuild_from_type_v2" in marked.read_bytes()
        return marked
    if kind == "module":
        return write_torch({f"module.{name}": weight for name, weight in WEIGHTS.items()}, path)
    return write_safetensors(WEIGHTS, path) if kind == "safetensors" else write_folder(WEIGHTS, path)


@pytest.mark.parametrize("kind", ["ddp", "fsdp", "3b", "module", "safetensors", "folder"])
def test_every_form_is_the_same_model(kind: str, tmp_path: Path) -> None:
    model = load_llamagen(written(kind, tmp_path / "c2i.pt"), config=CLASSES)
    want = LlamaGen(CLASSES, WEIGHTS)
    assert model.fingerprint() == want.fingerprint()
    np.testing.assert_array_equal(tokens(model), tokens(want))


def test_through_the_public_function(tmp_path: Path) -> None:
    path = write_torch(WEIGHTS, tmp_path / "c2i.pt", holder="model")
    config = tmp_path / "sizes.json"
    config.write_text(json.dumps({"n_head": 2, "multiple_of": 8, "largest_side": 12}))
    model: Any = load_model("llamagen", path, config=config)
    assert model.config == CLASSES
    np.testing.assert_array_equal(tokens(model), tokens(LlamaGen(CLASSES, WEIGHTS)))
    half: Any = load_model("llamagen", path, config=config, dtype="bfloat16")
    assert half.weight_bytes() * 2 == model.weight_bytes()


@pytest.mark.parametrize("name", CONFIGS)
def test_published_sizes_are_told_by_the_file(name: str, tmp_path: Path) -> None:
    path = write_sparse(CONFIGS[name].shapes(), tmp_path / "model.safetensors")
    assert open_llamagen(path)[1] == CONFIGS[name]
    assert open_llamagen(path, name)[1] == CONFIGS[name]
    other = "L" if name == "B" else "B"
    assert compare_llamagen(open_checkpoint(path), other).problems
    with pytest.raises(DocumentError, match=r"expected the \d+ tensors of the config"):
        open_llamagen(path, other)


def test_a_text_model_is_told_by_its_condition(tmp_path: Path) -> None:
    path = write_torch(trained(TEXTS, torch.float32), tmp_path / "t2i.pt", holder="model")
    (tmp_path / "sizes.json").write_text(json.dumps({"n_head": 2, "multiple_of": 8, "largest_side": 12}))
    assert open_llamagen(path, tmp_path / "sizes.json")[1] == TEXTS


def test_what_training_left_is_no_part(tmp_path: Path) -> None:
    more = {"freqs_cis": torch.ones(3), "layers.0.attention.kv_cache.k_cache": torch.ones(2)}
    load_llamagen(write_torch(WEIGHTS | more, tmp_path / "more.pt"), config=CLASSES)
    with pytest.raises(DocumentError, match="1 unexpected: extra"):
        load_llamagen(write_torch(WEIGHTS | {"extra": torch.ones(3)}, tmp_path / "extra.pt"), config=CLASSES)


def test_files_that_are_none(tmp_path: Path) -> None:
    with pytest.raises(DocumentError, match=r"expected the tensors of a LlamaGen, tok_embeddings\.weight, .* without"):
        load_llamagen(write_torch({"w": torch.ones(2)}, tmp_path / "other.pt"))
    path = write_torch(WEIGHTS, tmp_path / "tiny.pt")
    with pytest.raises(SpecError, match=r"tiny\.pt with 2 layers of width 32\. Nothing in the file tells its heads"):
        load_llamagen(path)
    with pytest.raises(SpecError, match=r"expected config to be one of B, L, XL, XXL, 3B, XL-t2i, or a file"):
        load_llamagen(path, config="4B")
    short = {name: weight for name, weight in WEIGHTS.items() if name != "layers.1.ffn_norm.weight"}
    with pytest.raises(DocumentError, match=r"1 missing: layers\.1\.ffn_norm\.weight"):
        load_llamagen(write_torch(short, tmp_path / "short.pt"), config=CLASSES)
    with pytest.raises(DocumentError, match="expected n_layer=2000 layers"):
        load_llamagen(path, config=LlamaGenConfig(n_layer=2000, n_head=2, dim=32))
    with pytest.raises(SpecError, match="expected dtype to be one of"):
        load_llamagen(path, config=CLASSES, dtype="int4")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[]", "expected fields of LlamaGen's config .* with a list"),
        ('{"heads": 3}', "with 'heads'"),
        ("{", "expected a JSON object, got .*, which is not JSON"),
        ("[" * 100_000, "which is not JSON"),
        (" " * (1 << 20) + "{}", "expected a config of at most 1048576 bytes"),
    ],
)
def test_configs_that_are_none(text: str, words: str, tmp_path: Path) -> None:
    path = tmp_path / "sizes.json"
    path.write_text(text)
    with pytest.raises(DocumentError, match=words):
        read_llamagen_config(path)
    with pytest.raises(DocumentError, match="cannot read"):
        read_llamagen_config(tmp_path / "nothing.json")


def test_sizes_in_a_config_that_do_not_fit_name_the_file(tmp_path: Path) -> None:
    path = write_torch(WEIGHTS, tmp_path / "tiny.pt")
    (tmp_path / "sizes.json").write_text('{"n_head": 3}')
    with pytest.raises(DocumentError, match=r"sizes\.json: expected heads whose width is a multiple of 4"):
        load_llamagen(path, config=tmp_path / "sizes.json")
