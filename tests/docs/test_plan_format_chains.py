"""docs/plan-format.md is enough to replay a chain: its code gives the reference executor's tokens."""

import json
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

torch = pytest.importorskip("torch")

from diagplan import Greedy, compile_chain  # noqa: E402
from diagplan.backends.reference import reference_chain  # noqa: E402
from diagplan.planner.chain_compiler import chain_of  # noqa: E402
from diagplan.planner.lowering import pad_steps  # noqa: E402
from diagplan.schemas.chain_files import chain_to_json  # noqa: E402
from tests.docs.test_plan_format import page  # noqa: E402
from tests.support.documents import FORMS  # noqa: E402
from tests.support.hash_model import HashModel  # noqa: E402
from tests.support.strategies import chain_requests  # noqa: E402

__all__ = ["page"]


def greedy(row: Any, _: int) -> int:
    return int(row.argmax())


@settings(max_examples=40, deadline=None)
@given(request=chain_requests(), padded=st.booleans(), form=st.sampled_from(FORMS))
def test_the_pages_replay_is_the_reference_executors(
    page: dict[str, Any], request: dict[str, Any], padded: bool, form: Any
) -> None:
    chain, model = compile_chain(**request), HashModel()
    if padded and all(plan.cache_initial == "undefined" for plan in chain.plans):
        chain = chain_of([pad_steps(plan, [3]) for plan in chain.plans])
    document = json.loads(chain_to_json(chain, masks=form))
    slots = max(plan["cache"]["slots"] for plan in document["plans"])
    cache = model.new_cache(1, slots)

    def forward(ids: Sequence[int], position: Any, slot: Any, rows: Any) -> Any:
        mask = np.zeros((len(ids), slots), dtype=bool)
        for row, runs in zip(mask, rows, strict=True):
            for start, end in zip(runs[::2], runs[1::2], strict=True):
                row[start:end] = True
        fed, at, to = (torch.tensor(numbers) for numbers in ([list(ids)], list(position), list(slot)))
        return model.forward(fed, at, to, torch.from_numpy(mask), cache)[0].numpy()

    ids = np.random.default_rng(3).integers(0, 250, len(chain.given_slots()))
    got = page["replay_chain"](document, ids.tolist(), forward, greedy)
    expected = reference_chain(chain, model, torch.from_numpy(ids[None]), Greedy(), [0], [0])
    assert got == expected[0].tolist()
