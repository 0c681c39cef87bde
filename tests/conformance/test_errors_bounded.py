"""Errors never format what they have not bounded: bombs in every setting of every reader."""

import json
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch")
pytest.importorskip("safetensors")
pytest.importorskip("yaml")

import diagplan as dp
from diagplan.adapters.cosmos_config import CosmosConfig, config_from_export
from diagplan.adapters.cosmos_files import read_cosmos_config
from diagplan.adapters.cosmos_positions import FrequencyRescale
from diagplan.adapters.devices import require_device, require_dtype
from diagplan.adapters.mc_ar import McArConfig
from diagplan.adapters.mc_ar_files import read_mc_ar_config
from diagplan.adapters.options import LoadOptions
from diagplan.adapters.samplers import Sample
from diagplan.adapters.wham import WhamConfig
from diagplan.adapters.wham_files import read_wham_config
from diagplan.planner.errors import DiagplanError, DocumentError
from diagplan.planner.graph import plan_graph
from diagplan.planner.lowering import pad_steps
from diagplan.schemas.convert import document_parts
from tests.support.budget import LARGE, within_budget, yaml_bomb

GRID = dp.Layout(frames=1, rows=2, cols=2, lead=1)
PLAN = dp.compile_plan(GRID, dp.NextToken())
COSMOS: dict[str, Any] = {
    "dim": 64, "n_layers": 2, "n_heads": 4, "n_kv_heads": 2, "ffn_hidden_size": 96, "video_latent_shape": [2, 2, 2],
}  # fmt: skip
MC_AR: dict[str, Any] = {
    "hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 2, "num_attention_heads": 4, "vocab_size": 100,
    "max_position_embeddings": 64,
}  # fmt: skip
WHAM: dict[str, Any] = {"n_layer": 2, "n_head": 4, "n_embd": 64}


def of(kind: Callable[..., Any], given: dict[str, Any]) -> dict[str, Callable[[Any], Any]]:
    """The calls that make a dataclass with another value in one of its fields."""
    named: Any = kind

    def with_other(name: str) -> Callable[[Any], Any]:
        return lambda value: kind(**given | {name: value})

    return {f"{kind.__name__}.{field.name}": with_other(field.name) for field in fields(named)}


ARGUMENTS: dict[str, Callable[[Any], Any]] = {
    **of(CosmosConfig, COSMOS | {"video_latent_shape": (2, 2, 2)}),
    **of(McArConfig, MC_AR | {"num_key_value_heads": 2}),
    **of(WhamConfig, WHAM),
    **of(FrequencyRescale, {}), **of(Sample, {}), **of(dp.Policies, {}), **of(dp.ZipAR, {"window": 2}),
    **of(dp.Diagonal, {"k": 1}), **of(dp.Layout, {"frames": 1, "rows": 2, "cols": 2, "lead": 1}),
    "LoadOptions.device": lambda value: LoadOptions(device=value),
    "LoadOptions.quantize": lambda value: LoadOptions(quantize=value),
    "require_device": require_device, "require_dtype": require_dtype,
    "export's sizes": lambda value: config_from_export(COSMOS | {"rescale": {"scale": value}}),
    "export's key": lambda value: config_from_export(COSMOS | {"k" * 500_000: value}),
    "Imported.label": lambda value: dp.Imported(steps=[[0]], label=value),
    "Imported.steps": lambda value: dp.Imported(steps=value),
    "compile_plan.slots": lambda value: dp.compile_plan(GRID, dp.NextToken(), slots=value),
    "pad_steps": lambda value: pad_steps(PLAN, value),
    "preset_layout": dp.preset_layout,
    "plan_graph": lambda value: plan_graph(PLAN, nodes=value),
    "document_parts": lambda value: document_parts(PLAN, value, {}),
}  # fmt: skip


def refused_or_taken(call: Callable[[Any], Any], value: Any) -> None:
    """Whatever a call does with a value, it takes little, and an error is a short one."""
    said = ""
    with within_budget():
        try:
            call(value)
        except DiagplanError as error:
            said = str(error)
    assert len(said) < 2500
    assert "MemoryError" not in said


@pytest.mark.parametrize("argument", ARGUMENTS)
def test_arguments(argument: str) -> None:
    """A large value is refused in a short line, or taken for what it is: a number that is no size, a text."""
    for value in LARGE.values():
        refused_or_taken(ARGUMENTS[argument], value)


