"""ONNX Runtime gives PyTorch's logits and tokens; caches are written in place."""

from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
onnx = pytest.importorskip("onnx")

from diagplan import Diagonal, compile_plan  # noqa: E402
from diagplan.backends.onnx_runtime import OnnxModel  # noqa: E402
from diagplan.backends.replay import new_state, prepare, replay  # noqa: E402
from diagplan.backends.sampling import Sample  # noqa: E402
from tests.support.exported import exported_folder, exported_model, one_pass  # noqa: E402
from tests.support.mc_ar import golden_model  # noqa: E402
from tests.support.mineworld import DATA, GIVEN, LAYOUT, META, golden_plan  # noqa: E402

PLAN = compile_plan(LAYOUT, Diagonal(k=2))


@pytest.mark.parametrize("name", META["cases"])
def test_golden_tokens(name: str) -> None:
    case: dict[str, Any] = META["cases"][name]
    prepared = prepare(golden_plan(case), exported_model())
    tokens = replay(prepared, new_state(prepared, GIVEN[None])).tokens
    np.testing.assert_array_equal(tokens.ravel(), DATA[f"tokens/{name}"].ravel())


@pytest.mark.parametrize("opset", [23, 24])
def test_golden_logits(opset: int) -> None:
    model = exported_model(opset=opset)
    ids = DATA["causal/input_ids"][None]
    logits = one_pass(model, ids, model.new_cache(1, ids.shape[1]))
    np.testing.assert_allclose(logits[0], DATA["causal/logits"], atol=1e-4)


def test_the_reference_evaluator_agrees() -> None:
    """onnx's own implementation of the operators, in plain NumPy."""
    from onnx.reference import ReferenceEvaluator

    model = exported_model()
    ids = DATA["causal/input_ids"][None, :12]
    slots = np.arange(12)
    pasts = {
        f"past_{i}": np.zeros((1, heads, 12, width), np.float32) for i, (heads, width) in enumerate(model.cache_shapes)
    }
    shared = {"position": slots, "slot": slots, "mask": slots <= slots[:, None]}
    feeds = {"ids": ids, "rows": slots, **{name: array[None] for name, array in shared.items()}}
    loaded = onnx.load(exported_folder() / "model.onnx")
    results: Any = ReferenceEvaluator(loaded).run(None, feeds | pasts)
    logits, *presents = results
    cache = model.new_cache(1, 12)
    np.testing.assert_allclose(logits, one_pass(model, ids, cache), atol=1e-4)
    for ours, theirs in zip(cache.read(12), presents, strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-5)


def test_buffers_may_be_tensors() -> None:
    """As on CUDA, where they must be."""
    model = exported_model()
    twin = OnnxModel(model.session, model.document, "", tensors=True)
    ids = np.repeat(GIVEN[None], 2, axis=0)
    tokens = []
    for one in (model, twin):
        prepared = prepare(PLAN, one, sampler=Sample(), seed=1, batch=2)
        tokens.append(replay(prepared, new_state(prepared, ids)).tokens)
    np.testing.assert_array_equal(tokens[0], tokens[1])


def test_a_pass_without_targets_asks_for_one_row() -> None:
    model = exported_model()
    ids = DATA["causal/input_ids"][None, :4]
    none = one_pass(model, ids, model.new_cache(1, 4), rows=np.zeros(0, np.int64))
    assert none.shape == (1, 0, model.vocab_size)
    some = one_pass(model, ids, model.new_cache(1, 4), rows=np.array([3, 1]))
    whole = one_pass(model, ids, model.new_cache(1, 4)).copy()
    np.testing.assert_allclose(some, whole[:, [3, 1]], atol=1e-5)
    cache = model.new_cache(1, 4)
    one_pass(model, ids, cache, rows=np.array([3, 2, 1, 0]))
    np.testing.assert_allclose(one_pass(model, ids, cache), whole, atol=1e-5)


def test_half_precision_runs_on_the_cpu() -> None:
    half, exact = exported_model("float16"), golden_model()
    ids = DATA["causal/input_ids"][None, :20]
    logits = one_pass(half, ids, half.new_cache(1, 20))
    assert logits.dtype == np.float16
    np.testing.assert_allclose(logits, one_pass(exact, ids, exact.new_cache(1, 20)), atol=0.05)
