"""Speculative replay gives the tokens of replay step by step, in no more passes than the plan's bound."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given as given_examples
from hypothesis import settings
from hypothesis import strategies as st

torch = pytest.importorskip("torch")

from diagplan import Diagonal, Layout, NextToken, NumericError, Plan, Sample, compile_plan  # noqa: E402
from diagplan.adapters.contract import AllowedIds  # noqa: E402
from diagplan.adapters.mc_ar import McAr, McArConfig  # noqa: E402
from diagplan.backends import replay as executor  # noqa: E402
from diagplan.backends import speculative  # noqa: E402
from diagplan.planner.speculation import Speculation, most_passes, plan_entries  # noqa: E402
from tests.support.hash_model import HashModel  # noqa: E402
from tests.support.placed_model import PlacedModel  # noqa: E402
from tests.support.speculated import (  # noqa: E402
    MODELS,
    SAMPLERS,
    guessable,
    ids_for,
    speculated,
    speculations,
    step_by_step,
)
from tests.support.strategies import Request, plans  # noqa: E402

VIDEO = Layout(frames=3, rows=3, cols=4, prompt_frames=1, between_frames=2)
IMAGE = Layout(frames=1, rows=4, cols=5, lead=2, between_rows=1)


@settings(max_examples=150)
@given_examples(
    compiled=plans(frames=3, side=5),
    speculation=speculations(),
    model=st.sampled_from(MODELS),
    sampler=st.sampled_from(SAMPLERS),
    batch=st.integers(1, 3),
    own=st.sampled_from([None, False]),
    chunk=st.sampled_from([1, 3, 512]),
    seed=st.integers(0, 3),
)
def test_tokens_are_those_of_replay(
    compiled: tuple[Request, Plan], speculation: Speculation, model: Any, sampler: Any, batch: int, own: bool | None,
    chunk: int, seed: int,
) -> None:  # fmt: skip
    """Theorems (i), (ii) and (iv): for any draft, any width, any batch, whether samples wait for each other or not."""
    _, plan = compiled
    given, options = ids_for(plan, model, batch, seed), {"sampler": sampler, "seed": seed, "batch": batch}
    got = speculated(plan, model, given, speculation, chunk=chunk, own=own, **options)
    np.testing.assert_array_equal(got.tokens, step_by_step(plan, model, given, **options))
    assert got.complete
    assert round(got.accepted.sum()) == plan.layout.tokens
    assert got.passes <= most_passes(plan_entries(plan), speculation.window)


def small_model() -> McAr:
    config = McArConfig(
        hidden_size=16, intermediate_size=24, num_hidden_layers=2, num_attention_heads=2, num_key_value_heads=1,
        vocab_size=11, image_vocab=7, max_position_embeddings=256,
    )  # fmt: skip
    return McAr.random(config, seed=3, dtype=torch.float64, portable=True)


@settings(max_examples=40)
@given_examples(
    compiled=plans(frames=2, side=4),
    speculation=speculations(widest=40),
    sampler=st.sampled_from(SAMPLERS),
    guidance=st.sampled_from([None, 1.5, (3.0, -1.0, -1.0)]),
    steps=st.sampled_from([None, (1, 4)]),
    batch=st.integers(1, 2),
    own=st.sampled_from([None, False]),
)
def test_attention_guidance_and_allowed_ids(
    compiled: tuple[Request, Plan], speculation: Speculation, sampler: Any, guidance: Any, steps: Any, batch: int,
    own: bool | None,
) -> None:  # fmt: skip
    """Attention in float64, with ids that cells may not take; branches of guidance with prompts of their own."""
    plan, model = compiled[1], small_model()
    branches = 1 if guidance is None else 2 if isinstance(guidance, float) else 3
    options = {"sampler": sampler, "seed": 5, "batch": batch, "guidance": guidance}
    options["guided_steps"] = None if guidance is None else steps
    given = ids_for(plan, model, batch * branches)
    got = speculated(plan, model, given, speculation, own=own, **options)
    np.testing.assert_array_equal(got.tokens, step_by_step(plan, model, given, **options))
    assert got.tokens.max() < 7


def test_ranges_of_ids_that_differ_between_cells() -> None:
    rules = (
        AllowedIds(low=0, high=5),
        AllowedIds(low=3, high=9, rows=(1, None)),
        AllowedIds(low=2, high=3, cols=(0, 1)),
    )
    model = guessable(HashModel, 9)
    model.vocabulary = rules
    plan = compile_plan(VIDEO, NextToken())
    for batch in (1, 3):
        given = ids_for(plan, model, batch)
        got = speculated(plan, model, given, Speculation(window=12), batch=batch)
        np.testing.assert_array_equal(got.tokens, step_by_step(plan, model, given, batch=batch))
        assert (got.tokens[:, :, :, 0] == 2).all()


@pytest.mark.parametrize("own", [None, False])
@pytest.mark.parametrize("guidance", [None, 2.0])
def test_prompts_of_different_length(own: bool | None, guidance: float | None) -> None:
    plan, model = compile_plan(Layout(frames=1, rows=3, cols=5, lead=6), Diagonal(k=2)), small_model()
    pads = [0, 2, 5] if guidance is None else [0, 2, 5, 3, 3, 3]
    options: dict[str, Any] = {"batch": 3, "pad": pads, "guidance": guidance, "sampler": Sample(), "seed": 4}
    given = ids_for(plan, model, len(pads))
    want = step_by_step(plan, model, given, **options)
    for window in (4, 11):
        got = speculated(plan, model, given, Speculation(window=window), own=own, **options)
        np.testing.assert_array_equal(got.tokens, want)
    assert (want != step_by_step(plan, model, given, **{**options, "pad": None})).any()


@pytest.mark.parametrize("own", [None, False])
@pytest.mark.parametrize("pad", [None, [0, 1]])
def test_embeddings_and_coordinates(own: bool | None, pad: list[int] | None) -> None:
    """A model that is told where positions lie, and given embeddings in the place of ids."""
    plan = compile_plan(IMAGE, Diagonal(k=2))
    model: Any = PlacedModel(torch.float64)
    given = ids_for(plan, model, 2)
    given[:, :2] = -1, -2
    lead = np.random.default_rng(1).normal(size=(2, 2, model.lead_width))
    prepared = executor.prepare(plan, model, batch=2, pad=pad)
    want = executor.replay(prepared, executor.new_state(prepared, given, lead)).tokens
    ready = speculative.prepare(plan, model, Speculation(window=7), batch=2, pad=pad, own=own)
    np.testing.assert_array_equal(speculative.replay(ready, speculative.new_state(ready, given, lead)).tokens, want)


def test_a_batch_is_its_samples() -> None:
    """Samples that advance on their own take the passes that they take alone, and have their tokens."""
    plan, model, speculation = compile_plan(VIDEO, NextToken()), guessable(HashModel, 3), Speculation(window=9)
    given = ids_for(plan, model, 4)
    options: dict[str, Any] = {"sampler": Sample(), "seed": 2}
    whole = speculated(plan, model, given, speculation, batch=4, trace=True, **options)
    assert whole.traces is not None
    for sample in range(4):
        alone = speculated(
            plan, model, given[sample : sample + 1], speculation, samples=[sample], trace=True, **options
        )
        np.testing.assert_array_equal(alone.tokens[0], whole.tokens[sample])
        assert alone.traces == (whole.traces[sample],)
    assert whole.passes == max(map(len, whole.traces))
    waiting = speculated(plan, model, given, speculation, batch=4, own=False, **options)
    np.testing.assert_array_equal(waiting.tokens, whole.tokens)
    assert waiting.passes > whole.passes


def test_a_window_of_one_is_next_token_prediction() -> None:
    plan, model = compile_plan(IMAGE, NextToken()), guessable(HashModel, 3)
    fed: list[list[int]] = []
    forward = type(model).forward

    def watched(self: Any, ids: Any, position: Any, *others: Any) -> Any:
        fed.append(position.tolist())
        return forward(self, ids, position, *others)

    type(model).forward = watched  # type: ignore[assignment, method-assign]
    image = compile_plan(Layout(frames=1, rows=4, cols=5, lead=2), NextToken())
    got = speculated(image, model, ids_for(image, model), Speculation(window=1))
    assert got.passes == image.steps
    assert fed == [[0, 1, *[0] * 6], *([i] for i in range(2, 21))]
    assert plan.steps == got.passes


def test_a_window_beyond_the_plan_ends_where_outputs_repeat() -> None:
    """Theorem (vi): each pass accepts a step at least, and noise that samples share decides most of the tokens."""
    plan, model = compile_plan(VIDEO, NextToken()), small_model()
    got = speculated(plan, model, ids_for(plan, model), Speculation(window=10_000), sampler=Sample(), seed=1)
    assert got.passes < plan.steps / 3
    np.testing.assert_array_equal(got.tokens, step_by_step(plan, model, ids_for(plan, model), sampler=Sample(), seed=1))


def test_first_guesses_of_another_run() -> None:
    """With the tokens themselves as guesses a pass accepts the whole window."""
    plan, model = compile_plan(VIDEO, NextToken()), guessable(HashModel, 251)
    given = ids_for(plan, model, 2)
    want = step_by_step(plan, model, given, batch=2)
    prepared = speculative.prepare(plan, model, Speculation(window=16), batch=2)
    assert prepared.prompt == 13
    for guesses, passes in ((want, 3), (want[0], None)):
        got = speculative.replay(prepared, speculative.new_state(prepared, given, guesses=guesses))
        np.testing.assert_array_equal(got.tokens, want)
        assert passes in (None, got.passes)


def test_garbage_behind_the_accepted_entries_does_not_matter() -> None:
    """Rule R3: whatever stands in rows that are not accepted, the tokens are the same."""
    plan, model = compile_plan(VIDEO, NextToken()), small_model()
    given = ids_for(plan, model, 2)
    prepared = speculative.prepare(plan, model, Speculation(window=7), batch=2, sampler=Sample())
    state, generator = speculative.new_state(prepared, given), torch.Generator().manual_seed(0)

    def spoil(progress: speculative.Progress) -> None:
        for tensor in state.cache.tensors:  # type: ignore[attr-defined]
            for sample, first in enumerate(progress.accepted.tolist()):
                part = tensor[sample, :, prepared.columns.zeros + first :]
                part.copy_(torch.randn(part.shape, generator=generator, dtype=part.dtype) * 1e4)

    got = speculative.replay(prepared, state, on_pass=spoil)
    np.testing.assert_array_equal(got.tokens, step_by_step(plan, model, given, batch=2, sampler=Sample()))


def test_frames_are_handed_out_as_soon_as_they_are_final() -> None:
    plan, model = compile_plan(VIDEO, NextToken()), guessable(HashModel, 2)
    prepared = speculative.prepare(plan, model, Speculation(window=20), batch=2)
    told: list[tuple[str, int]] = []
    frames = {}

    def on_frame(frame: int, tokens: Any) -> None:
        told.append(("frame", frame))
        frames[frame] = tokens.copy()

    done = speculative.replay(
        prepared,
        speculative.new_state(prepared, ids_for(plan, model, 2)),
        on_frame=on_frame,
        on_pass=lambda progress: told.append(("tokens", progress.tokens)),
    )
    assert [number for kind, number in told if kind == "frame"] == [0, 1, 2]
    for frame, tokens in frames.items():
        np.testing.assert_array_equal(tokens, done.tokens[:, frame])
        at = told.index(("frame", frame))
        counts = [number for kind, number in told[:at] if kind == "tokens"]
        assert max(counts, default=0) < 12 * (frame + 1) <= next(n for kind, n in told[at:] if kind == "tokens")
    assert told[-1] == ("tokens", 36)


def test_a_cancelled_replay_goes_on_from_its_state() -> None:
    plan, model = compile_plan(VIDEO, NextToken()), guessable(HashModel, 3)
    given = ids_for(plan, model, 2)
    want = step_by_step(plan, model, given, batch=2)
    prepared = speculative.prepare(plan, model, Speculation(window=6), batch=2)
    state, seen = speculative.new_state(prepared, given), []
    while True:
        part = speculative.replay(prepared, state, cancelled=lambda: True)
        known = part.tokens >= 0
        np.testing.assert_array_equal(part.tokens[known], want[known])
        seen.append((part.passes, part.complete, bool(known.all())))
        if part.complete:
            break
    assert len(seen) > 3
    assert set(seen[:-1]) == {(1, False, False)}


@pytest.mark.parametrize("window", [1, 6, 30])
@pytest.mark.parametrize("own", [True, False])
def test_logits_that_are_not_finite_name_the_step(window: int, own: bool) -> None:
    """A position whose embedding is broken: the steps before it are replayed, then its own is named."""
    plan, model = compile_plan(VIDEO, NextToken()), small_model()
    step = 20
    position = int(plan.position[plan.step_offsets[step]])
    for table in (model.cos, model.sin):
        table[position] = torch.nan
    done: list[int] = []
    prepared = speculative.prepare(plan, model, Speculation(window=window), batch=2, own=own)
    state = speculative.new_state(prepared, ids_for(plan, model, 2))
    with pytest.raises(NumericError, match=f"got NaN or infinity at step {step}."):
        speculative.replay(prepared, state, on_pass=lambda progress: done.append(int(progress.accepted.max())))
    assert prepared.entries.step[done[-1]] == step


def test_guesses_that_lead_to_infinities_cost_passes_not_tokens() -> None:
    """An id that overflows wherever it is fed, and is never chosen: a draft feeds it all the same."""

    class Overflowing(McAr):
        def forward(self, ids: Any, *others: Any) -> Any:
            logits = super().forward(ids, *others)
            return torch.where((ids == 6).any(), torch.full_like(logits, torch.inf), logits)

    model = Overflowing.random(small_model().config, seed=3, dtype=torch.float64, portable=True)
    model.vocabulary = (AllowedIds(low=0, high=6),)
    plan = compile_plan(VIDEO, NextToken())
    given = ids_for(plan, small_model()) % 6
    want = step_by_step(plan, model, given)
    prepared = speculative.prepare(plan, model, Speculation(window=20))
    guesses = np.random.default_rng(0).integers(0, 7, (3, 3, 4))
    got = speculative.replay(prepared, speculative.new_state(prepared, given, guesses=guesses))
    np.testing.assert_array_equal(got.tokens, want)
    assert got.retaken > 0
    assert got.passes <= plan.steps
