"""`diagplan inspect-weights`: families and sizes told by headers alone."""

import json
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("safetensors")

from diagplan.adapters.cosmos import CONFIGS as COSMOS  # noqa: E402
from diagplan.adapters.mc_ar import CONFIGS  # noqa: E402
from tests.support.checkpoints import write_folder, write_sparse  # noqa: E402
from tests.support.cli import invoke  # noqa: E402
from tests.support.sizes import SMALL  # noqa: E402


def inspect(path: Path, *options: str) -> tuple[int, str]:
    return invoke("inspect-weights", path, *options)


def inspect_json(path: Path) -> dict[str, Any]:
    code, out = inspect(path, "--json")
    assert code == 0, out
    value = json.loads(out)
    assert isinstance(value, dict)
    return value


@pytest.mark.parametrize("name", CONFIGS)
def test_inspect_knows_the_releases(name: str, tmp_path: Path) -> None:
    config = CONFIGS[name]
    shapes = {f"transformer.{key}": shape for key, shape in config.shapes().items()}
    path = write_sparse(shapes | {"tokenizer.model.quantize.embedding.weight": (8192, 64)}, tmp_path / "w.ckpt")
    report = inspect_json(path)
    assert (report["family"], report["tensors"], report["image_tokenizer_tensors"]) == ("mc-ar", 184, 1)
    assert report["sizes"] == {
        "num_hidden_layers": 20,
        "vocab_size": 8262,
        "hidden_size": config.hidden_size,
        "intermediate_size": config.intermediate_size,
        "query_width": config.hidden_size,
        "key_value_width": 4 * 64,
    }
    assert report["bytes"] == 2 * report["parameters"]
    assert report["dtypes"] == {"bfloat16": 184}
    (closest,) = report["closest"]
    assert name in closest["configs"]
    assert [closest[key] for key in ("fits", "missing", "unexpected", "misshaped")] == [True, [], [], []]
    assert f"the tensors are those of {' and '.join(closest['configs'])}" in inspect(path)[1]


def test_inspect_names_what_does_not_fit(tmp_path: Path) -> None:
    shapes = CONFIGS["300M_16f"].shapes()
    del shapes["model.norm.weight"]
    shapes |= {"lm_head.weight": (8000, 1024), "model.extra": (3,)}
    path = write_sparse(shapes, tmp_path / "w")
    (closest,) = inspect_json(path)["closest"]
    assert closest["configs"] == ["300M_16f"]
    assert (closest["missing"], closest["unexpected"]) == (["model.norm.weight"], ["model.extra"])
    assert closest["misshaped"] == [{"name": "lm_head.weight", "shape": [8000, 1024], "expected": [8262, 1024]}]
    assert "1 missing: model.norm.weight; 1 unexpected: model.extra; 1 of another shape" in inspect(path)[1]


def test_inspect_compares_with_the_folders_own_config(tmp_path: Path) -> None:
    folder = write_folder({k: torch.zeros(s) for k, s in SMALL.shapes().items()}, tmp_path / "w", shards=2)
    keys = {key: getattr(SMALL, key) for key in SMALL.__slots__ if key not in ("head_dim", "image_vocab")}
    (folder / "config.json").write_text(json.dumps(keys))
    report = inspect_json(folder)
    assert (report["kind"], report["files"]) == ("sharded safetensors", 2)
    assert report["closest"][0]["configs"] == ["config.json"]
    assert report["closest"][0]["fits"]
    (folder / "config.json").write_text(json.dumps(keys | {"mlp_bias": True}))
    report = inspect_json(folder)
    assert "mlp_bias" in report["config_json"]
    assert not report["closest"][0]["fits"]


def test_inspect_tells_other_families(tmp_path: Path) -> None:
    cosmos: dict[str, tuple[int, ...]]
    cosmos = {f"model.layers.{i}.attention.{name}.weight": (64, 32) for i in range(3) for name in ("wq", "wk")}
    cosmos |= {"model.layers.0.attention.q_norm.weight": (16,), "model.tok_embeddings.weight": (100, 32)}
    report = inspect_json(write_sparse(cosmos, tmp_path / "cosmos"))
    assert (report["family"], report["closest"][0]["fits"]) == ("cosmos", False)
    assert report["sizes"]["num_attention_heads"] == 4
    wham = {f"predictor.transformer.h.{i}.attn.c_attn.weight": (96, 32) for i in range(2)}
    assert inspect_json(write_sparse(wham, tmp_path / "wham"))["family"] == "wham"
    report = inspect_json(write_sparse({"x": (1,)}, tmp_path / "other"))
    assert (report["family"], report["first_names"]) == (None, ["x"])


