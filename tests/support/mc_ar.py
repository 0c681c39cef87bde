"""The model of MineWorld's golden data, and the files that hold it."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")

from diagplan.adapters.mc_ar import McAr, McArConfig  # noqa: E402
from tests.support.mineworld import META, WEIGHTS  # noqa: E402

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


def golden_weights() -> dict[str, Any]:
    return {name: torch.from_numpy(value.copy()) for name, value in WEIGHTS.items()}


def release_weights() -> dict[str, Any]:
    """As in a release file: under ``transformer.``, with the image tokenizer beside."""
    held = {f"transformer.{name}": tensor for name, tensor in golden_weights().items()}
    return held | {"tokenizer.model.quantize.embedding.weight": torch.zeros(9, 4)}


def golden_model(*, dtype: Any = torch.float32, **options: Any) -> McAr:
    """Its weights in a dtype; options as for ``McAr``."""
    return McAr(GOLDEN, {name: weight.to(dtype) for name, weight in golden_weights().items()}, **options)


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
