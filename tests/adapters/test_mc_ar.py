"""MC-AR: released sizes, weights in every file form, and equality with transformers' Llama."""

import math
import re
from collections.abc import Iterator, Mapping
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("safetensors")

from diagplan.adapters.mc_ar import CONFIGS, McAr, McArConfig  # noqa: E402
from diagplan.adapters.mc_ar_files import load_mc_ar  # noqa: E402
from diagplan.adapters.notices import ModelWarning  # noqa: E402
from diagplan.planner.errors import DocumentError, SpecError  # noqa: E402
from tests.support.checkpoints import write_folder, write_safetensors, write_sparse, write_torch  # noqa: E402
from tests.support.mc_ar import (  # noqa: E402
    GOLDEN,
    GOLDEN_JSON,
    causal_logits,
    golden_weights,
    release_weights,
    write_json,
)
from tests.support.mineworld import DATA  # noqa: E402

# Sizes


@pytest.mark.parametrize("name", CONFIGS)
def test_released_shapes_are_those_of_transformers(name: str) -> None:
    transformers = pytest.importorskip("transformers")
    config = CONFIGS[name]
    same = ("hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads", "num_key_value_heads")
    keys = {key: getattr(config, key) for key in (*same, "vocab_size", "max_position_embeddings")}
    with torch.device("meta"):
        model = transformers.LlamaForCausalLM(transformers.LlamaConfig(**keys, tie_word_embeddings=False))
    assert config.shapes() == {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}


@pytest.mark.parametrize(
    ("name", "parameters"),
    [
        ("300M_16f", 321_049_600),
        ("700M_16f", 725_985_280),
        ("700M_32f", 725_985_280),
        ("1200M_16f", 1_229_301_760),
        ("1200M_32f", 1_229_301_760),
    ],
)
def test_released_parameters(name: str, parameters: int) -> None:
    config = CONFIGS[name]
    count = sum(math.prod(shape) for shape in config.shapes().values())
    h, m, kv = config.hidden_size, config.intermediate_size, 4 * 64
    assert count == 2 * 8262 * h + h + 20 * (2 * h * h + 2 * kv * h + 3 * m * h + 2 * h) == parameters
    assert config.max_position_embeddings == int(name[-3:-1]) * 347
    assert config.image_ids == 8192


# Weights


@pytest.mark.parametrize("form", ["ckpt", "safetensors", "folder", "sharded folder"])
def test_golden_logits_from_every_file_form(form: str, tmp_path: Path) -> None:
    if form == "ckpt":
        model = load_mc_ar(write_torch(release_weights(), tmp_path / "w.ckpt"), config=GOLDEN)
    elif form == "safetensors":
        config = write_json(tmp_path, GOLDEN_JSON)
        path = write_safetensors(golden_weights(), tmp_path / "w.safetensors")
        model = load_mc_ar(str(path), config=str(config))
    else:
        folder = write_folder(golden_weights(), tmp_path / "w", shards=3 if form == "sharded folder" else 1)
        write_json(folder, GOLDEN_JSON)
        model = load_mc_ar(folder)
    assert model.config == GOLDEN
    logits = causal_logits(model, torch.from_numpy(DATA["causal/input_ids"])[None])
    np.testing.assert_allclose(logits[0].numpy(), DATA["causal/logits"], atol=1e-4, rtol=0)


@pytest.mark.parametrize(("dtype", "mean"), [("bfloat16", 0.02), ("float16", 0.003)])
@pytest.mark.parametrize("stored", ["float32", "bfloat16", "float16", "float64"])
def test_lower_precision(stored: str, dtype: Any, mean: float, tmp_path: Path) -> None:
    weights = {name: tensor.to(getattr(torch, stored)) for name, tensor in release_weights().items()}
    model = load_mc_ar(write_torch(weights, tmp_path / "w.ckpt"), config=GOLDEN, dtype=dtype)
    wanted = getattr(torch, dtype)
    assert model.dtype == model.embedding.dtype == model.norm.weight.dtype == model.cos.dtype == wanted
    assert model.embedding.equal(weights["transformer.model.embed_tokens.weight"].to(wanted))
    logits = causal_logits(model, torch.from_numpy(DATA["causal/input_ids"])[None])[0].numpy()
    # transformers' own model in these dtypes is as far from float32: 0.014 and 0.002 on average.
    assert 1e-5 < np.abs(logits - DATA["causal/logits"]).mean() < (0.02 if stored == "bfloat16" else mean)


