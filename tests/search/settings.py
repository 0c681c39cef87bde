"""Damaged configurations, settings and records: JSON, YAML, JSON lines, CSV and .npz of numbers."""

import contextlib
import io
import json
import re
import warnings
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import asdict, fields
from functools import cache
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import yaml
from safetensors.torch import save

from diagplan.adapters.cosmos_files import checked_cosmos, read_cosmos_config
from diagplan.adapters.mc_ar import random_weights
from diagplan.adapters.mc_ar_actions import encode_actions
from diagplan.adapters.mc_ar_files import open_mc_ar, read_mc_ar_config
from diagplan.adapters.wham_files import checked_wham, read_wham_config
from diagplan.adapters.wham_recordings import read_actions as read_wham_actions
from diagplan.games.clips import read_actions
from diagplan.games.recorder import read_recording
from diagplan.planner.errors import DiagplanError
from diagplan.schemas.world import read_world_document
from diagplan.study.results import StudyFolder
from diagplan.training.runs import Run, last_row
from diagplan.training.sequences import read_tokens
from diagplan.worlds.loading import SHIPPED
from tests.search.damage import bomb, hurt_bytes, hurt_json, hurt_value, npy, wrong
from tests.search.guard import Different
from tests.support.families import GPT, LLAMA
from tests.support.study import result

__all__ = [
    "cosmos_json", "lines", "mc_ar_json", "mc_ar_yaml", "study", "tokens_npz", "training", "wham_json", "world_json"
]  # fmt: skip

_LLAMA = {
    "architectures": ["LlamaForCausalLM"], "hidden_act": "silu", "tie_word_embeddings": False, "torch_dtype": "float16",
    "rope_parameters": {"rope_theta": 10000.0, "rope_type": "default"}, "image_vocab": 30,
    **{key: value for key, value in asdict(LLAMA).items() if value is not None},
}  # fmt: skip
_COSMOS = {
    "dim": 24, "n_layers": 1, "n_heads": 4, "n_kv_heads": 2, "ffn_hidden_size": 20, "vocab_size": 50,
    "video_latent_shape": [3, 3, 4], "training_type": "text_to_video", "insert_cross_attn": True, "context_dim": 12,
    "apply_yarn": True, "original_latent_shape": [3, 40, 64], "yarn_scale": 2, "yarn_beta_fast": 4, "yarn_beta_slow": 1,
    "apply_abs_pos_emb": True, "rope_dim": "3D", "norm_eps": 1e-5, "rope_theta": 500000,
}  # fmt: skip


@cache
def _weights() -> bytes:
    """A tiny safetensors file that no configuration but one fits."""
    return save(random_weights(LLAMA))


def _config(
    rng: Random, folder: Path, text: bytes, read: Callable[[Path], Any], opened: Callable[[Path, Any], Any]
) -> tuple[int, int]:
    """A configuration that is read holds the file's own numbers, and opening weights with it is cheap."""
    path = folder / "config.json"
    path.write_bytes(text)
    config = read(path)
    try:
        said = json.loads(text)
    except (ValueError, RecursionError):
        said = None
    for entry in fields(config):
        value = getattr(config, entry.name)
        there = said.get(entry.name) if isinstance(said, dict) else None
        if isinstance(there, int | float) and value is not None and float(value) != float(there):
            raise Different(f"read {entry.name}={value!r} of {there!r}")
        if isinstance(value, int) and entry.type == "int" and type(value) is not int:
            raise Different(f"read {entry.name}={value!r}")
    weights = folder / "tiny.safetensors"
    weights.write_bytes(_weights())
    with warnings.catch_warnings(), contextlib.suppress(DiagplanError):  # of another model
        warnings.simplefilter("ignore")
        opened(weights, config)
    return 1, 1


def mc_ar_json(rng: Random, folder: Path) -> tuple[int, int]:
    """A Hugging Face config.json."""
    return _config(rng, folder, hurt_json(rng, _LLAMA), read_mc_ar_config, open_mc_ar)


def cosmos_json(rng: Random, folder: Path) -> tuple[int, int]:
    """A Cosmos model config."""
    return _config(rng, folder, hurt_json(rng, _COSMOS), read_cosmos_config, checked_cosmos)


