"""The probe: equal bits are found to be equal, others are told with their size."""

from typing import Any

import pytest

torch = pytest.importorskip("torch")

from diagplan import Layout, NextToken, compile_plan, compile_rollout  # noqa: E402
from diagplan.adapters.mc_ar import McAr, McArConfig  # noqa: E402
from diagplan.backends.promise import Promise, probed_promise, promise_of  # noqa: E402
from diagplan.backends.speculative import prepare  # noqa: E402
from diagplan.planner.speculation import Speculation  # noqa: E402
from tests.support.hash_model import NumpyHashModel  # noqa: E402

PLAN = compile_plan(Layout(frames=2, rows=3, cols=4, prompt_frames=1, between_frames=2), NextToken())
CONFIG = McArConfig(
    hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2,
    vocab_size=40, max_position_embeddings=64,
)  # fmt: skip


class Off(McAr):
    """Its logits are off by a little in passes of one width."""

    width = 0

    def forward(self, ids: Any, *others: Any) -> Any:
        logits = super().forward(ids, *others)
        return logits + 1e-4 if ids.shape[1] == self.width else logits


def probed(width: int) -> Promise:
    model = Off.random(CONFIG)
    model.width = width
    return probed_promise(prepare(PLAN, model, Speculation(window=24)))


def test_whole_numbers_have_no_other_bits() -> None:
    class Whole(NumpyHashModel):
        def new_cache(self, batch: int, slots: int) -> Any:
            return _Kept(super().new_cache(batch, slots))

        def forward(self, ids: Any, position: Any, slot: Any, mask: Any, cache: Any, rows: Any = None) -> Any:
            return super().forward(ids, position, slot, mask, cache.held, rows)

    promise = probed_promise(prepare(PLAN, Whole(), Speculation(window=24)))
    assert promise.grade == "bit-exact"
    assert str(promise) == "bit-exact: the logits of 4 probed entries have the bits of replay step by step"
    assert promise.shapes == ((24, 512),)


class _Kept:
    """The whole numbers of a cache, read and written as the contract asks."""

    def __init__(self, held: Any) -> None:
        self.held = held

    def read(self, slots: int) -> list[Any]:
        return [layer[:, None, :slots, None].astype("float32") for layer in self.held]

    def write(self, arrays: list[Any]) -> None:
        for layer, array in zip(self.held, arrays, strict=True):
            layer[:, : array.shape[2]] = (1000 * array[:, 0, :, 0]).astype("int64")


def test_bits_that_differ_are_told() -> None:
    found = probed(24)
    assert found.grade == "exact up to near-ties"
    assert found.padded == pytest.approx(1e-4, rel=0.2)
    assert "exact up to near-ties: logits differ from those of replay step by step by" in str(found)
    only_plain = probed(1)
    assert only_plain.step_by_step == pytest.approx(1e-4, rel=0.2)
    if only_plain.padded == 0:  # on this machine passes of 8 and of 24 feeds have the same bits
        assert only_plain.grade == "bit-exact among padded passes"


def test_every_width_in_use_is_probed() -> None:
    model = Off.random(CONFIG)
    promise = probed_promise(prepare(PLAN, model, Speculation(window=32, adaptive=True)))
    assert {feeds for feeds, _ in promise.shapes} == {1, 8, 16, 32}
    assert promise.places >= 4 * 3


def test_of_windows_that_slide_the_least_holds() -> None:
    """A shorter window, whose passes have the width that is off, is not hidden by the others."""
    model = Off.random(CONFIG)
    how = Speculation(window=32)
    alone = promise_of(PLAN, model, how, feeds=[32])
    assert alone == probed_promise(prepare(PLAN, model, how), [32])
    layout = Layout(frames=2, rows=2, cols=4, prompt_frames=1, between_frames=2)
    rollout = compile_rollout(layout, NextToken(), frames=3)
    shapes = [probed_promise(prepare(plan, model, how)).shapes for plan in rollout.plans]
    (longer, shorter) = ({feeds for feeds, _ in one} for one in shapes)
    (model.width,) = shorter - longer
    one = promise_of(rollout, model, how)
    assert one == probed_promise(prepare(rollout.plans[1], model, how))
    assert one.step_by_step == pytest.approx(1e-4, rel=0.2)
