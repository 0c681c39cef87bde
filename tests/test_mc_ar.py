"""MC-AR: released sizes, weights in every file form, configs, and equality with transformers' Llama."""

import json
import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("safetensors")

from diagplan.adapters.mc_ar import CONFIGS, McAr, McArConfig, _rotary_tables  # noqa: E402
from diagplan.adapters.mc_ar_files import load_mc_ar, read_mc_ar_config  # noqa: E402
from diagplan.planner.errors import DocumentError, SpecError  # noqa: E402
from tests.checkpoints import write_folder, write_safetensors, write_sparse, write_torch  # noqa: E402
from tests.test_replay import DATA, META, WEIGHTS  # noqa: E402

GOLDEN = McArConfig(**META["config"], image_vocab=META["image_vocab"])
#: A Hugging Face config.json of the golden model.
GOLDEN_JSON: dict[str, Any] = {
    "architectures": ["LlamaForCausalLM"],
    "attention_bias": False,
    "hidden_act": "silu",
    "mlp_bias": False,
    "model_type": "llama",
    "rope_scaling": None,
    "tie_word_embeddings": False,
    "torch_dtype": "float32",
    "use_cache": True,
    **META["config"],
    "image_vocab": META["image_vocab"],
}
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


def golden_weights() -> dict[str, Any]:
    return {name: torch.from_numpy(value) for name, value in WEIGHTS.items()}


def release_weights() -> dict[str, Any]:
    """As in a release file: under ``transformer.``, with the image tokenizer beside."""
    held = {f"transformer.{name}": tensor for name, tensor in golden_weights().items()}
    return held | {"tokenizer.model.quantize.embedding.weight": torch.zeros(9, 4)}


def write_json(folder: Path, keys: Mapping[str, Any]) -> Path:
    path = folder / "config.json"
    path.write_text(json.dumps(keys))
    return path


def causal_logits(model: McAr, ids: Any) -> Any:
    """Logits of a causal pass over ids [B, n], as float32."""
    slots = torch.arange(ids.shape[1])
    mask = torch.ones((len(slots), len(slots)), dtype=torch.bool).tril()
    with torch.inference_mode():
        return model.forward(ids, slots, slots, mask, model.new_cache(len(ids), len(slots))).float()


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
    assert model.dtype == model.embedding.dtype == model.norm.dtype == model.cos.dtype == wanted
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


# Configs


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


# 3D rotary positions

THREE = replace(GOLDEN, rope="3d", head_dim=16, rows=3, cols=5, action_tokens=2)


def angles_by_the_formula(config: McArConfig) -> np.ndarray[Any, Any]:
    """Angles of the first half of the head, [positions, D / 2], one number at a time."""
    size = config.head_size
    space = 2 * (size // 6)
    angles = []
    for slot in range(config.max_position_embeddings):
        t, inner = divmod(slot, config.rows * config.cols + config.action_tokens)
        y, x = divmod(inner, config.cols)
        if inner >= config.rows * config.cols:
            y, x = config.rows, inner - config.rows * config.cols
        row = []
        for coordinate, part in ((t, size - 2 * space), (y, space), (x, space)):
            row += [coordinate / config.rope_theta ** (2 * i / part) for i in range(part // 2)]
        angles.append(row)
    return np.array(angles)


@pytest.mark.parametrize("head_dim", [8, 16, 22, 64])
def test_3d_tables_follow_the_formula(head_dim: int) -> None:
    config = replace(THREE, head_dim=head_dim)
    angles = angles_by_the_formula(config)
    assert angles.shape == (85, head_dim // 2)
    cos, sin = _rotary_tables(config, torch.device("cpu"), torch.float64)
    np.testing.assert_allclose(cos.numpy(), np.cos(np.tile(angles, 2)), atol=1e-12)
    np.testing.assert_allclose(sin.numpy(), np.sin(np.tile(angles, 2)), atol=1e-12)


def test_3d_differs_from_1d_and_tells_coordinates_apart(tmp_path: Path) -> None:
    path = write_torch(release_weights(), tmp_path / "w.ckpt")
    keys = GOLDEN_JSON | {"rope": "3d", "rows": 3, "cols": 5, "action_tokens": 2}
    config = read_mc_ar_config(write_json(tmp_path, keys))
    assert config == THREE or config == replace(THREE, head_dim=None)
    model = load_mc_ar(path, config=config)
    flat = load_mc_ar(path, config=GOLDEN)
    ids = torch.from_numpy(DATA["causal/input_ids"])[None]
    three, one = causal_logits(model, ids), causal_logits(flat, ids)
    torch.testing.assert_close(three[:, 0], one[:, 0])  # slot 0 is turned by neither
    assert (three - one).abs().max() > 0.01
    distinct = torch.cat([model.cos, model.sin], dim=1).unique(dim=0)
    assert len(distinct) == config.max_position_embeddings


def test_3d_is_relative_in_each_coordinate() -> None:
    """What a query sees of a key depends on their differences in frame, row and column alone."""
    cos, sin = _rotary_tables(THREE, torch.device("cpu"), torch.float64)
    generator = torch.Generator().manual_seed(0)
    query, key = torch.randn(2, 16, generator=generator, dtype=torch.float64)

    def turned(x: Any, slot: int) -> Any:
        half = torch.cat((-x[8:], x[:8]))
        return x * cos[slot] + half * sin[slot]

    def slot(t: int, y: int, x: int) -> int:
        return t * 17 + y * 5 + x

    def score(a: int, b: int) -> float:
        return float(turned(query, a) @ turned(key, b))

    near = score(slot(1, 1, 3), slot(0, 0, 1))
    assert score(slot(3, 2, 4), slot(2, 1, 2)) == pytest.approx(near)
    assert score(slot(1, 1, 3), slot(0, 0, 2)) != pytest.approx(near)
    # In 1D a neighbour across the end of a row is as near as one beside it; in 3D it is not.
    assert score(slot(0, 1, 0), slot(0, 0, 4)) != pytest.approx(score(slot(0, 1, 1), slot(0, 1, 0)))