def wham_json(rng: Random, folder: Path) -> tuple[int, int]:
    """A JSON file of a WhamConfig."""
    return _config(rng, folder, hurt_json(rng, asdict(GPT)), read_wham_config, checked_wham)


def _bomb(rng: Random) -> str:
    """YAML that is small and means much: aliases of aliases, merges, tags, numbers, depth."""
    steps, times = rng.choice((5, 9, 30)), rng.choice((2, 9))
    chain = ["a0: &a0 [x]", *(f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * times)}]" for i in range(1, steps))]
    merges = [
        "m0: &m0 {k: 1}",
        *(f"m{i}: &m{i} {{<<: [{', '.join([f'*m{i - 1}'] * times)}]}}" for i in range(1, steps)),
    ]
    return rng.choice(
        (
            "\n".join(chain), "\n".join(merges), "&a [*a]", "a: &a {b: *a}", "? [[[]]]\n: 1", "? {a: b}\n: 1",
            "!!python/object/apply:os.system ['true']", "x: !!python/name:os.system", "x: !!binary '===='",
            "x: !!timestamp 2001-99-99", "x: !!int 0b", "x: !!float 1:2:3", "x: 190:20:30", "x: !!set {a, b}",
            "x: " + "9" * 5000, "x: 0x" + "f" * 5000, "x: " + "1:" * 3000 + "1", "[" * 3000, "a: " * 900 + "b",
            "- " * 2000 + "b", "%YAML 9.9\n---\na: 1", "--- a\n--- b", "x: \"\\ud800\"", "x: !!null 3", "<<: 3", "=: 3",
        )
    )  # fmt: skip


def mc_ar_yaml(rng: Random, folder: Path) -> tuple[int, int]:
    """The release's YAML, with what only YAML has put in at a line's beginning."""
    target = rng.choice(("transformers.LlamaConfig", "transformers.LlamaConfig", "os.system"))
    sizes = {key: value for key, value in _LLAMA.items() if key != "torch_dtype"}
    whole: Any = {"model": {"params": {"transformer_config": {"target": target, "params": sizes}}}}
    try:
        text = yaml.safe_dump(hurt_value(rng, whole) if rng.random() < 0.5 else whole, allow_unicode=True)
    except RecursionError:  # what was put in is too deep to be written
        text = "- " * 500
    if rng.random() < 0.7:
        lines = text.split("\n")
        lines.insert(rng.choice((0, len(lines) - 1)), _bomb(rng))
        text = "\n".join(lines)
    if rng.random() < 0.2:
        text = re.sub(r": [\w.]+", lambda found: f": {wrong(rng)!r}" if rng.random() < 0.1 else found[0], text)
    data = text.encode("utf-8", "surrogatepass")
    return _config(rng, folder, hurt_bytes(rng, data) if rng.random() < 0.1 else data, read_mc_ar_config, open_mc_ar)


def world_json(rng: Random, folder: Path) -> tuple[int, int]:
    """A world.json, plain or of a tuned model."""
    said = json.loads((SHIPPED["crafter-mini"] / "world.json").read_text())
    if rng.random() < 0.5:
        plan = {"schedule": "diagonal", "k": 2, "d": 3, "proxy": "latest", "row_end": "fresh", "proxy_kv": "keep",
                "visibility": "causal"}  # fmt: skip
        said["tuned"] = {"base": "x", "steps": 3, "ntp_share": 0.5, "plans": [plan, plan]}
    path = folder / "world.json"
    path.write_bytes(hurt_json(rng, said))
    document = read_world_document(path)
    layout = document.layout()
    if (layout.rows, layout.cols, layout.frames) != (document.rows, document.cols, document.context_frames - 1):
        raise Different("a layout of other sizes")
    return 1, 1


def lines(rng: Random, folder: Path) -> tuple[int, int]:
    """Recorded actions of each kind, as JSON lines."""
    press = {"keyboard": {"keys": ["key.keyboard.w"]}, "mouse": {"dx": 0.5, "dy": -3, "buttons": [0]}}
    pad = {"buttons": [0] * 12, "sticks": [0.5, 0, -1, 1]}
    read, line = rng.choice(
        ((encode_actions, press), (read_wham_actions, pad), (read_actions, {"action": "noop", "moved": [1, 0]}))
    )
    path = folder / "clip.jsonl"
    path.write_bytes(
        b"\n".join(hurt_json(rng, line) if rng.random() < 0.4 else json.dumps(line).encode() for _ in "abc")
    )
    got = read(path)
    if len(got) > 4:
        raise Different(f"{len(got)} actions of three lines")
    return 1, 1


