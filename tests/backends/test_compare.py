"""Two runtimes in lockstep: the same tokens, and what is said of another model."""

from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
onnx = pytest.importorskip("onnx")

from diagplan import Diagonal, compile_plan  # noqa: E402
from diagplan.adapters.norms import RmsNorm  # noqa: E402
from diagplan.backends.compare import compare  # noqa: E402
from diagplan.backends.replay import forward, new_state, prepare, replay  # noqa: E402
from diagplan.backends.sampling import Greedy, Sample  # noqa: E402
from tests.support.exported import exported_model  # noqa: E402
from tests.support.mc_ar import golden_model  # noqa: E402
from tests.support.mineworld import GIVEN, LAYOUT, META  # noqa: E402

PLAN = compile_plan(LAYOUT, Diagonal(k=2))


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
    other.norm = RmsNorm(1.5 * other.norm.weight, other.norm.eps)
    one, two = (prepare(PLAN, m, sampler=Sample(temperature=2.0)) for m in (other, exported_model()))
    found = compare(one, two, GIVEN[None])
    assert found.logits > 0.1
    assert found.different > 0
    assert found.earliest is not None
    first = found.earliest
    assert first.first != first.second
    assert 0 <= first.row < LAYOUT.rows
    assert 0 <= first.col < LAYOUT.cols


@pytest.mark.parametrize("guidance", [None, 3.0])
def test_the_first_difference_is_told_cell_and_margin(guidance: float | None) -> None:
    """Two torch models, replayed apart: the cell of the first difference, and by how much it was decided."""
    other = golden_model()
    other.norm = RmsNorm(1.5 * other.norm.weight, other.norm.eps)
    batch = 2
    ids = np.repeat(GIVEN[None], batch if guidance is None else 2 * batch, axis=0)
    options: dict[str, Any] = {"sampler": Sample(temperature=2.0), "seed": 1, "batch": batch, "guidance": guidance}
    one, two = (prepare(PLAN, model, **options) for model in (golden_model(), other))
    steps: list[int] = []
    found = compare(one, two, ids, on_step=steps.append)
    assert steps == list(range(PLAN.steps))
    assert found.tokens == batch * LAYOUT.tokens
    apart = [replay(prepared, new_state(prepared, ids)).tokens for prepared in (one, two)]
    first = found.earliest
    assert first is not None
    chosen = int(PLAN.feed_steps()[PLAN.target == LAYOUT.cell_slots()[first.frame, first.row, first.col]][0])
    assert first.step == chosen
    # Before the first difference both go the same way, so their own replays differ first there too.
    own = [int(tokens[first.sample, first.frame, first.row, first.col]) for tokens in apart]
    assert own == [first.first, first.second]
    steps_of = np.zeros(PLAN.positions, np.int64)
    steps_of[PLAN.target[PLAN.target >= 0]] = PLAN.feed_steps()[PLAN.target >= 0]
    earlier = steps_of[LAYOUT.cell_slots()] < first.step
    np.testing.assert_array_equal(apart[0][:, earlier], apart[1][:, earlier])
    # In lockstep both are fed alike, so that they differ in fewer tokens than apart.
    assert found.different < (apart[0] != apart[1]).sum()


def test_the_margin_is_the_first_ones_logits() -> None:
    """A head that is turned around chooses last what the other chooses first."""
    model, other = golden_model(), golden_model()
    other.norm = RmsNorm(-other.norm.weight, other.norm.eps)
    one, two = (prepare(PLAN, m) for m in (model, other))
    first = compare(one, two, GIVEN[None]).earliest
    assert first is not None
    state = new_state(one, GIVEN[None])
    with torch.inference_mode():
        results = ((p, forward(one, state, p)) for p in one.passes)
        p, logits = next((p, logits) for p, logits in results if logits is not None)
    assert (first.step, first.sample) == (p.step, 0)
    at = p.target.tolist().index(int(LAYOUT.cell_slots()[first.frame, first.row, first.col]))
    row = logits[0, at, : META["image_vocab"]]
    assert first.first == int(row.argmax())
    assert first.second == int(row.argmin())
    assert first.margin == pytest.approx(float(row.max() - row.min()))


def test_a_model_beside_itself() -> None:
    one, two = (prepare(PLAN, golden_model(), seed=1) for _ in range(2))
    assert compare(one, two, GIVEN[None]) == (LAYOUT.tokens, 0, 0.0, None)
