"""MC-AR's configurations: the release's YAML, Hugging Face's config.json, and what is refused."""

import re
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch")
pytest.importorskip("safetensors")

from diagplan.adapters.mc_ar import CONFIGS
from diagplan.adapters.mc_ar_files import read_mc_ar_config
from diagplan.planner.errors import DocumentError
from tests.support.mc_ar import GOLDEN, GOLDEN_JSON, write_json
from tests.support.mineworld import META

#: The text of a release's configs/*.yaml, with the parts that matter here.
RELEASE_YAML = """
model:
  target: lvm.LlamaLVM
  params:
    model_class: lvm.LlamaForCausalLM
    tokenizer_config:
      target: vae.VAE
      params:
        config_path: checkpoints/vae/config.json
        ckpt_path: checkpoints/vae/vae.ckpt
    transformer_config:
      target: transformers.LlamaConfig
      params:
        max_position_embeddings: {positions}
        hidden_size: {hidden}
        intermediate_size: {mlp}
        num_attention_heads: {heads}
        num_key_value_heads: 4
        num_hidden_layers: 20
        initializer_range: 0.02
        rope_theta: 10000.0
        torch_dtype: bfloat16
        rms_norm_eps: 1.0e-05
        vocab_size: 8262
        attention_bias: false
        mlp_bias: false
        token_num: 347
        image_num: 336
        frame: 16
"""


@pytest.mark.parametrize("name", CONFIGS)
def test_release_yaml(name: str, tmp_path: Path) -> None:
    pytest.importorskip("yaml")
    c = CONFIGS[name]
    text = RELEASE_YAML.format(
        positions=c.max_position_embeddings, hidden=c.hidden_size, mlp=c.intermediate_size, heads=c.num_attention_heads
    )
    (tmp_path / "c.yaml").write_text(text)
    assert read_mc_ar_config(tmp_path / "c.yaml") == c
    # YAML reads a number without a point as text.
    (tmp_path / "c.yaml").write_text(text.replace("1.0e-05", "1e-5"))
    assert read_mc_ar_config(tmp_path / "c.yaml") == c


def test_llama_defaults_are_llamas(tmp_path: Path) -> None:
    """Where a config leaves a key out, LlamaConfig's default holds, not the release's value."""
    keys = {key: value for key, value in META["config"].items() if key not in ("rms_norm_eps", "num_key_value_heads")}
    config = read_mc_ar_config(write_json(tmp_path, keys))
    assert (config.rms_norm_eps, config.num_key_value_heads, config.rope) == (1e-6, 4, "1d")
    assert config.image_ids == config.vocab_size


