"""What is made of the traced graph: caches written in place, products in int8."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
onnx = pytest.importorskip("onnx")

from diagplan.backends.onnx_export import export_model  # noqa: E402
from diagplan.backends.onnx_runtime import GRAPH  # noqa: E402
from diagplan.planner.errors import SpecError  # noqa: E402
from tests.support.exported import exported_model, one_pass  # noqa: E402
from tests.support.mc_ar import golden_model  # noqa: E402
from tests.support.mineworld import DATA  # noqa: E402


@pytest.mark.slow
def test_an_adapter_that_reads_its_cache_before_it_writes(tmp_path: Path) -> None:
    class Late(type(golden_model())):  # type: ignore[misc]
        def forward(self, ids: Any, position: Any, slot: Any, mask: Any, cache: Any, rows: Any = None) -> Any:
            before = cache.layer(0)[0].sum()
            return super().forward(ids, position, slot, mask, cache, rows) + before

    model = golden_model(portable=True)
    model.__class__ = Late
    with pytest.raises(SpecError, match="expected the adapter to write past_0 once, with index_copy_"):
        export_model(model, tmp_path / GRAPH, config={})


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
