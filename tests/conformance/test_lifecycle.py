"""A replay from beginning to end, on every adapter and every backend: frames, stops, checkpoints and refusals."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from diagplan import Diagonal, compile_plan, verify  # noqa: E402
from diagplan.adapters.contract import input_vocab_of  # noqa: E402
from diagplan.backends.checkpoint import load_checkpoint, save_checkpoint  # noqa: E402
from diagplan.backends.errors import MismatchError, NumericError  # noqa: E402
from diagplan.backends.sampling import Sample  # noqa: E402
from diagplan.planner.errors import DocumentError, InvalidPlanError  # noqa: E402
from tests.support.conformance import BACKENDS, LAYOUT, MODELS, any_dtype, ids_for, pairs  # noqa: E402

pytestmark = pytest.mark.parametrize(("model_name", "backend"), pairs())


def test_frames_are_handed_out_when_complete(model_name: str, backend: str) -> None:
    model, runtime = MODELS[model_name](any_dtype(model_name, backend)), BACKENDS[backend]
    plan = compile_plan(LAYOUT, Diagonal(k=1, d=2))
    prepared = runtime.prepare(plan, model)
    events: list[tuple[str, int]] = []
    frames = {}

    def on_frame(frame: int, tokens: Any) -> None:
        events.append(("frame", frame))
        frames[frame] = tokens.copy()

    done = runtime.replay(
        prepared,
        runtime.new_state(prepared, ids_for(plan, model)),
        on_step=lambda step, _: events.append(("step", step)),
        on_frame=on_frame,
    )
    plan = prepared.plan
    last = {f: max(plan.feed_steps()[np.isin(plan.target, slots)]) for f, slots in enumerate(LAYOUT.cell_slots())}
    for frame, step in last.items():
        assert events.index(("frame", frame)) + 1 == events.index(("step", step))
        np.testing.assert_array_equal(frames[frame], done.tokens[:, frame])
    assert [step for kind, step in events if kind == "step"] == list(range(plan.steps))


def test_cancel_and_resume_from_every_step(model_name: str, backend: str, tmp_path: Path) -> None:
    model, runtime = MODELS[model_name](any_dtype(model_name, backend)), BACKENDS[backend]
    plan = compile_plan(LAYOUT, Diagonal(k=2, d=4))
    ids = ids_for(plan, model, batch=2)
    prepared = runtime.prepare(plan, model, sampler=Sample(temperature=1.3), seed=9, batch=2)
    want = runtime.replay(prepared, runtime.new_state(prepared, ids)).tokens
    path = tmp_path / "state.safetensors"
    for stop in range(0, plan.steps - 1, 3):
        state = runtime.new_state(prepared, ids)
        begun: list[int] = []
        part = runtime.replay(
            prepared,
            state,
            on_step=lambda step, _, begun=begun: begun.append(step),
            cancelled=lambda b=begun, s=stop: b[-1] == s,
        )
        assert (part.complete, part.steps) == (False, stop + 1)
        assert (part.tokens == -1).any()
        save_checkpoint(prepared, state, path)
        rest = runtime.replay(prepared, load_checkpoint(prepared, path, ids))
        assert rest.complete
        np.testing.assert_array_equal(rest.tokens, want)


def test_checkpoints_of_other_runs_are_refused(model_name: str, backend: str, tmp_path: Path) -> None:
    model, runtime = MODELS[model_name](any_dtype(model_name, backend)), BACKENDS[backend]
    plan = compile_plan(LAYOUT, Diagonal(k=2))
    prepared = runtime.prepare(plan, model)
    ids = ids_for(plan, model)
    state = runtime.new_state(prepared, ids)
    runtime.replay(prepared, state, cancelled=lambda: True)
    path = tmp_path / "state.safetensors"
    save_checkpoint(prepared, state, path)
    others = {
        "seed": runtime.prepare(plan, model, seed=1),
        "sampler": runtime.prepare(plan, model, sampler=Sample()),
        "batch": runtime.prepare(plan, model, batch=2),
        "plan": runtime.prepare(compile_plan(LAYOUT, Diagonal(k=1)), model),
    }
    for name, other in others.items():
        with pytest.raises(MismatchError, match=f"expected a checkpoint with {name}="):
            load_checkpoint(other, path, np.repeat(ids, other.rows, axis=0))
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(DocumentError, match="expected a checkpoint"):
        load_checkpoint(prepared, path, ids)


def test_infinite_logits_stop_at_their_step(model_name: str, backend: str) -> None:
    model, runtime = MODELS[model_name](any_dtype(model_name, backend)), BACKENDS[backend]
    plan = compile_plan(LAYOUT, Diagonal(k=2))
    prepared = runtime.prepare(plan, model)
    state = runtime.new_state(prepared, ids_for(plan, model))
    runtime.replay(prepared, state, cancelled=lambda: state.done > 0 and prepared.passes[state.done - 1].step == 4)
    slots = prepared.passes[state.done - 1].mask.shape[1]
    state.cache.write([np.full_like(array, np.nan) for array in state.cache.read(slots)])
    with pytest.raises(NumericError, match="NaN or infinity at step 5"):
        runtime.replay(prepared, state)


def test_what_does_not_fit_is_refused(model_name: str, backend: str) -> None:
    model, runtime = MODELS[model_name](any_dtype(model_name, backend)), BACKENDS[backend]
    plan = compile_plan(LAYOUT, Diagonal(k=2))
    broken = replace(plan, source=np.where(plan.target == plan.positions - 1, plan.positions - 1, plan.source))
    assert not verify(broken).ok
    with pytest.raises(InvalidPlanError, match=r"expected a valid plan, got .* the first DP204"):
        runtime.prepare(broken, model)
    runtime.prepare(broken, model, unverified=True)
    with pytest.raises(MismatchError, match="expected a plan of at most 160 positions"):
        runtime.prepare(compile_plan(replace(LAYOUT, frames=20), Diagonal(k=2)), model)
    prepared = runtime.prepare(plan, model)
    with pytest.raises(MismatchError, match="expected given ids of shape"):
        runtime.new_state(prepared, ids_for(plan, model, batch=2))
    with pytest.raises(MismatchError, match="expected given ids from 0 to"):
        runtime.new_state(prepared, ids_for(plan, model) + input_vocab_of(model))
