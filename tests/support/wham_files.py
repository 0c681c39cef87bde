"""WHAM checkpoints written for tests: of golden weights, as Lightning writes them, classes of its own included."""

import sys
import types
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from tests.support.wham import DATA, TOKENIZER_DATA  # noqa: E402

#: Transformer and tokenizer, as in one published file. The tokenizer has more codes than the transformer.
WEIGHTS: dict[str, Any] = {
    name.removeprefix("w/"): torch.from_numpy(value)
    for data in (DATA, TOKENIZER_DATA)
    for name, value in data.items()
    if name.startswith("w/")
}
#: What training leaves behind, and the buffers of an older version.
LEFT_OVER = {
    "context_encoders.images.lpips_model.lin0.weight": torch.zeros(3),
    "predictor.gpt_model.transformer.h.0.attn.bias": torch.ones(1, 1, 4, 4),
}


def foreign_module(monkeypatch: pytest.MonkeyPatch) -> types.ModuleType:
    """A module ``humanmodelling`` with classes that no reader has."""
    module = types.ModuleType("humanmodelling")
    for name, base in (("CreationArgs", object), ("AttributeDict", dict), ("Names", list)):
        setattr(module, name, type(name, (base,), {"__module__": "humanmodelling", "__qualname__": name}))
    monkeypatch.setitem(sys.modules, "humanmodelling", module)
    return module


def write_lightning(path: Path, monkeypatch: pytest.MonkeyPatch, weights: Any = None, **spec: Any) -> Path:
    """A file with optimizer states and hyper-parameters of foreign classes; ``spec``: more of the tokenizer's."""
    module = foreign_module(monkeypatch)

    def creation(**model_spec: Any) -> Any:
        made = module.CreationArgs()
        made.pl_class, made.pl_checkpoint_path = module.Names, Path("somewhere")
        made.pl_kwargs = {"model_spec": module.AttributeDict(model_spec)}
        return made

    images = {"head_size": np.int64(16), "patch_size": 10, "image_size_per_x_axis": 40, "image_size_per_y_axis": 30}
    held = OrderedDict(WEIGHTS | LEFT_OVER if weights is None else weights)
    parameter = torch.nn.Parameter(torch.zeros(3))
    torch.save(
        {
            "epoch": 1,
            "state_dict": held,
            "optimizer_states": [{"state": {0: {"step": torch.tensor(3.0), "exp_avg": torch.zeros(500)}}}],
            "callbacks": {"x": module.Names(["a", parameter])},
            "hyper_parameters": {
                "predictor_args": creation(model_size="chinchilla-251M", seq_len=4, bias=True),
                "context_encoder_args": {"images": creation(**(images | spec)), "actions_output": creation()},
                "variant": torch.float32,
            },
        },
        path,
    )
    monkeypatch.delitem(sys.modules, "humanmodelling")
    return path
