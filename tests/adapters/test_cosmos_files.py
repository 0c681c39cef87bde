"""Cosmos' files: every form in which the weights come, configurations, and one clear line for everything else."""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

torch = pytest.importorskip("torch")
pytest.importorskip("safetensors")

from diagplan import Diagonal, NextToken, compile_plan, load_model, write_plan  # noqa: E402
from diagplan.adapters.cosmos import CONFIGS, Cosmos  # noqa: E402
from diagplan.adapters.cosmos_config import REPOSITORIES  # noqa: E402
from diagplan.adapters.cosmos_files import load_cosmos, open_cosmos, read_cosmos_config  # noqa: E402
from diagplan.adapters.cosmos_positions import FrequencyRescale  # noqa: E402
from diagplan.models.loading import replay  # noqa: E402
from diagplan.planner.errors import DocumentError, SpecError  # noqa: E402
from tests.support.checkpoints import write_sparse, write_torch  # noqa: E402
from tests.support.cli import invoke  # noqa: E402
from tests.support.cosmos_forms import FORMS, engine_names, prefixed, shards, write_form, write_shards  # noqa: E402
from tests.support.cosmos_golden import causal_logits, golden  # noqa: E402

CASES = pytest.mark.parametrize("name", ["a", "b"])


@CASES
@pytest.mark.parametrize("form", FORMS)
def test_golden_logits_from_every_file_form(form: str, name: str, tmp_path: Path) -> None:
    case = golden(name)
    model = case.bound(load_cosmos(write_form(form, case, tmp_path), config=case.config))
    logits = causal_logits(model, torch.from_numpy(case.data["tokens"]))[..., : case.config.vocab_size]
    np.testing.assert_allclose(logits.numpy(), case.data["logits"], atol=1e-4, rtol=0)


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


@CASES
def test_each_tensor_is_taken_once(name: str) -> None:
    weights = OnceOnly(golden(name).weights())
    Cosmos(golden(name).config, weights)
    assert len(weights) == 0


def test_the_face_loads_and_replays(tmp_path: Path) -> None:
    case = golden("b")
    path = write_form("model.pt", case, tmp_path)
    config = tmp_path / "golden.json"
    config.write_text(json.dumps(case.release))
    np.save(tmp_path / "text.npy", case.data["context"])
    model = load_model("cosmos", path, config=str(config), context=tmp_path / "text.npy")
    layout = case.config.layout(1)
    given = case.data["tokens"][:, : layout.first_generated]
    want = replay(compile_plan(layout, Diagonal(k=2)), case.model(), given=given)
    np.testing.assert_array_equal(replay(compile_plan(layout, Diagonal(k=2)), model, given=given), want)
    array = load_model("cosmos", path, config=case.config, context=case.data["context"])
    assert array.fingerprint() == model.fingerprint()
    assert load_model("cosmos", path, config=case.config, dtype="bfloat16").dtype == torch.bfloat16


def test_the_command_replays_a_video2world(tmp_path: Path) -> None:
    case = golden("b")
    (tmp_path / "config.json").write_text(json.dumps(case.release))
    layout = case.config.layout(1)
    given = case.data["tokens"][:, : layout.first_generated]
    np.save(tmp_path / "given.npy", given)
    np.save(tmp_path / "text.npy", case.data["context"])
    write_plan(compile_plan(layout, NextToken()), tmp_path / "plan.json")
    write_form("model.pt", case, tmp_path)
    files = {"weights": "model.pt", "config": "config.json", "given": "given.npy"}
    files |= {"context": "text.npy", "out": "tokens.npy"}
    options = [part for name, file in files.items() for part in (f"--{name}", str(tmp_path / file))]
    code, out = invoke("run", tmp_path / "plan.json", "--adapter", "cosmos", *options)
    assert code == 0, out
    np.testing.assert_array_equal(np.load(tmp_path / "tokens.npy").reshape(2, -1), case.data["greedy_continuation"])
    out = invoke("run", tmp_path / "plan.json", *options)[1]
    assert "expected no context: a mc-ar model reads no text" in out


def test_what_the_face_refuses(tmp_path: Path) -> None:
    path = write_form("model.pt", golden("a"), tmp_path)
    with pytest.raises(SpecError, match=r"expected adapter to be one of mc-ar, cosmos, wham, .*, got adapter='sora'"):
        load_model("sora", path)
    with pytest.raises(SpecError, match="expected no context: a mc-ar model reads no text"):
        load_model("mc-ar", path, context=np.zeros((2, 3)))
    with pytest.raises(SpecError, match="expected a Video2World model for a text context"):
        load_model("cosmos", path, config=golden("a").config, context=np.zeros((2, 3)))
    broken = golden("a").weights()
    broken["norm.weight"][0] = torch.nan
    write_torch(broken, tmp_path / "nan.pt", holder=None)
    with pytest.raises(ValueError, match="expected finite logits, got NaN or infinite ones from this cosmos model"):
        load_model("cosmos", tmp_path / "nan.pt", config=golden("a").config)


