"""A replay's state on disk: written whole or not at all, resumed to the identical result."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from diagplan.adapters.contract import ranks_of
from diagplan.adapters.parallel_cuts import require_whole
from diagplan.backends.errors import MismatchError
from diagplan.backends.given import on_host
from diagplan.backends.prepared import embeddings_of
from diagplan.backends.replay import Prepared, State
from diagplan.backends.speculative_prepared import PreparedSpeculation
from diagplan.planner.errors import DocumentError
from diagplan.schemas.atomic import write_atomically
from diagplan.schemas.convert import plan_digest

__all__ = ["digest_of", "identity", "load_checkpoint", "read_state", "require_same", "save_checkpoint"]

_FORMAT = "diagplan-checkpoint-4"

Ids = NDArray[np.int64]


def identity(prepared: Prepared | PreparedSpeculation, given: Ids, lead: Any, form: str = _FORMAT) -> dict[str, Any]:
    """What must agree between the run that wrote a checkpoint and the run that resumes it.

    Args:
        prepared: the run.
        form: the name of the file's format.
        given: ids of the given slots, int64 [rows, G].
        lead: embeddings of a state, or ``None``.

    Raises:
        SpecError: a model that is spread over ranks, of whose cache this process holds a part.
    """
    require_whole(ranks_of(prepared.model), "a checkpoint")
    embeddings = [] if lead is None else [np.asarray(prepared.runtime.numpy(prepared.runtime.float32(lead)))]
    sampler, mix = prepared.sampler, prepared.mix
    return {
        "format": form,
        "plan": plan_digest(prepared.plan),
        "model": prepared.model.fingerprint(),
        "dtype": str(prepared.model.dtype).removeprefix("torch."),
        "sampler": {"name": type(sampler).__name__, **asdict(sampler)},
        "seed": list(prepared.seed) if isinstance(prepared.seed, tuple) else prepared.seed,
        "batch": prepared.batch,
        "samples": prepared.samples.tolist(),
        "guidance": list(mix.guidance) if isinstance(mix.guidance, tuple) else mix.guidance,
        "guided_steps": None if mix.steps == (0, None) else list(mix.steps),
        "pad": None if prepared.pad is None else prepared.pad.tolist(),
        "static": getattr(prepared, "static", None),
        "given": digest_of([given, *embeddings]),
    }


def digest_of(arrays: Sequence[NDArray[Any]]) -> str:
    """A hash over arrays: kinds, shapes and every byte."""
    whole = hashlib.sha256()
    for array in arrays:
        whole.update(f"{array.dtype.str}{array.shape}".encode())
        whole.update(np.ascontiguousarray(array).view(np.uint8).data if array.size else b"")
    return whole.hexdigest()


def save_checkpoint(prepared: Prepared, state: State, path: str | Path) -> None:
    """Write the state after a complete step as safetensors: tokens, the used part of the cache, and what it belongs to.

    Raises:
        DocumentError: the file cannot be written.
    """
    from safetensors.numpy import save

    done = prepared.passes[state.done - 1]
    assert done.last
    tokens, cache = prepared.runtime.numpy(state.tokens), state.cache.read(done.mask.shape[1])
    about = {
        **identity(prepared, tokens[:, prepared.given_slots], state.lead),
        "step": done.step,
        "contents": digest_of([np.array(done.step), tokens, *cache]),
    }
    arrays = {"tokens": tokens, **{f"cache.{i}": array for i, array in enumerate(cache)}}
    write_atomically(path, save(arrays, metadata={"diagplan": json.dumps(about)}))


def load_checkpoint(prepared: Prepared, path: str | Path, given: Ids, lead: Any = None) -> State:
    """The state that a checkpoint of the same plan, model, given ids, seed, samples and sampler holds.

    Args:
        prepared: the run that goes on.
        path: of the checkpoint.
        given: ids of the given slots, int [rows, G], as for ``new_state``.
        lead: embeddings, as for ``new_state``.

    Raises:
        DocumentError: the file is not a readable checkpoint.
        MismatchError: it belongs to another run; the message says which part differs.
    """
    about, tensors = read_state(path, _FORMAT)
    embedded = None if lead is None else embeddings_of(prepared, lead)
    require_same(about, identity(prepared, on_host(given).astype(np.int64), embedded))
    step = about.get("step")
    done = sum(p.step <= step for p in prepared.passes) if type(step) is int else 0
    tokens = tensors.pop("tokens", np.zeros(0))
    cache = prepared.model.new_cache(prepared.rows, prepared.cache_slots)
    good = done and tokens.shape == (prepared.rows, prepared.plan.positions + 1) and tokens.dtype == np.int64
    empty = cache.read(prepared.passes[done - 1].mask.shape[1])
    if not good or {name: (a.shape, a.dtype) for name, a in tensors.items()} != {
        f"cache.{i}": (a.shape, a.dtype) for i, a in enumerate(empty)
    }:
        raise DocumentError(f"expected tokens and a cache of this plan's shape in {path}, got others. Start anew.")
    held = [tensors[f"cache.{i}"] for i in range(len(empty))]
    if about.get("contents") != digest_of([np.array(prepared.passes[done - 1].step), tokens, *held]):
        raise DocumentError(f"expected the contents that were written to {path}, got others. The file was damaged.")
    cache.write(held)
    return State(tokens=prepared.runtime.put(tokens), cache=cache, lead=embedded, done=done)


def read_state(path: str | Path, form: str) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
    """What a checkpoint of a format says of itself, and its arrays.

    Raises:
        DocumentError: the file is not a readable checkpoint.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(str(path), framework="np") as file:
            about = json.loads((file.metadata() or {}).get("diagplan", "null"))
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a dict
    except (OSError, SafetensorError, ValueError, RecursionError) as error:
        raise DocumentError(
            f"expected a checkpoint in {path}, got a file that cannot be read: {str(error)[:200]}."
        ) from None
    if not isinstance(about, dict) or about.get("format") != form:
        raise DocumentError(f"expected a checkpoint in {path}, got a safetensors file of another kind.")
    return about, tensors


def require_same(about: dict[str, Any], identity: dict[str, Any]) -> None:
    """Raise ``MismatchError`` where a checkpoint belongs to another run; the message says which part differs."""
    for name, expected in identity.items():
        if about.get(name) != expected:
            raise MismatchError(
                f"expected a checkpoint with {name}={expected}, got {name}={str(about.get(name))[:200]}. "
                "Resume with the plan, model, given ids, sampler, seed and samples of the run that wrote it."
            )