@pytest.mark.parametrize("name", COSMOS)
def test_inspect_knows_the_releases_of_cosmos(name: str, tmp_path: Path) -> None:
    shapes = {f"model.{key}": shape for key, shape in COSMOS[name].shapes().items()}
    path = write_sparse(shapes | {"model.layers.0.attention._extra_state": (1,)}, tmp_path / "model.pt")
    report = inspect_json(path)
    assert (report["family"], report["tensors"]) == ("cosmos", len(shapes) + 1)
    sizes = report["sizes"]
    assert (sizes["num_hidden_layers"], sizes["hidden_size"]) == (COSMOS[name].n_layers, COSMOS[name].dim)
    assert [sizes[f"num_{kind}_heads"] for kind in ("attention", "key_value")] == [32, 8]
    assert sizes["vocab_size"] == COSMOS[name].embedding_rows
    (closest,) = report["closest"]
    assert (closest["configs"], closest["fits"], closest["prefix"], closest["ignored"]) == ([name], True, "model.", 1)
    assert f"the tensors are those of {name}" in inspect(path)[1]
    del shapes["model.norm.weight"]
    (closest,) = inspect_json(write_sparse(shapes, path))["closest"]
    assert (closest["configs"], closest["missing"]) == ([name], ["model.norm.weight"])


def test_inspect_merges_the_shards_of_cosmos(tmp_path: Path) -> None:
    whole = {"layers.0.attention.wq.weight": (8, 4), "layers.0.attention.wo.weight": (4, 8), "norm.weight": (4,)}
    half = whole | {"layers.0.attention.wq.weight": (4, 4), "layers.0.attention.wo.weight": (4, 4)}
    for rank in range(2):
        write_sparse(half, tmp_path / f"model_mp_{rank}.pt")
    report = inspect_json(tmp_path / "model_mp_{rank}.pt")
    assert (report["family"], report["files"], report["kind"]) == ("cosmos", 2, "2 tensor-parallel shards")
    assert report["parameters"] == 8 * 4 + 4 * 8 + 4


def test_inspect_refuses_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "w").write_bytes(b"nothing of the kind")
    code, out = inspect(tmp_path / "w")
    assert code == 1
    assert out.startswith("diagplan: expected a torch zip file or a safetensors file")
    assert out.count("\n") == 1


def test_inspect_compares_with_the_config_that_is_named(tmp_path: Path) -> None:
    shapes = CONFIGS["300M_16f"].shapes()
    path = write_sparse(shapes, tmp_path / "w")
    for name, fits in (("300M_16f", True), ("700M_16f", False)):
        code, out = inspect(path, "--config", name, "--json")
        (closest,) = json.loads(out)["closest"]
        assert (code, closest["configs"], closest["fits"]) == (0, [name], fits)
    assert "the tensors are those of 300M_16f" in inspect(path, "--config", "300M_16f")[1]
    code, out = inspect(path, "--config", "none")
    assert (code, "expected config to be one of 300M_16f" in out) == (2, True)
    name = next(iter(COSMOS))
    cosmos = write_sparse({f"model.{key}": shape for key, shape in COSMOS[name].shapes().items()}, tmp_path / "c.pt")
    assert f"the tensors are those of {name}" in inspect(cosmos, "--config", name)[1]
    code, out = inspect(write_sparse({"x": (1,)}, tmp_path / "other"), "--config", "300M_16f")
    assert (code, "expected --config with a checkpoint of a known family, got one of none." in out) == (2, True)


def test_a_layer_of_many_digits_is_a_name_like_another(tmp_path: Path) -> None:
    names = [f"layers.{digits}.attention.wq.weight" for digits in ("0", "9" * 5000)]
    report = inspect_json(write_sparse(dict.fromkeys(names, (2, 2)), tmp_path / "w.safetensors"))
    assert (report["family"], report["sizes"]["num_hidden_layers"]) == ("cosmos", 2)