# What does not fit


def refused(path: Path, **options: Any) -> str:
    with pytest.raises(DocumentError) as caught:
        load_cosmos(path, **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_missing_file_is_named_with_its_publisher(tmp_path: Path) -> None:
    for path in (tmp_path / "model.pt", tmp_path / "4B_model_mp_{rank}.pt"):
        said = refused(path, config="cosmos-4b")
        assert f"got no file {str(path).replace('{rank}', '0')}. NVIDIA publishes them on Hugging Face" in said
        assert all(name in said for name in REPOSITORIES.values())


def test_weights_of_another_config(tmp_path: Path) -> None:
    weights = prefixed(golden("b").weights())
    del weights["model.norm.weight"]
    weights["model.layers.0.attention.wq.bias"] = torch.zeros(64)
    path = write_torch(weights, tmp_path / "model.pt", holder=None)
    said = refused(path, config=golden("b").config)
    assert said.startswith(
        f"expected the 39 tensors of the config, got {path} with 1 missing: model.norm.weight; "
        "1 unexpected: model.layers.0.attention.wq.bias. Weights and config must belong together."
    )
    assert "model.layers.0.cross_attention.wq.weight" in refused(path, config=golden("a").config)
    assert "expected n_layers=2000000000 layers" in refused(
        path, config=replace(golden("b").config, n_layers=2 * 10**9)
    )
    # The vocabulary was not grown: the embedding of a base model under the config of a Video2World.
    small = golden("b").weights()
    small["tok_embeddings.weight"] = small["tok_embeddings.weight"][:128].clone()
    path = write_torch(small, tmp_path / "small.pt", holder=None)
    assert "tok_embeddings.weight [128, 64] for [192, 64]" in refused(path, config=golden("b").config)


def test_a_config_is_never_guessed(tmp_path: Path) -> None:
    path = write_sparse(
        {f"model.{k}": s for k, s in CONFIGS["cosmos-12b"].shapes().items()}, tmp_path / "w.safetensors"
    )
    with pytest.raises(SpecError, match=re.escape("Its shapes are those of cosmos-12b. A file does not tell")):
        load_cosmos(path)
    path = write_torch(golden("a").weights(), tmp_path / "a.pt", holder=None)
    with pytest.raises(SpecError, match=re.escape("The releases: cosmos-4b, cosmos-12b, cosmos-5b-v2w")):
        load_cosmos(path)
    with pytest.raises(SpecError, match=r"expected config to be one of cosmos-4b, .*, or a file, got config='4b'"):
        load_cosmos(path, config="4b")
    with pytest.raises(SpecError, match="expected dtype to be one of float32, bfloat16, float16, got dtype='int8'"):
        load_cosmos(path, config=golden("a").config, dtype="int8")  # type: ignore[arg-type]
    with pytest.raises(SpecError, match="expected a device of this machine, got device='toaster'"):
        load_cosmos(path, config=golden("a").config, device="toaster")


def test_shards_that_do_not_fit_together(tmp_path: Path) -> None:
    case = golden("a")
    parts = shards(case.weights())
    pattern = write_shards(parts, tmp_path)
    assert open_cosmos(pattern).kind == "2 tensor-parallel shards"
    parts[1]["norm.weight"] = parts[1]["norm.weight"] + 1
    write_shards(parts, tmp_path)
    assert "norm.weight differs between the shards" in refused(pattern, config=case.config)
    parts[1]["norm.weight"] = parts[1]["norm.weight"][:5]
    write_shards(parts, tmp_path)
    assert "expected norm.weight alike in every shard" in refused(pattern, config=case.config)
    del parts[1]["norm.weight"]
    write_shards(parts, tmp_path)
    assert "expected the same tensors in every shard, got norm.weight in one of" in refused(pattern, config=case.config)
    (tmp_path / "4B_model_mp_1.pt").unlink()
    assert "of another shape: tok_embeddings.weight [64, 64] for [128, 64]" in refused(pattern, config=case.config)


def test_a_tensor_under_two_names(tmp_path: Path) -> None:
    weights = golden("a").weights()
    path = write_torch(weights | engine_names(weights), tmp_path / "model.pt", holder=None)
    assert "expected each tensor once" in refused(path, config=golden("a").config)


@given(data=st.data())
def test_damage_is_one_line(data: st.DataObject, tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.getbasetemp() / "cosmos-damage"
    if not folder.exists():
        folder.mkdir()
        write_form("model.pt", golden("a"), folder)
        write_form("safetensors", golden("a"), folder)
    whole = bytearray((folder / data.draw(st.sampled_from(["model.pt", "model.safetensors"]))).read_bytes())
    # Heads and tails are what readers stumble over: the middle is numbers.
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, 5000) | st.integers(len(whole) - 5000, len(whole) - 1))
        whole[at : at + data.draw(st.integers(0, 8))] = data.draw(st.binary(max_size=8))
    (folder / "damaged").write_bytes(whole)
    try:
        load_cosmos(folder / "damaged", config=golden("a").config)
    except DocumentError as error:
        assert "\n" not in str(error)  # noqa: PT017


