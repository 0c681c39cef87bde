"""A replay's state on disk: written whole or not at all, resumed to the identical result."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from diagplan.backends.errors import MismatchError
from diagplan.backends.torch_eager import Prepared, State
from diagplan.planner.atomic import write_atomically
from diagplan.planner.errors import DocumentError
from diagplan.schemas.convert import plan_digest

__all__ = ["load_checkpoint", "save_checkpoint"]

_FORMAT = "diagplan-checkpoint-1"


def _identity(prepared: Prepared) -> dict[str, Any]:
    """What must agree between the run that wrote a checkpoint and the run that resumes it."""
    sampler = prepared.sampler
    return {
        "format": _FORMAT,
        "plan": plan_digest(prepared.plan),
        "model": prepared.model.fingerprint(),
        "dtype": str(prepared.model.dtype),
        "sampler": {"name": type(sampler).__name__, **asdict(sampler)},
        "seed": prepared.seed,
        "batch": prepared.batch,
        "guidance": prepared.guidance,
        "static": prepared.static,
    }


def save_checkpoint(prepared: Prepared, state: State, path: str | Path) -> None:
    """Write the state after a complete step as safetensors: tokens, the used part of the cache, and what it belongs to.

    Raises:
        DocumentError: the file cannot be written.
    """
    from safetensors.torch import save

    done = prepared.passes[state.done - 1]
    assert done.last
    used = done.mask.shape[1]
    tensors = {f"cache.{name}": cache[..., :used, :] for name, cache in state.cache._asdict().items()}
    tensors = {name: tensor.contiguous().cpu() for name, tensor in {"tokens": state.tokens, **tensors}.items()}
    about = {**_identity(prepared), "step": done.step}
    write_atomically(path, save(tensors, metadata={"diagplan": json.dumps(about)}))


def load_checkpoint(prepared: Prepared, path: str | Path) -> State:
    """The state that a checkpoint of the same plan, model, batch, seed and sampler holds.

    Raises:
        DocumentError: the file is not a readable checkpoint.
        MismatchError: it belongs to another run; the message says which part differs.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(str(path), framework="pt", device="cpu") as file:
            about = json.loads((file.metadata() or {}).get("diagplan", "null"))
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a dict
    except (OSError, SafetensorError, ValueError) as error:
        raise DocumentError(f"expected a checkpoint in {path}, got a file that cannot be read: {error}.") from None
    if not isinstance(about, dict) or about.get("format") != _FORMAT:
        raise DocumentError(f"expected a checkpoint in {path}, got a safetensors file of another kind.")
    for name, expected in _identity(prepared).items():
        if about.get(name) != expected:
            raise MismatchError(
                f"expected a checkpoint with {name}={expected}, got {name}={about.get(name)}. "
                "Resume with the plan, model, sampler, seed and batch of the run that wrote it."
            )
    step = about.get("step")
    done = sum(p.step <= step for p in prepared.passes) if isinstance(step, int) else 0
    model, plan = prepared.model, prepared.plan
    cache = model.new_cache(prepared.rows, prepared.cache_slots)
    used_slots = prepared.passes[done - 1].mask.shape[1]
    shapes = {name: (*whole.shape[:-2], used_slots, whole.shape[-1]) for name, whole in cache._asdict().items()}
    tokens = tensors.get("tokens", torch.zeros(0))
    good = done and tuple(tokens.shape) == (prepared.rows, plan.positions + 1) and tokens.dtype == torch.int64
    if not good or any(
        f"cache.{n}" not in tensors or tuple(tensors[f"cache.{n}"].shape) != s for n, s in shapes.items()
    ):
        raise DocumentError(f"expected tokens and a cache of this plan's shape in {path}, got others. Start anew.")
    for name, whole in cache._asdict().items():
        used = tensors[f"cache.{name}"]
        whole[..., : used.shape[-2], :] = used.to(model.device)
    return State(tokens=tokens.to(model.device), cache=cache, done=done)