def training(rng: Random, folder: Path) -> tuple[int, int]:
    """A training run's settings, its log and a recording's card."""
    settings = {"recipe": {"steps": 3, "learning_rate": 1e-3}, "config": {"a": [1, 2]}, "seed": 0}
    card = {"version": 1, "game": "crafter", "rows": 9, "cols": 9, "frames": 4, "seed": 0}
    which = rng.randrange(3)
    if which == 0:
        (folder / "settings.json").write_bytes(hurt_json(rng, settings))
        Run(folder, settings)
        if json.loads((folder / "settings.json").read_bytes()) != settings:
            raise Different("went on with other settings")
    elif which == 1:
        (folder / "log.csv").write_bytes(hurt_bytes(rng, b"step,seconds,loss\n1,0.5,3.25\n2,1,3\n3,1.5,\n"))
        if not all(isinstance(value, float) for value in last_row(folder).values()):
            raise Different("a row of other things than numbers")
    else:
        (folder / "recording.json").write_bytes(hurt_json(rng, card))
        read_recording(folder)
    return 1, 1


_SETTINGS: Mapping[str, Any] = {"model": "x", "weights": "abc", "tuned": {"t": "d"}, "seed": 0, "pieces": [[0, 1]]}


def study(rng: Random, folder: Path) -> tuple[int, int]:
    """A study's settings, and the result of a condition in its folder."""
    if rng.random() < 0.4:
        (folder / "study.json").write_bytes(hurt_json(rng, dict(_SETTINGS)))
        StudyFolder(folder, _SETTINGS)
        held = json.loads((folder / "study.json").read_bytes())
        if {key: held[key] for key in _SETTINGS if key != "tuned"} != {
            k: v for k, v in _SETTINGS.items() if k != "tuned"
        }:
            raise Different("went on with other settings")
        return 1, 1
    kept = StudyFolder(folder, _SETTINGS)
    made = result("base/ntp", loss=1.0)
    kept.write(made)
    path = kept.path(made.id, ".json")
    path.write_bytes(hurt_json(rng, json.loads(path.read_text())))
    read = kept.read(made.id, made.bound)
    assert read is not None
    for name in read.curves:
        if read.curve(name).shape != (3, 2):
            raise Different(f"a curve of shape {read.curve(name).shape}")
    return 1, 1


def tokens_npz(rng: Random, folder: Path) -> tuple[int, int]:
    """Kept tokens of a training or of a study: a damaged zip file of damaged arrays."""
    arrays = {
        "key": np.array("k"), "frames": np.arange(12).reshape(1, 2, 2, 3), "actions": np.ones((1, 1), np.int64),
        "moved": np.zeros((1, 1, 2), np.int64), "tokens": np.arange(12).reshape(1, 2, 2, 3),
    }  # fmt: skip
    data = io.BytesIO()
    hurt = rng.choice(list(arrays))
    with zipfile.ZipFile(data, "w") as archive:
        for name, array in arrays.items():
            held = io.BytesIO()
            np.save(held, array)
            how = rng.choice((zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2))
            body = npy(rng, array) if name == hurt and array.ndim else held.getvalue()
            archive.writestr(f"{name}.npy", body, compress_type=how)
    whole = data.getvalue()
    if rng.random() < 0.5:
        whole = hurt_bytes(rng, whole)
    elif rng.random() < 0.1:
        whole = bomb(whole, rng.choice(("frames.npy", "tokens.npy")), 3 << 29)
    kept = StudyFolder(folder / "study", _SETTINGS)
    path = kept.path("base/ntp", ".npz")
    path.parent.mkdir(parents=True)
    path.write_bytes(whole)
    taken = read_tokens(path, "k")
    if taken is not None and taken.frames.dtype != np.int64:
        raise Different(f"frames of {taken.frames.dtype}")
    kept.read_tokens("base/ntp")
    return 1, 1