@pytest.mark.parametrize("shards", ["5GB", "20KB"])
@pytest.mark.parametrize(
    "change",
    [
        {"num_key_value_heads": 6},
        {"num_key_value_heads": 2},
        {"num_key_value_heads": 1, "rms_norm_eps": 1e-2},
        {"num_key_value_heads": 3, "head_dim": 16},
        {"rope_parameters": {"rope_type": "default", "rope_theta": 123.0}},
        {"tie_word_embeddings": True},
        {"vocab_size": 8262},
    ],
    ids=lambda change: next(iter(change)) + str(next(iter(change.values())))[:6],
)
def test_equal_to_transformers(change: dict[str, Any], shards: str, tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers")
    transformers.utils.logging.disable_progress_bar()
    torch.manual_seed(7)
    sizes = {"hidden_size": 48, "intermediate_size": 40, "num_hidden_layers": 2, "num_attention_heads": 6,
             "vocab_size": 50, "max_position_embeddings": 64}  # fmt: skip
    theirs = transformers.LlamaForCausalLM(transformers.LlamaConfig(**(sizes | change))).eval()
    with torch.no_grad():
        for parameter in theirs.parameters():
            parameter.copy_(torch.randn_like(parameter) * 0.2 + (parameter.ndim == 1))
    theirs.save_pretrained(tmp_path, max_shard_size=shards)
    with nullcontext() if "vocab_size" in change else pytest.warns(ModelWarning, match="All 50 ids count as image ids"):
        ours = load_mc_ar(tmp_path)
    assert ours.config.image_ids == {50: 50, 8262: 8192}[ours.vocab_size]
    ids = torch.randint(0, ours.vocab_size, (2, 40))
    with torch.inference_mode():
        want = theirs(ids).logits
    torch.testing.assert_close(causal_logits(ours, ids), want, atol=2e-4, rtol=1e-4)


class OnceOnly(Mapping[str, Any]):
    """Gives each tensor once: a model that takes one twice reads it from the disk twice."""

    def __init__(self, weights: dict[str, Any]) -> None:
        self.weights = weights

    def __getitem__(self, name: str) -> Any:
        return self.weights.pop(name)

    def __iter__(self) -> Iterator[str]:
        return iter(self.weights)

    def __len__(self) -> int:
        return len(self.weights)


def test_each_tensor_is_taken_once() -> None:
    weights = OnceOnly(golden_weights())
    McAr(GOLDEN, weights)
    assert len(weights) == 0


def test_older_files_hold_rotary_frequencies(tmp_path: Path) -> None:
    old = {"model.layers.0.self_attn.rotary_emb.inv_freq": torch.zeros(8)}
    load_mc_ar(write_safetensors(golden_weights() | old, tmp_path / "w"), config=GOLDEN)


def test_weights_of_another_config(tmp_path: Path) -> None:
    weights = release_weights()
    del weights["transformer.model.norm.weight"]
    weights["transformer.model.layers.0.mlp.up_proj.bias"] = torch.zeros(96)
    path = write_torch(weights, tmp_path / "w.ckpt")
    said = (
        f"expected the 21 tensors of the config, got {path} with 1 missing: transformer.model.norm.weight; "
        "1 unexpected: transformer.model.layers.0.mlp.up_proj.bias. Weights and config must belong together."
    )
    with pytest.raises(DocumentError, match=f"^{re.escape(said)}"):
        load_mc_ar(path, config=GOLDEN)
    with pytest.raises(DocumentError, match=re.escape("expected num_hidden_layers=2000000000 layers")):
        load_mc_ar(path, config=replace(GOLDEN, num_hidden_layers=2_000_000_000))


def test_without_a_config_the_fitting_releases_are_named(tmp_path: Path) -> None:
    path = write_sparse(CONFIGS["700M_16f"].shapes(), tmp_path / "w")
    with pytest.raises(SpecError, match=re.escape("Its shapes are those of 700M_16f and 700M_32f.")):
        load_mc_ar(path)


def test_wrong_options(tmp_path: Path) -> None:
    path = write_torch(release_weights(), tmp_path / "w.ckpt")
    with pytest.raises(
        SpecError, match=re.escape("got no config.json") + "|" + re.escape("got none, and no config.json")
    ):
        load_mc_ar(path)
    with pytest.raises(SpecError, match=r"expected config to be one of 300M_16f, .*, or a file, got config='500M'"):
        load_mc_ar(path, config="500M")
    with pytest.raises(SpecError, match="expected dtype to be one of float32, bfloat16, float16, got dtype='int8'"):
        load_mc_ar(path, config=GOLDEN, dtype="int8")  # type: ignore[arg-type]
    with pytest.raises(SpecError, match="expected a device of this machine, got device='toaster'"):
        load_mc_ar(path, config=GOLDEN, device="toaster")


def test_one_query_in_bfloat16_is_what_it_is_among_others() -> None:
    """Where every head has its own keys it is taken twice, which is faster."""
    config = McArConfig(
        hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=4,
        vocab_size=50, max_position_embeddings=20,
    )  # fmt: skip
    model = McAr.random(config, dtype=torch.bfloat16)
    portable = McAr.random(config, dtype=torch.bfloat16, portable=True)
    assert (model._twice, portable._twice) == (True, False)
    ids, places, mask = torch.tensor([[3, 7], [9, 1]]), torch.arange(2), torch.tensor([[True, False], [True, True]])
    for held in (model, portable):
        cache = held.new_cache(2, 2)
        first = held.forward(ids[:, :1], places[:1], places[:1], mask[:1], cache)
        second = held.forward(ids[:, 1:], places[1:], places[1:], mask[1:], cache)
        both = held.forward(ids, places, places, mask, held.new_cache(2, 2))
        torch.testing.assert_close(torch.cat([first, second], dim=1), both, atol=0.05, rtol=0)
