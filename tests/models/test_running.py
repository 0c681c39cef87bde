"""A whole run in one call, and two runtimes side by side."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from diagplan import Diagonal, LoadOptions, MismatchError, Sample, SpecError, compile_plan, replay, verify_trace  # noqa: E402
from diagplan.adapters.mc_ar import McAr  # noqa: E402
from diagplan.models.running import compare_runtimes, run_plan  # noqa: E402
from diagplan.planner.errors import DocumentError  # noqa: E402
from diagplan.planner.speculation import Speculation  # noqa: E402
from tests.support.checkpoints import write_torch  # noqa: E402
from tests.support.mc_ar import GOLDEN, golden_model  # noqa: E402
from tests.support.mineworld import GIVEN, LAYOUT, WEIGHTS  # noqa: E402

PLAN = compile_plan(LAYOUT, Diagonal(k=2))
OPTIONS = LoadOptions(config=GOLDEN)
IDS = np.stack([GIVEN, GIVEN[::-1]]) % GOLDEN.image_ids


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    tensors = {name: torch.from_numpy(weight) for name, weight in WEIGHTS.items()}
    return write_torch(tensors, tmp_path_factory.mktemp("weights") / "w.ckpt")


def test_a_run_is_load_and_replay(weights: Path) -> None:
    told: list[Any] = []
    steps: list[tuple[int, int]] = []
    done = run_plan(
        PLAN, "mc-ar", weights, IDS, OPTIONS, sampler=Sample(top_p=0.9), seed=5, chunk=7,
        on_memory=told.append, on_step=lambda *step: steps.append(step),
    )  # fmt: skip
    expected = replay(PLAN, golden_model(), given=IDS, sampler=Sample(top_p=0.9), seed=5, chunk=7)
    np.testing.assert_array_equal(done.tokens, expected)
    assert told == [done.memory]
    assert (done.passes, done.chosen) == (PLAN.steps, 2 * LAYOUT.tokens)
    assert steps[-1] == (PLAN.steps, 2 * LAYOUT.tokens)
    assert [step for step, _ in steps] == list(range(1, PLAN.steps + 1))


def test_a_resumed_run_does_the_rest(weights: Path, tmp_path: Path) -> None:
    state = tmp_path / "state.safetensors"
    whole = run_plan(PLAN, "mc-ar", weights, IDS, OPTIONS, checkpoint=state, checkpoint_every=PLAN.steps - 2)
    rest = run_plan(PLAN, "mc-ar", weights, IDS, OPTIONS, resume=state)
    assert rest.passes == 2
    np.testing.assert_array_equal(rest.tokens, whole.tokens)


def test_options_that_go_together(weights: Path) -> None:
    with pytest.raises(SpecError, match="expected checkpoint and checkpoint_every together"):
        run_plan(PLAN, "mc-ar", weights, IDS, OPTIONS, checkpoint=Path("x.safetensors"))
    with pytest.raises(MismatchError, match="expected guidance and unconditional ids together"):
        run_plan(PLAN, "mc-ar", weights, IDS, OPTIONS, guidance=2.0)


def test_one_model_twice_is_the_same() -> None:
    steps: list[None] = []
    done = compare_runtimes(PLAN, golden_model(), golden_model(), on_step=lambda: steps.append(None))
    assert (done.found.different, done.found.logits) == (0, 0.0)
    assert done.found.tokens == LAYOUT.tokens
    assert len(steps) == 3 * PLAN.steps
    assert min(done.seconds) > 0


def test_an_export_of_other_weights_is_refused() -> None:
    pytest.importorskip("onnxruntime")
    exported = pytest.importorskip("tests.support.exported").exported_model()
    weights = {name: torch.from_numpy(weight) for name, weight in WEIGHTS.items()}
    weights["model.norm.weight"] = weights["model.norm.weight"] + 1
    other = McAr(GOLDEN, weights)
    with pytest.raises(DocumentError, match="expected the export of the same model, got one of other weights"):
        compare_runtimes(PLAN, other, exported)


def test_a_speculative_run_says_how_it_went(weights: Path) -> None:
    want = run_plan(PLAN, "mc-ar", weights, IDS, OPTIONS, sampler=Sample(top_p=0.9), seed=5)
    steps: list[tuple[int, int]] = []
    told: list[Any] = []
    done = run_plan(
        PLAN, "mc-ar", weights, IDS, OPTIONS, sampler=Sample(top_p=0.9), seed=5, speculation=Speculation(window=16),
        trace=True, on_step=lambda *step: steps.append(step), on_pass=told.append,
    )  # fmt: skip
    np.testing.assert_array_equal(done.tokens, want.tokens)
    assert want.speculated is None
    assert done.speculated is not None
    assert done.speculated.speculation == Speculation(window=16)
    assert done.passes == len(told) == done.speculated.outcome.passes < want.passes
    assert steps[-1] == (PLAN.steps, done.chosen) == (PLAN.steps, want.chosen)
    assert done.speculated.trace is not None
    assert verify_trace(PLAN, done.speculated.trace).ok
    assert done.speculated.promise.places > 0


def test_a_speculative_run_is_resumed(weights: Path, tmp_path: Path) -> None:
    state = tmp_path / "state.safetensors"
    asked: dict[str, Any] = {"sampler": Sample(top_p=0.9), "seed": 5}
    whole = run_plan(
        PLAN, "mc-ar", weights, IDS, OPTIONS, speculation=Speculation(window=16), checkpoint=state,
        checkpoint_every=PLAN.steps // 2 + 1, **asked,
    )  # fmt: skip
    told: list[tuple[int, int]] = []
    rest = run_plan(
        PLAN, "mc-ar", weights, IDS, OPTIONS, speculation=Speculation(window=40), resume=state,
        on_step=lambda *step: told.append(step), **asked,
    )  # fmt: skip
    np.testing.assert_array_equal(rest.tokens, whole.tokens)
    assert rest.passes < whole.passes
    assert told == [] or told[-1] == (PLAN.steps, rest.chosen)
    with pytest.raises(SpecError, match="expected a trace of a whole replay"):
        run_plan(PLAN, "mc-ar", weights, IDS, OPTIONS, speculation=Speculation(window=8), resume=state, trace=True)
    with pytest.raises(DocumentError, match="of another kind"):
        run_plan(PLAN, "mc-ar", weights, IDS, OPTIONS, resume=state, **asked)
