"""The golden weights of Cosmos in every form of file that is read."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")

from tests.support.checkpoints import write_folder, write_safetensors, write_torch  # noqa: E402
from tests.support.cosmos_golden import Golden  # noqa: E402


def prefixed(weights: Mapping[str, Any]) -> dict[str, Any]:
    return {f"model.{name}": tensor for name, tensor in weights.items()}


def with_extra_state(weights: Mapping[str, Any]) -> dict[str, Any]:
    return dict(weights) | {"model.layers.0.attention.core._extra_state": torch.zeros(3, dtype=torch.uint8)}


def engine_names(weights: Mapping[str, Any]) -> dict[str, Any]:
    """As TransformerEngine names them; w1 above w3 in one tensor."""
    names = (
        ("cross_attention_norm.weight", "inter_attention.layernorm_query.layer_norm_weight"),
        ("cross_attention.wq.weight", "inter_attention.layernorm_query.query_weight"),
        ("cross_attention.wk.weight", "inter_attention.key_value.key_weight"),
        ("cross_attention.wv.weight", "inter_attention.key_value.value_weight"),
        ("cross_attention.wo.weight", "inter_attention.proj.weight"),
        ("cross_attention.", "inter_attention."),
        ("attention_norm.weight", "self_attention.layernorm_qkv.layer_norm_weight"),
        (".attention.wq.weight", ".self_attention.layernorm_qkv.query_weight"),
        (".attention.wk.weight", ".self_attention.layernorm_qkv.key_weight"),
        (".attention.wv.weight", ".self_attention.layernorm_qkv.value_weight"),
        (".attention.wo.weight", ".self_attention.proj.weight"),
        (".attention.", ".self_attention."),
        ("ffn_norm.weight", "layernorm_mlp.layer_norm_weight"),
        ("feed_forward.w2.weight", "layernorm_mlp.fc2_weight"),
    )
    made: dict[str, Any] = {}
    for name, tensor in weights.items():
        if "feed_forward.w1" in name:
            third = weights[name.replace("w1", "w3")]
            made[name.replace("feed_forward.w1.weight", "layernorm_mlp.fc1_weight")] = torch.cat([tensor, third])
        elif "feed_forward.w3" not in name:
            old, new = next(((old, new) for old, new in names if old in name), ("", ""))
            made[name.replace(old, new) if old else name] = tensor
    return made


def shards(weights: Mapping[str, Any], ranks: int = 2) -> list[dict[str, Any]]:
    """As the release's own script cuts them."""

    def part(name: str, tensor: Any, rank: int) -> Any:
        if re.search(r"\.wo\.|\.w2\.", name):
            return tensor.chunk(ranks, dim=1)[rank].clone()
        return tensor.clone() if tensor.ndim == 1 else tensor.chunk(ranks, dim=0)[rank].clone()

    return [{name: part(name, tensor, rank) for name, tensor in weights.items()} for rank in range(ranks)]


def write_shards(parts: list[dict[str, Any]], folder: Path) -> Path:
    for rank, part in enumerate(parts):
        write_torch(part, folder / f"4B_model_mp_{rank}.pt", holder=None)
    return folder / "4B_model_mp_{rank}.pt"


def write_form(form: str, case: Golden, folder: Path) -> Path:
    weights = case.weights()
    match form:
        case "model.pt":
            return write_torch(prefixed(weights), folder / "model.pt", holder=None)
        case "bare names":
            return write_torch(weights, folder / "model.pt", holder=None)
        case "under model":
            return write_torch(with_extra_state(prefixed(weights)), folder / "model.pt", holder="model")
        case "folder with model.pt":
            write_torch(prefixed(weights), folder / "model.pt", holder=None)
            (folder / "config.json").write_text("{}")
            return folder
        case "safetensors":
            return write_safetensors(prefixed(weights), folder / "model.safetensors")
        case "safetensors shards":
            return write_folder(prefixed(weights), folder / "w", shards=3)
        case "TransformerEngine":
            return write_torch(prefixed(engine_names(weights)), folder / "model.pt", holder="model")
        case "tensor parallel":
            return write_shards(shards(prefixed(weights)), folder)
    raise AssertionError(form)


FORMS = (
    "model.pt", "bare names", "under model", "folder with model.pt", "safetensors", "safetensors shards",
    "TransformerEngine", "tensor parallel",
)  # fmt: skip