# Configurations


@CASES
def test_the_references_own_config_is_read(name: str, tmp_path: Path) -> None:
    case = golden(name)
    path = tmp_path / "config.json"
    path.write_text(json.dumps(case.release))
    assert read_cosmos_config(path) == case.config


def test_a_config_of_13b(tmp_path: Path) -> None:
    keys = {"dim": 5120, "n_layers": 40, "n_heads": 32, "n_kv_heads": 8, "head_dim": 128, "ffn_hidden_size": 14_336}
    keys |= {"video_latent_shape": [5, 40, 64], "apply_abs_pos_emb": True, "training_type": "text_to_video"}  # type: ignore[dict-item]
    keys |= {"insert_cross_attn": True, "context_dim": 1024, "apply_yarn": True, "original_latent_shape": [3, 40, 64]}  # type: ignore[dict-item]
    keys |= {"yarn_scale": 2, "yarn_beta_fast": 4, "yarn_beta_slow": 1}
    path = tmp_path / "config.json"
    path.write_text(json.dumps(keys))
    assert read_cosmos_config(path) == CONFIGS["cosmos-13b-v2w"]
    path.write_text(json.dumps(keys | {"yarn_scale": 3.0}))
    assert read_cosmos_config(path).rescale == FrequencyRescale(scale=3.0)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"sliding_window": 3}, "expected the keys of a Cosmos model config, got sliding_window"),
        ({"dim": None}, "got no dim"),
        ({"training_type": None}, "got no training_type"),
        ({"training_type": "text_to_image"}, "expected training_type to be one of video_to_video, text_to_video"),
        ({"training_type": ["text_to_video"]}, "expected training_type"),
        ({"use_qk_normalization": False}, "expected use_qk_normalization=True, got use_qk_normalization=False"),
        ({"pytorch_rope_version": "v1"}, "expected pytorch_rope_version='v2'"),
        ({"rope_dim": "1D"}, "expected rope_dim='3D'"),
        ({"tensor_model_parallel_size": 2}, "expected tensor_model_parallel_size=1"),
        ({"insert_cross_attn_every_k_layers": 2}, "expected insert_cross_attn_every_k_layers=1"),
        ({"apply_abs_pos_emb": "yes"}, "expected apply_abs_pos_emb to be true or false"),
        ({"context_dim": None}, "expected context_dim beside insert_cross_attn"),
        ({"context_dim": "wide"}, "expected context_dim to be an integer"),
        ({"apply_yarn": True}, "got no original_latent_shape, yarn_scale, yarn_beta_fast, yarn_beta_slow"),
        ({"apply_yarn": True, "original_latent_shape": [1, 2, 3], "yarn_scale": "x", "yarn_beta_fast": 4,
          "yarn_beta_slow": 1}, "expected positive numbers for the frequency rescale"),
        ({"video_latent_shape": [2, 6]}, "expected video_latent_shape as [frames, rows, columns]"),
        ({"video_latent_shape": [2, 6, 0]}, "expected video_latent_shape as [frames, rows, columns]"),
        ({"n_kv_heads": 3}, "expected key-value heads that divide the heads"),
        ({"norm_eps": "small"}, "expected norm_eps to be a number above 0"),
        ({"dim": 64.0}, "expected dim to be an integer"),
    ],
)  # fmt: skip
def test_configs_of_other_models(change: dict[str, Any], words: str, tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    path.write_text(json.dumps(golden("b").release | change))
    with pytest.raises(DocumentError, match=re.escape(words)) as caught:
        read_cosmos_config(path)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize("text", ["", "{", "[1]", "[" * 100_000, '"x"', "\xff"])
def test_configs_that_are_none(text: str, tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    path.write_text(text, encoding="latin-1")
    with pytest.raises(DocumentError, match="expected a JSON object"):
        read_cosmos_config(path)
    with pytest.raises(DocumentError, match="cannot read"):
        read_cosmos_config(tmp_path / "none.json")
    path.write_bytes(b" " * (1 << 21))
    with pytest.raises(DocumentError, match="expected a config of at most"):
        read_cosmos_config(path)
