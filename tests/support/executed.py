"""A plan taken through every executor: what each makes of the same given ids."""

import numpy as np
import torch
from numpy.typing import NDArray

from diagplan import Greedy, Plan
from diagplan.adapters.contract import Model
from diagplan.backends import replay as executor
from diagplan.backends.reference import reference_replay
from diagplan.schemas.files import plan_to_json
from tests.support import replayer

__all__ = ["given_ids", "interpreted", "reference", "replayed"]

Ids = NDArray[np.int64]


def given_ids(plan: Plan, model: Model, seed: int = 0) -> Ids:
    """Random ids for the given slots, int64 [1, G]."""
    count = int(np.diff(plan.given, axis=1).sum())
    return np.random.default_rng(seed).integers(0, model.vocab_size, (1, count))


def reference(plan: Plan, model: Model) -> Ids:
    """The ids of all slots by the reference executor, int64 [positions]."""
    ids = torch.from_numpy(given_ids(plan, model))
    tokens: Ids = reference_replay(plan, model, ids, Greedy(), [0], [0])[0][0].numpy()
    return tokens


def replayed(plan: Plan, model: Model, chunk: int, *, static: bool) -> Ids:
    """By the executor of the model's runtime."""
    prepared = executor.prepare(plan, model, chunk=chunk, static=static)
    state = executor.new_state(prepared, given_ids(plan, model))
    executor.replay(prepared, state)
    tokens: Ids = np.asarray(state.tokens)[0, : plan.positions]
    return tokens


def interpreted(plan: Plan, model: Model) -> Ids:
    """By the document alone: its steps, one pass each, its rows as they stand there. The model is of torch."""
    text = plan_to_json(plan)
    cache = model.new_cache(1, plan.cache_slots)

    def forward(ids: Ids, position: Ids, slot: Ids, mask: NDArray[np.bool_]) -> NDArray[np.float64]:
        inputs = [torch.from_numpy(np.ascontiguousarray(array)) for array in (ids[None], position, slot, mask)]
        with torch.inference_mode():
            logits: NDArray[np.float64] = model.forward(inputs[0], inputs[1], inputs[2], inputs[3], cache)[0].numpy()
        return logits

    return replayer.replay(text, given_ids(plan, model)[0], forward)[0]
