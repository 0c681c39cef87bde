"""ONNX Runtime gives PyTorch's logits and tokens; caches are written in place."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

torch = pytest.importorskip("torch")
onnx = pytest.importorskip("onnx")

from diagplan import Diagonal, compile_plan  # noqa: E402
from diagplan.backends.compare import compare  # noqa: E402
from diagplan.backends.onnx_runtime import OnnxModel  # noqa: E402
from diagplan.backends.replay import new_state, prepare, replay  # noqa: E402
from diagplan.backends.sampling import Greedy, Sample  # noqa: E402
from tests.support.exported import exported_folder, exported_model  # noqa: E402
from tests.support.mc_ar import golden_model  # noqa: E402
from tests.support.mineworld import DATA, GIVEN, LAYOUT, META, golden_plan  # noqa: E402

PLAN = compile_plan(LAYOUT, Diagonal(k=2))


def one_pass(model: Any, ids: Any, cache: Any, *, at: int = 0, rows: Any = None) -> Any:
    """Logits of a causal pass of all ids from slot ``at`` on, for models of both runtimes."""
    n = ids.shape[1]
    slots = np.arange(at, at + n)
    mask = np.arange(at + n) <= slots[:, None]
    if isinstance(model, OnnxModel):
        return model.forward(ids, slots, slots, mask, cache, rows)
    tensors = [torch.from_numpy(array) for array in (ids, slots, slots, mask)]
    with torch.inference_mode():
        return model.forward(*tensors, cache, None if rows is None else torch.from_numpy(rows)).numpy()


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


@pytest.mark.parametrize("sampler", [Greedy(), Sample(temperature=1.2), Sample(top_p=0.9)], ids=repr)
def test_both_runtimes_in_lockstep(sampler: Any) -> None:
    given_ids = np.repeat(GIVEN[None], 3, axis=0)
    one, two = (prepare(PLAN, m, sampler=sampler, seed=3, batch=3) for m in (golden_model(), exported_model()))
    found = compare(one, two, given_ids)
    assert found.tokens == 3 * LAYOUT.tokens
    assert found.logits < 1e-4
    # Nothing in this case is decided by less than the runtimes' rounding, so every token is the same.
    assert (found.different, found.earliest) == (0, None)


def test_compare_sees_another_model() -> None:
    other = golden_model()
    other.norm = other.norm * 1.5
    one, two = (prepare(PLAN, m, sampler=Sample(temperature=2.0)) for m in (other, exported_model()))
    found = compare(one, two, GIVEN[None])
    assert found.logits > 0.1
    assert found.different > 0
    assert found.earliest is not None
    first = found.earliest
    assert first.first != first.second
    assert 0 <= first.row < LAYOUT.rows
    assert 0 <= first.col < LAYOUT.cols


def test_the_reference_evaluator_agrees() -> None:
    """onnx's own implementation of the operators, in plain NumPy."""
    from onnx.reference import ReferenceEvaluator

    model = exported_model()
    ids = DATA["causal/input_ids"][None, :12]
    slots = np.arange(12)
    pasts = {
        f"past_{i}": np.zeros((1, heads, 12, width), np.float32) for i, (heads, width) in enumerate(model.cache_shapes)
    }
    feeds = {"ids": ids, "position": slots, "slot": slots, "mask": slots <= slots[:, None], "rows": slots}
    loaded = onnx.load(exported_folder() / "model.onnx")
    results: Any = ReferenceEvaluator(loaded).run(None, feeds | pasts)
    logits, *presents = results
    cache = model.new_cache(1, 12)
    np.testing.assert_allclose(logits, one_pass(model, ids, cache), atol=1e-4)
    for ours, theirs in zip(cache.read(12), presents, strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-5)


