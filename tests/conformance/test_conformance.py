"""One suite over every adapter and every backend: what replay means, whoever does it.

A new adapter adds a branch to ``MODELS``, a new backend one to ``BACKENDS``; the tests run over them unchanged.
"""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given as given_examples
from hypothesis import settings
from hypothesis import strategies as st

torch = pytest.importorskip("torch")

from diagplan import Diagonal, Layout, NextToken, Policies, compile_plan, verify  # noqa: E402
from diagplan.adapters.contract import allowed_ids, input_vocab_of  # noqa: E402
from diagplan.backends import replay as executor  # noqa: E402
from diagplan.backends.checkpoint import load_checkpoint, save_checkpoint  # noqa: E402
from diagplan.backends.errors import MismatchError, NumericError  # noqa: E402
from diagplan.backends.reference import reference_replay, teacher_forced_logits  # noqa: E402
from diagplan.backends.sampling import Greedy, Sample, Sampler  # noqa: E402
from diagplan.backends.selftest import require_masks_obeyed  # noqa: E402
from diagplan.planner.errors import DiagplanError, DocumentError, InvalidPlanError  # noqa: E402
from diagplan.planner.plan import Plan  # noqa: E402
from diagplan.planner.policy import Visibility  # noqa: E402
from tests.support.conformance import BACKENDS, EOL, LAYOUT, MODELS, ids_for, pairs  # noqa: E402

pytestmark = pytest.mark.parametrize(("model_name", "backend"), pairs())


def run(
    backend: str, plan: Plan, model: Any, ids: np.ndarray, sampler: Sampler | None = None, **options: Any
) -> np.ndarray:
    runtime = BACKENDS[backend]
    prepared = runtime.prepare(plan, model, sampler=sampler, batch=len(ids), **options)
    done: executor.Replayed = runtime.replay(prepared, runtime.new_state(prepared, ids))
    assert done.complete
    return done.tokens


SAMPLERS = [Greedy(), Sample(temperature=0.7), Sample(top_k=5), Sample(top_p=0.8), Sample(top_p=0.6, crossing="drop")]
SAMPLERS += [Sample(top_k=6, top_p=0.9, min_p=0.05)]


@st.composite
def small_plans(draw: st.DrawFn) -> Plan:
    layout = Layout(
        frames=draw(st.integers(1, 3)),
        rows=draw(st.integers(1, 3)),
        cols=draw(st.integers(1, 4)),
        prompt_frames=draw(st.integers(0, 1)),
        lead=draw(st.integers(1, 2)),
        between_frames=draw(st.integers(0, 2)),
        between_rows=draw(st.integers(0, 1)),
    )
    visibility: Visibility = draw(st.sampled_from(["written", "causal"]))
    policies = Policies(
        proxy=draw(st.sampled_from(["above", "latest", "previous-frame", "above-predecessor"])),
        row_end=draw(st.sampled_from(["keep", "refresh"])),
        proxy_kv=draw(st.sampled_from(["visible", "hidden"])),
        visibility=visibility,
    )
    return compile_plan(
        layout,
        Diagonal(k=draw(st.integers(1, 4)), d=draw(st.none() | st.integers(1, 9))),
        policies,
        max_width=draw(st.none() | st.integers(1, 4)),
        slots="position" if visibility == "causal" else draw(st.sampled_from(["position", "step-order"])),
        pad=draw(st.none() | st.just([2, 4])),
    )


@settings(max_examples=15, deadline=None)
@given_examples(plan=small_plans(), sampler=st.sampled_from(SAMPLERS), seed=st.integers(0, 5))
def test_backend_equals_reference(model_name: str, backend: str, plan: Plan, sampler: Sampler, seed: int) -> None:
    """In float64, where ties are out of reach: the same tokens from the same seeds."""
    model = MODELS[model_name](torch.float64)
    ids = ids_for(plan, model, seed=seed)
    tokens, _ = reference_replay(plan, model, torch.from_numpy(ids), sampler, [seed], [0])
    got = run(backend, plan, model, ids, sampler, seed=seed)
    np.testing.assert_array_equal(got[0], tokens[0].numpy()[plan.layout.cell_slots()])
    allowed = allowed_ids(model.vocabulary, plan.layout)[plan.layout.cell_slots().ravel()]
    assert (got[0].ravel() >= allowed[:, 0]).all()
    assert (got[0].ravel() < allowed[:, 1]).all()


@settings(max_examples=15, deadline=None)
@given_examples(plan=small_plans())
def test_one_teacher_forced_pass_equals_step_by_step(model_name: str, backend: str, plan: Plan) -> None:
    """Section 5 of the semantics: replaying step by step is one pass over all feeds."""
    model = MODELS[model_name](torch.float64)
    tokens, chosen_by = reference_replay(plan, model, torch.from_numpy(ids_for(plan, model)), Greedy(), [0], [0])
    at_once = teacher_forced_logits(plan, model, tokens)
    feeds = np.flatnonzero(plan.target >= 0)
    np.testing.assert_allclose(at_once[0, feeds].numpy(), chosen_by[0, plan.target[feeds]].numpy(), atol=1e-9)