@pytest.mark.parametrize(
    "change",
    [
        {"rope_parameters": {"rope_type": "default", "rope_theta": 10000.0}},
        {"rope_scaling": {"type": "default"}},
        {"pretraining_tp": 2, "_name_or_path": "x", "transformers_version": "4.40", "bos_token_id": [1, 2]},
        {"num_key_value_heads": 2, "head_dim": None, "architectures": None},
    ],
)
def test_harmless_keys(change: dict[str, Any], tmp_path: Path) -> None:
    assert read_mc_ar_config(write_json(tmp_path, GOLDEN_JSON | change)) == GOLDEN


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"attention_bias": True}, "expected attention_bias to be False, got attention_bias=True"),
        ({"mlp_bias": True}, "expected mlp_bias to be False"),
        ({"hidden_act": "gelu"}, "expected hidden_act to be 'silu' or 'swish', got hidden_act='gelu'"),
        ({"model_type": "mistral"}, "expected model_type to be 'llama'"),
        ({"architectures": ["LlamaForSequenceClassification"]}, "expected architectures to be ['LlamaForCausalLM']"),
        ({"rope_scaling": {"type": "linear", "factor": 2.0}}, "expected rope_scaling without scaling"),
        ({"rope_scaling": {"rope_type": "llama3"}}, "expected rope_scaling without scaling"),
        (
            {"rope_parameters": {"rope_type": "default", "partial_rotary_factor": 0.5}},
            "expected rope_parameters without",
        ),
        ({"rope_parameters": [1]}, "expected rope_parameters without scaling"),
        ({"rope_parameters": {"rope_theta": 5.0}}, "expected one rope_theta, got 10000.0 and 5.0"),
        ({"quantization_config": {"bits": 4}}, "expected quantization_config to be absent"),
        ({"sliding_window": 128}, "expected sliding_window to be absent"),
        (
            {"attention_multiplier": 0.5, "qk_norm": True},
            "expected the keys of a LlamaConfig, got attention_multiplier, qk_norm. An unknown",
        ),
        ({"tie_word_embeddings": "yes"}, "expected tie_word_embeddings to be true or false"),
        ({"hidden_size": "64"}, "expected hidden_size to be an integer"),
        ({"vocab_size": None}, "expected all sizes of the model, got no vocab_size"),
        ({"rms_norm_eps": "tiny"}, "expected rms_norm_eps to be a number above 0"),
        ({"rms_norm_eps": 0}, "expected rms_norm_eps to be a number above 0"),
        ({"rope_theta": True}, "expected rope_theta to be a number above 0"),
        ({"rope_theta": 10**400}, "expected rope_theta to be a number above 0"),
        ({"num_key_value_heads": 3}, "expected key-value heads that divide the heads"),
        ({"max_position_embeddings": 10**12}, "expected max_position_embeddings <="),
        ({"rope": "2d"}, "expected rope to be '1d' or '3d'"),
        (
            {"vision_config": {"hidden_size": 3}},
            "expected one mapping with the key hidden_size, got vision_config, the top",
        ),
    ],
)
def test_refused_keys(change: dict[str, Any], said: str, tmp_path: Path) -> None:
    path = write_json(tmp_path, GOLDEN_JSON | change)
    with pytest.raises(DocumentError, match=f"^{re.escape(f'{path}: {said}')}"):
        read_mc_ar_config(path)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "expected one mapping with the key hidden_size, got none"),
        ("{", "which is not JSON"),
        ('{"a":' * 100_000, "which is not JSON|recursion"),
        ("a: [", "expected plain YAML"),
        ("- " * 20_000 + "1", "expected plain YAML|recursion"),
        ("a: !!int x", "expected plain YAML"),
        ("_class_name: VQModel", "expected one mapping with the key hidden_size, got none"),
        ("a: {hidden_size: 1}\nb: [{hidden_size: 2}]", "got a, b.0. A config describes one transformer"),
        ("target: x.Mamba\nparams: {hidden_size: 1}", "got target='x.Mamba'"),
        ("\xff\xfe", "it is not UTF-8 text"),
        ("#" * (1 << 21), "expected a config of at most 1048576 bytes"),
    ],
    ids=range(11),
)
def test_files_that_are_no_config(text: str, said: str, tmp_path: Path) -> None:
    pytest.importorskip("yaml")
    path = tmp_path / "c.yaml"
    path.write_text(text, encoding="latin-1")
    with pytest.raises(DocumentError, match=said) as caught:
        read_mc_ar_config(path)
    assert "\n" not in str(caught.value)


def test_yaml_makes_no_objects(tmp_path: Path) -> None:
    pytest.importorskip("yaml")
    witness = tmp_path / "witness"
    (tmp_path / "c.yaml").write_text(f"model: !!python/object/apply:os.system ['touch {witness}']")
    with pytest.raises(DocumentError, match="expected plain YAML"):
        read_mc_ar_config(tmp_path / "c.yaml")
    assert not witness.exists()


def test_a_missing_config(tmp_path: Path) -> None:
    with pytest.raises(DocumentError, match="No such file"):
        read_mc_ar_config(tmp_path / "none.yaml")
