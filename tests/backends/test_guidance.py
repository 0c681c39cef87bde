"""Guidance: scales, weights, the steps in which it holds, and what is refused."""

import re
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from diagplan import Diagonal, Layout, MismatchError, SpecError, compile_plan  # noqa: E402
from diagplan.backends.guidance import Guided, branches_of, require_guidance  # noqa: E402
from diagplan.backends.replay import new_state, prepare, replay  # noqa: E402
from diagplan.backends.runtime import NumpyRuntime  # noqa: E402
from diagplan.backends.torch_eager import TorchRuntime  # noqa: E402
from tests.support.families import MODELS  # noqa: E402

LAYOUT = Layout(frames=1, rows=3, cols=4, lead=2)
PLAN = compile_plan(LAYOUT, Diagonal(k=1))
IDS = np.array([[3, 4], [3, 5]])
#: Two rows, two feeds, two ids.
LOGITS = np.array([[[1.0, 4.0], [0.0, 2.0]], [[3.0, 2.0], [1.0, 1.0]]], dtype=np.float32)


def test_branches() -> None:
    assert [branches_of(guidance) for guidance in (None, 2.0, (1.0, 0.0, 0.0))] == [1, 2, 3]
    assert require_guidance([2, -1]) == (2.0, -1.0)


@pytest.mark.parametrize("as_torch", [False, True])
def test_steps_without_guidance_take_the_conditional_logits(as_torch: bool) -> None:
    runtime: Any = TorchRuntime(torch.device("cpu")) if as_torch else NumpyRuntime()
    put = runtime.put
    mix = Guided.of(1, 3.0, (2, 5))
    mixed, conditional = LOGITS[1:] + 3 * (LOGITS[:1] - LOGITS[1:]), LOGITS[:1]
    for step, expected in ((1, conditional), (2, mixed), (4, mixed), (5, conditional)):
        np.testing.assert_array_equal(runtime.numpy(mix.logits(put(LOGITS), step, runtime)), expected)
    of_each = runtime.numpy(mix.logits(put(LOGITS), put(np.array([1, 4])), runtime))
    np.testing.assert_array_equal(of_each, np.stack([conditional[:, 0], mixed[:, 1]], axis=1))
    always = Guided.of(1, 3.0, None)
    np.testing.assert_array_equal(runtime.numpy(always.logits(put(LOGITS), put(np.array([0, 9])), runtime)), mixed)
    assert (Guided.of(1, 3.0, (2, None)).steps, Guided(batch=2).rows, mix.rows) == ((2, None), 2, 2)


@pytest.mark.parametrize("static", [False, True])
def test_a_replay_guided_for_some_steps(static: bool) -> None:
    model = MODELS["mc-ar"](torch.float64)

    def tokens(**options: Any) -> Any:
        prepared = prepare(PLAN, model, static=static, **options)
        return replay(prepared, new_state(prepared, IDS[: prepared.rows])).tokens

    alone, guided = tokens(), tokens(guidance=6.0)
    assert not np.array_equal(alone, guided)
    np.testing.assert_array_equal(tokens(guidance=6.0, guided_steps=(0, PLAN.steps)), guided)
    np.testing.assert_array_equal(tokens(guidance=6.0, guided_steps=(0, 0)), alone)
    np.testing.assert_array_equal(tokens(guidance=6.0, guided_steps=(PLAN.steps, None)), alone)
    half = tokens(guidance=6.0, guided_steps=(0, PLAN.steps // 2))
    early = PLAN.target[(PLAN.feed_steps() < PLAN.steps // 2) & (PLAN.target >= 0)]
    cells = LAYOUT.cell_slots()
    np.testing.assert_array_equal(half[0][np.isin(cells, early)], guided[0][np.isin(cells, early)])
    assert not np.array_equal(half, guided)


@pytest.mark.parametrize(
    ("guidance", "steps", "error", "message"),
    [
        (None, (0, 3), MismatchError, "expected guidance with guided_steps, got none"),
        (2.0, 3, SpecError, "expected guided_steps to be"),
        (2.0, (3,), SpecError, "expected two numbers for guided_steps, first and end, got 1."),
        (2.0, (3, 2), SpecError, "expected guided_steps >= 3"),
        (2.0, (-1, 2), SpecError, "expected guided_steps >= 0"),
        (float("nan"), None, SpecError, "expected guidance to be a finite number"),
        ((1.0,), None, SpecError, "expected the weights of two branches or more for guidance, got 1"),
    ],
)
def test_what_is_refused(guidance: Any, steps: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=re.escape(message)):
        Guided.of(1, guidance, steps)