@pytest.mark.parametrize("layout", [LAYOUT, EOL], ids=["video", "end-of-line"])
@pytest.mark.parametrize("sampler", SAMPLERS, ids=repr)
def test_tokens_do_not_depend_on_batch_or_lowering(
    model_name: str, backend: str, layout: Layout, sampler: Sampler
) -> None:
    model = MODELS[model_name](torch.float64)
    plan = compile_plan(layout, Diagonal(k=2))
    ids = ids_for(plan, model, batch=3)
    whole = run(backend, plan, model, ids, sampler, seed=5)
    np.testing.assert_array_equal(run(backend, plan, model, ids[:1], sampler, seed=5), whole[:1])
    for options in ({"slots": "step-order"}, {"pad": [3, 8]}, {"slots": "step-order", "pad": [1, 4]}):
        lowered = compile_plan(layout, Diagonal(k=2), **options)
        np.testing.assert_array_equal(run(backend, lowered, model, ids, sampler, seed=5), whole)
    np.testing.assert_array_equal(run(backend, plan, model, ids, sampler, seed=5, chunk=3), whole)
    if not isinstance(sampler, Greedy):
        assert (run(backend, plan, model, ids, sampler, seed=6) != whole).any()
        same = np.repeat(ids[:1], 2, axis=0)
        pair = run(backend, plan, model, same, sampler, seed=5)
        assert (pair[0] != pair[1]).any()


def test_full_rows_in_sequence_are_next_token_prediction(model_name: str, backend: str) -> None:
    model = MODELS[model_name](torch.float64)
    plan = compile_plan(LAYOUT, NextToken())
    ids = ids_for(plan, model)
    want = run(backend, plan, model, ids)
    for policies in (Policies(), Policies(row_end="keep", proxy_kv="visible", visibility="causal")):
        np.testing.assert_array_equal(run(backend, compile_plan(LAYOUT, Diagonal(k=4), policies), model, ids), want)


def test_frames_are_handed_out_when_complete(model_name: str, backend: str) -> None:
    model, runtime = MODELS[model_name](torch.float32), BACKENDS[backend]
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
    model, runtime = MODELS[model_name](torch.float32), BACKENDS[backend]
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
    model, runtime = MODELS[model_name](torch.float32), BACKENDS[backend]
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


def test_guidance_mixes_the_logits(model_name: str, backend: str) -> None:
    model = MODELS[model_name](torch.float64)
    plan = compile_plan(LAYOUT, Diagonal(k=2))
    conditional, unconditional = ids_for(plan, model, seed=1), ids_for(plan, model, seed=2)
    both = np.concatenate([conditional, unconditional])
    runtime = BACKENDS[backend]

    def guided(scale: Any) -> np.ndarray:
        prepared = runtime.prepare(plan, model, guidance=scale)
        ids = both if isinstance(scale, float) else np.concatenate([both, conditional])
        done: executor.Replayed = runtime.replay(prepared, runtime.new_state(prepared, ids))
        return done.tokens

    np.testing.assert_array_equal(guided(1.0), run(backend, plan, model, conditional))
    assert (guided(4.0) != guided(1.0)).any()
    np.testing.assert_array_equal(guided((0.5, 0.0, 0.5)), guided(1.0))


def test_infinite_logits_stop_at_their_step(model_name: str, backend: str) -> None:
    model, runtime = MODELS[model_name](torch.float32), BACKENDS[backend]
    plan = compile_plan(LAYOUT, Diagonal(k=2))
    prepared = runtime.prepare(plan, model)
    state = runtime.new_state(prepared, ids_for(plan, model))
    runtime.replay(prepared, state, cancelled=lambda: state.done > 0 and prepared.passes[state.done - 1].step == 4)
    slots = prepared.passes[state.done - 1].mask.shape[1]
    state.cache.write([np.full_like(array, np.nan) for array in state.cache.read(slots)])
    with pytest.raises(NumericError, match="NaN or infinity at step 5"):
        runtime.replay(prepared, state)


def test_what_does_not_fit_is_refused(model_name: str, backend: str) -> None:
    model, runtime = MODELS[model_name](torch.float32), BACKENDS[backend]
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


def test_masks_are_obeyed(model_name: str, backend: str, monkeypatch: pytest.MonkeyPatch) -> None:
    model = MODELS[model_name](torch.float32)
    require_masks_obeyed(model)
    real = torch.nn.functional.scaled_dot_product_attention
    monkeypatch.setattr(
        torch.nn.functional,
        "scaled_dot_product_attention",
        lambda q, k, v, attn_mask, **options: (attn_mask, real(q, k, v, **options))[1],
    )
    with pytest.raises(DiagplanError, match="expected attention to obey its mask"):
        require_masks_obeyed(model)
