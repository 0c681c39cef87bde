"""A speculative replay's state on disk: what is accepted, what is guessed, and the rows of accepted entries.

Windows and drafts are no part of what must agree: a replay may go on with others, and its tokens stay the same.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from diagplan.backends.checkpoint import digest_of, identity, read_state, require_same
from diagplan.backends.given import on_host
from diagplan.backends.speculative_prepared import PreparedSpeculation, SpeculativeState, new_state
from diagplan.planner.errors import DocumentError
from diagplan.schemas.atomic import write_atomically

__all__ = ["load_speculation", "save_speculation"]

_FORMAT = "diagplan-speculation-1"

Ids = NDArray[np.int64]


def save_speculation(prepared: PreparedSpeculation, state: SpeculativeState, path: str | Path) -> None:
    """Write the state between two passes as safetensors.

    Raises:
        DocumentError: the file cannot be written.
    """
    from safetensors.numpy import save

    tokens = prepared.runtime.numpy(state.tokens)
    arrays = {"tokens": tokens, "accepted": state.accepted, "fed": state.fed}
    cache = state.cache.read(prepared.columns.zeros + int(state.accepted.max()))
    arrays |= {f"cache.{i}": array for i, array in enumerate(cache)}
    about = {
        **identity(prepared, tokens[:, prepared.given_slots], state.lead, _FORMAT),
        "passes": state.passes,
        "contents": digest_of(list(arrays.values())),
    }
    write_atomically(path, save(arrays, metadata={"diagplan": json.dumps(about)}))


def load_speculation(prepared: PreparedSpeculation, path: str | Path, given: Ids, lead: Any = None) -> SpeculativeState:
    """The state that a checkpoint of the same plan, model, given ids, seed, samples and sampler holds.

    Args:
        prepared: the run that goes on.
        path: of the checkpoint.
        given: as for ``new_state``.
        lead: likewise.

    Raises:
        DocumentError: the file is not a readable checkpoint.
        MismatchError: it belongs to another run; the message says which part differs.
    """
    about, tensors = read_state(path, _FORMAT)
    state = new_state(prepared, given, lead)
    require_same(about, identity(prepared, on_host(given).astype(np.int64), state.lead, _FORMAT))
    count = prepared.entries.entries
    tokens, accepted, fed = (tensors.get(name, np.zeros(0)) for name in ("tokens", "accepted", "fed"))
    whole = all(column.dtype == np.int64 for column in (tokens, accepted, fed))
    good = whole and tokens.shape == tuple(state.tokens.shape)
    good = good and accepted.shape == fed.shape and accepted.shape in {(1,), (prepared.batch,)}
    if not good or not (0 < accepted.min() <= accepted.max() <= count and 0 <= fed.min() <= fed.max() <= count):
        raise DocumentError(f"expected tokens and entries of this plan's shape in {path}, got others. Start anew.")
    empty = state.cache.read(prepared.columns.zeros + int(accepted.max()))
    held = [tensors.get(f"cache.{i}", np.zeros(0)) for i in range(len(empty))]
    if [(a.shape, a.dtype) for a in held] != [(a.shape, a.dtype) for a in empty]:
        raise DocumentError(f"expected a cache of this plan's shape in {path}, got another. Start anew.")
    if about.get("contents") != digest_of([tokens, accepted, fed, *held]):
        raise DocumentError(f"expected the contents that were written to {path}, got others. The file was damaged.")
    state.cache.write(held)
    state.tokens = prepared.runtime.put(tokens)
    groups = len(state.accepted)
    state.accepted = _of_groups(accepted, groups)
    state.fed = np.maximum(_of_groups(fed, groups), state.accepted)
    return state


def _of_groups(column: Ids, groups: int) -> Ids:
    """Entries of samples that advance on their own, or wait for each other, for those that do otherwise now."""
    if len(column) == groups:
        return column.copy()
    return column.min(keepdims=True) if groups == 1 else np.repeat(column, groups)
