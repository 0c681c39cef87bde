"""A plan laid out for speculation, its state, and arguments that are refused."""

import numpy as np
import pytest

pytest.importorskip("torch")

from diagplan import Layout, MismatchError, NextToken, Sample, SpecError, compile_plan
from diagplan.backends import speculative
from diagplan.backends.sampling import keys_for
from diagplan.planner.speculation import Speculation
from tests.support.hash_model import HashModel, NumpyHashModel
from tests.support.speculated import guessable, ids_for

VIDEO = Layout(frames=3, rows=3, cols=4, prompt_frames=1, between_frames=2)


def test_arguments_are_checked() -> None:
    plan, model = compile_plan(VIDEO, NextToken()), guessable(HashModel, 3)
    with pytest.raises(SpecError, match="expected speculation to be a Speculation, got speculation=<int>"):
        speculative.prepare(plan, model, 8)  # type: ignore[arg-type]
    prepared = speculative.prepare(plan, model, Speculation(window=8))
    with pytest.raises(MismatchError, match="expected guesses of shape"):
        speculative.new_state(prepared, ids_for(plan, model), guesses=np.zeros((2, 3, 4), np.int64))
    with pytest.raises(MismatchError, match="expected given ids of shape"):
        speculative.new_state(prepared, ids_for(plan, model, 2))


def test_what_is_laid_out() -> None:
    plan = compile_plan(VIDEO, NextToken())
    prepared = speculative.prepare(
        plan, guessable(HashModel, 3), Speculation(window=16), batch=2, samples=[4, 9], seed=3
    )
    assert (prepared.prompt, prepared.widths, prepared.own, prepared.length_step) == (13, (16,), True, 512)
    assert prepared.borders.tolist() == [prepared.entries.entries]
    assert prepared.cache_slots % 512 == 0
    assert prepared.finals == ((25, 0), (39, 1), (53, 2))
    keys = keys_for(np.array([3, 3]), np.array([4, 9]), np.arange(plan.positions))
    np.testing.assert_array_equal(prepared.keys[:, : plan.positions], keys)
    moved = speculative.shifted(prepared, 14)
    np.testing.assert_array_equal(moved.keys[:, : plan.positions - 14], keys[:, 14:])
    assert speculative.prepare(plan, NumpyHashModel(), Speculation(window=10_000)).widths == (53,)


def test_windows_end_with_frames_where_they_are_to() -> None:
    plan = compile_plan(VIDEO, NextToken())
    prepared = speculative.prepare(plan, guessable(HashModel, 251), Speculation(window=40, across_frames=False))
    assert prepared.borders.tolist() == [25, 39, 53]
    want = speculative.prepare(plan, guessable(HashModel, 251), Speculation(window=40))
    given = ids_for(plan, guessable(HashModel, 251))
    tokens = speculative.replay(want, speculative.new_state(want, given)).tokens
    done = speculative.replay(prepared, speculative.new_state(prepared, given, guesses=tokens), trace=True)
    assert done.traces is not None
    assert [(one.first, one.end) for one in done.traces[0]] == [(0, 25), (25, 39), (39, 53)]


def test_samples_have_noise_of_their_numbers() -> None:
    plan, model = compile_plan(VIDEO, NextToken()), guessable(HashModel, 251)
    given = np.repeat(ids_for(plan, model), 2, axis=0)
    prepared = speculative.prepare(plan, model, Speculation(window=8), batch=2, sampler=Sample(temperature=5.0))
    tokens = speculative.replay(prepared, speculative.new_state(prepared, given)).tokens
    assert (tokens[0] != tokens[1]).any()


def test_each_sample_may_have_a_seed_of_its_own() -> None:
    plan, model = compile_plan(VIDEO, NextToken()), guessable(HashModel, 251)
    given, sampler = ids_for(plan, model), Sample(temperature=5.0)
    both = speculative.prepare(
        plan, model, Speculation(window=8), batch=2, seed=[4, 9], samples=[0, 0], sampler=sampler
    )
    state = speculative.new_state(both, np.repeat(given, 2, axis=0))
    tokens = speculative.replay(both, state).tokens
    for row, seed in enumerate((4, 9)):
        alone = speculative.prepare(plan, model, Speculation(window=8), seed=seed, sampler=sampler)
        assert (tokens[row] == speculative.replay(alone, speculative.new_state(alone, given)).tokens[0]).all()
    with pytest.raises(SpecError, match="expected one seed for a trace, got a seed for each sample"):
        speculative.trace_of(
            both, state, speculative.replay(both, speculative.new_state(both, np.repeat(given, 2, axis=0)), trace=True)
        )
