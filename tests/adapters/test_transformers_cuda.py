"""Models of transformers on CUDA: plans on them, through graphs, give the tokens of plain passes."""

from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

from diagplan import Diagonal, NextToken, compile_plan, wrap  # noqa: E402
from diagplan.backends.replay import new_state, prepare, replay  # noqa: E402
from tests.support import hf_models  # noqa: E402
from tests.support.cuda import needs_cuda  # noqa: E402

pytestmark = needs_cuda


@pytest.mark.parametrize("family", ["janus", "emu3", "chameleon"])
@pytest.mark.parametrize("fast", [False, True])
def test_graphs_give_the_tokens_of_plain_passes(family: str, fast: bool) -> None:
    module: Any = getattr(hf_models, family)().cuda()
    model = wrap(module, fast=fast)
    layout = model.layout(lead=5, rows=5, cols=6)
    for schedule in (NextToken(), Diagonal(k=2)):
        plan = compile_plan(layout, schedule)
        tokens = []
        for static in (False, True):
            prepared = prepare(plan, model, static=static)
            ids = np.random.default_rng(0).integers(6, 40, (1, len(prepared.given_slots)))
            tokens.append(replay(prepared, new_state(prepared, ids)).tokens)
        np.testing.assert_array_equal(tokens[1], tokens[0])
