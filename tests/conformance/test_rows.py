"""Rows of a batch that differ, over every adapter and every backend: pads, and embeddings in the place of ids."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from diagplan import Diagonal, compile_plan  # noqa: E402
from diagplan.adapters.contract import is_ragged, lead_width_of  # noqa: E402
from diagplan.backends import replay as executor  # noqa: E402
from diagplan.backends.errors import MismatchError  # noqa: E402
from diagplan.backends.sampling import Sample  # noqa: E402
from tests.support.conformance import BACKENDS, EOL, LAYOUT, MODELS, any_dtype, ids_for  # noqa: E402

#: An export takes seconds: one model of each kind of positions.
EXPORTED = ("mc-ar-1d", "example", "placed")
PAIRS = [(name, backend) for name in MODELS for backend in BACKENDS if backend != "onnx" or name in EXPORTED]
pytestmark = pytest.mark.parametrize(("model_name", "backend"), PAIRS)


def test_a_padded_sample_gets_the_tokens_it_gets_alone(model_name: str, backend: str) -> None:
    model: Any = MODELS[model_name](any_dtype(model_name, backend))
    prepare, sampler = BACKENDS[backend].prepare, Sample(temperature=2.0)
    grid = model.grid is not None
    layout = replace(LAYOUT, prompt_frames=2, between_frames=2) if grid else replace(EOL, lead=6)
    if model_name.startswith("cosmos"):  # its own grid has no actions between frames
        layout = replace(layout, between_frames=0)
    pads = [layout.frame_stride, 0] if grid else [4, 0, 1]
    plan = compile_plan(layout, Diagonal(k=2))
    ids = ids_for(plan, model, batch=len(pads), seed=7)
    if not is_ragged(model) or (grid and layout.lead):
        with pytest.raises(MismatchError, match="expected a model whose samples may differ"):
            prepare(plan, model, batch=len(pads), pad=pads)
        return
    prepared = prepare(plan, model, batch=len(pads), pad=pads, sampler=sampler, seed=5)
    tokens = executor.replay(prepared, executor.new_state(prepared, ids)).tokens
    for number, pad in enumerate(pads):
        shorter = (
            replace(layout, prompt_frames=layout.prompt_frames - (pad > 0)) if grid else replace(EOL, lead=6 - pad)
        )
        alone = prepare(compile_plan(shorter, Diagonal(k=2)), model, samples=[number], sampler=sampler, seed=5)
        own = executor.replay(alone, executor.new_state(alone, ids[number : number + 1, pad:])).tokens
        np.testing.assert_array_equal(tokens[number], own[0])


def test_embeddings_stand_in_the_place_of_ids(model_name: str, backend: str) -> None:
    model: Any = MODELS[model_name](any_dtype(model_name, backend))
    prepare, plan = BACKENDS[backend].prepare, compile_plan(EOL, Diagonal(k=1))
    ids = ids_for(plan, model, batch=2, seed=2)
    prepared = prepare(plan, model, batch=2)
    if lead_width_of(model) is None:
        with pytest.raises(MismatchError, match="expected ids alone for a"):
            executor.new_state(prepared, ids, np.zeros((2, 1, 6), np.float32))
        return
    if model_name != "placed":
        pytest.skip("tests/adapters/test_transformers.py feeds these their own embeddings")
    lead = np.random.default_rng(0).standard_normal((2, 2, 6)).astype(np.float32)
    ids[:, :3] = [38, 39, 5], [39, 38, 5]
    fed = ids.copy()
    fed[:, :2] = [-1, -2], [-2, -1]
    tokens = executor.replay(prepared, executor.new_state(prepared, fed, lead[:1].repeat(2, 0))).tokens
    placed = torch.from_numpy(lead[0]).to(model.dtype) @ model.weights["lead"].T
    model.weights["token"] = torch.cat([model.weights["token"][:38], placed])
    plain = executor.prepare(plan, model, batch=2)
    np.testing.assert_array_equal(tokens, executor.replay(plain, executor.new_state(plain, ids)).tokens)
    assert not np.array_equal(executor.replay(prepared, executor.new_state(prepared, fed, lead)).tokens, tokens)