def test_the_cache_is_written_in_place_and_nowhere_else() -> None:
    model, torch_model = exported_model(), golden_model()
    cache = model.new_cache(2, 40)
    cache.stretch(40)
    noise = [np.random.default_rng(i).standard_normal(a.shape).astype(a.dtype) for i, a in enumerate(cache.arrays())]
    cache.write(noise)
    memory = [buffer.ctypes.data for buffer in cache.buffers]
    other = torch_model.new_cache(2, 40)
    other.write(noise)
    ids = np.random.default_rng(0).integers(0, 20, (2, 5))
    for at in (3, 17, 3):
        ours, theirs = one_pass(model, ids, cache, at=at), one_pass(torch_model, ids, other, at=at)
        np.testing.assert_allclose(ours, theirs, atol=1e-4)
    assert [buffer.ctypes.data for buffer in cache.buffers] == memory
    untouched = np.r_[0:3, 8:17, 22:40]
    for ours, theirs, before in zip(cache.read(40), other.read(40), noise, strict=True):
        np.testing.assert_array_equal(ours[:, :, untouched], before[:, :, untouched])
        np.testing.assert_allclose(ours, theirs, atol=1e-5)
        assert (ours[:, :, 3:8] != before[:, :, 3:8]).any()


@settings(max_examples=40, deadline=None)
@given(lengths=st.lists(st.integers(1, 60), min_size=1, max_size=6), batch=st.integers(1, 3), seed=st.integers(0, 99))
def test_a_cache_keeps_what_it_holds_as_it_grows(lengths: list[int], batch: int, seed: int) -> None:
    cache = exported_model().new_cache(batch, 60)
    rng = np.random.default_rng(seed)
    held = [np.zeros((batch, heads, 60, width), np.float32) for heads, width in cache.shapes]
    for length in lengths:
        cache.stretch(length)
        assert cache.length == max(cache.length, length)
        new = [rng.standard_normal((batch, heads, length, width)).astype(np.float32) for heads, width in cache.shapes]
        cache.write(new)
        for whole, part in zip(held, new, strict=True):
            whole[:, :, :length] = part
        for whole, ours in zip(held, cache.read(cache.length), strict=True):
            np.testing.assert_array_equal(ours, whole[:, :, : cache.length])


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


class TestInt8:
    """The arithmetic of ``diagplan.adapters.linear.Int8Linear``."""

    IDS = DATA["causal/input_ids"][None, :20]

    def test_it_is_torchs_int8(self) -> None:
        from diagplan.adapters.linear import require_quantize
        from diagplan.planner.errors import SpecError

        try:
            require_quantize("int8", torch.device("cpu"), torch.float32)
        except SpecError as error:
            pytest.skip(str(error))
        ours, theirs, exact = exported_model(quantize="int8"), golden_model(quantize="int8"), golden_model()
        logits = [one_pass(m, self.IDS, m.new_cache(1, 20)) for m in (ours, theirs, exact)]
        # Float noise moves a code across a rounding border now and then; then that row differs by one code's worth.
        exact_apart = np.abs(logits[0][0] - logits[2][0]).max(axis=-1)
        same = np.abs(logits[0][0] - logits[1][0]).max(axis=-1)
        assert np.mean(same < 1e-4) >= 0.8
        assert same.max() < 0.1
        assert exact_apart.min() > 1e-3

    def test_a_token_does_not_depend_on_what_it_shares_a_pass_with(self) -> None:
        model = exported_model(quantize="int8")
        alone = one_pass(model, self.IDS[:, :1], model.new_cache(1, 4)).copy()
        both = np.concatenate([self.IDS[:, :3], self.IDS[:, 7:10]])
        together = one_pass(model, both, model.new_cache(2, 4))
        np.testing.assert_allclose(together[0, 0], alone[0, 0], atol=1e-5)

    def test_nan_comes_through(self) -> None:
        model = exported_model(quantize="int8")
        cache = model.new_cache(1, 8)
        one_pass(model, self.IDS[:, :4], cache)
        held = cache.read(8)
        for array in held:
            array[..., 0, 3] = np.nan
        cache.write(held)
        assert np.isnan(one_pass(model, self.IDS[:, 4:6], cache, at=4)).all()

    def test_weights_take_a_quarter(self) -> None:
        small, large = exported_model(quantize="int8"), exported_model()
        assert small.weight_bytes() < 0.6 * large.weight_bytes()
        assert small.fingerprint() != large.fingerprint()