JSON_VALUES = {
    "digits": "9" * 4000, "more digits": "9" * 10_000, "negative": "-" + "9" * 4000, "text": '"' + "y" * 500_000 + '"',
    "nan": "NaN", "inf": "Infinity", "list": "[" + "0," * 100_000 + "0]", "empty": "{}", "deep": "[" * 900 + "]" * 900,
    "deeper": "[" * 100_000, "list of texts": '["a", {"b": []}]', "exponent": "1e999999",
}  # fmt: skip
READERS: dict[str, tuple[Callable[[Path], Any], dict[str, Any], tuple[str, ...]]] = {
    "cosmos": (read_cosmos_config, COSMOS | {"training_type": "text_to_video"}, (
        "head_dim", "vocab_size", "norm_eps", "rope_theta", "causal_mask", "norm_type", "apply_yarn", "yarn_scale",
        "insert_cross_attn", "context_dim", "unknown",
    )),
    "mc-ar": (read_mc_ar_config, MC_AR, (
        "head_dim", "image_vocab", "rope", "rows", "cols", "action_tokens", "architectures", "hidden_act",
        "num_key_value_heads", "rms_norm_eps", "tie_word_embeddings", "rope_theta", "rope_parameters", "rope_scaling",
        "quantization_config", "unknown",
    )),
    "wham": (read_wham_config, WHAM, ("bias", "nanogpt_version", "seq_len", "rows", "cols", "image_codes", "unknown")),
}  # fmt: skip


@pytest.mark.parametrize("family", READERS)
@pytest.mark.parametrize("kind", JSON_VALUES)
def test_settings_in_json(family: str, kind: str, tmp_path: Path) -> None:
    read, keys, others = READERS[family]
    path = tmp_path / "config.json"
    for key in (*keys, *others):
        path.write_text(json.dumps(keys | {key: "MARK"}).replace('"MARK"', JSON_VALUES[kind]))
        refused_or_taken(read, path)
    path.write_text(json.dumps(keys | {"k" * 500_000: 1}))
    refused_or_taken(read, path)


YAML_VALUES = {
    "aliases": "*b",
    "digits": "0x" + "f" * 20_000,
    "own": "&c [*c]",
    "date": "2001-01-01",
    "set": "!!set {a}",
}


@pytest.mark.parametrize("kind", YAML_VALUES)
def test_settings_in_yaml(kind: str, tmp_path: Path) -> None:
    """1.2 KB of aliases stand for 9^12 values: not one setting shows, compares or merges them."""
    read, keys, others = READERS["mc-ar"]
    path = tmp_path / "config.yaml"
    before = yaml_bomb() if kind == "aliases" else ""
    assert len(before) < 1200
    for key in (*keys, *others, "rope_parameters: {rope_theta", "? "):
        lines = [f"{name}: {value}" for name, value in keys.items() if name != key]
        value = YAML_VALUES[kind] + ("}" if "{" in key else "")
        path.write_text(before + "\n".join([*lines, f"{key}: {value}" if key != "? " else f"? {value}\n: 1"]))
        refused_or_taken(read, path)


@pytest.mark.parametrize(
    "text",
    [
        yaml_bomb().replace("[", "{<<: [").replace("]", "]}").replace("{<<: [x]}", "{k: v}"),
        "a: &a [*a]\n",
        "[" + "a," * 30_000 + "]",
        "- [" * 20_000,
        "a:\n" * 15_000,
        "hidden_size: 1\n" + "".join(f"{'k' * 500}{i}: 1\n" for i in range(100)),
        "a: {0x" + "f" * 900 + ": {hidden_size: 1}, " + "y" * 900 + ": {hidden_size: 1}}\n",
        "y" * 70_000,
    ],
    ids=["merges", "itself", "list", "deep", "keys", "unknown keys", "two models", "long"],
)
def test_yaml_of_no_model(text: str, tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(text)
    with pytest.raises(DocumentError) as caught, within_budget():
        read_mc_ar_config(path)
    assert len(str(caught.value)) < 2500


def test_two_equal_bombs_are_not_compared(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    second = yaml_bomb().replace("b", "c")
    sizes = "\n".join(f"{name}: {value}" for name, value in MC_AR.items())
    path.write_text(f"{yaml_bomb()}{second}{sizes}\nrope_theta: *b\nrope_parameters: {{rope_theta: *c}}\n")
    refused_or_taken(read_mc_ar_config, path)


def test_a_small_list_is_shown() -> None:
    """Bounded is not mute."""
    with pytest.raises(DiagplanError, match=r"got \(2, 2\)\.$"):
        CosmosConfig(**COSMOS | {"video_latent_shape": (2, 2)})
