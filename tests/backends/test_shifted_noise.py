"""Passes with the noise of slots further on."""

import numpy as np
import pytest

pytest.importorskip("torch")

from diagplan import Diagonal, Layout, Sample, compile_plan
from diagplan.backends import replay as executor
from diagplan.backends.sampling import keys_for
from diagplan.backends.shifted_noise import moved, targets_of
from tests.support.hash_model import HashModel

PLAN = compile_plan(Layout(frames=1, rows=3, cols=3, lead=1), Diagonal(k=1))


def test_keys_are_those_of_slots_further_on_and_nothing_else_changes() -> None:
    prepared = executor.prepare(PLAN, HashModel(), sampler=Sample(), seed=5, batch=2, samples=[4, 7])
    targets = targets_of(prepared)
    assert np.concatenate(targets).tolist() == PLAN.target[PLAN.target >= 0].tolist()
    later = moved(prepared, targets, 30)
    for before, after, target in zip(prepared.passes, later.passes, targets, strict=True):
        keys = keys_for(np.array([5, 5]), np.array([4, 7]), target + 30)
        np.testing.assert_array_equal(np.asarray(after.keys), keys)
        assert after._replace(keys=before.keys) == before
    same = moved(prepared, targets, 0)
    assert all((a.keys == b.keys).all() for a, b in zip(same.passes, prepared.passes, strict=True))


def test_greedy_passes_have_no_noise_to_move() -> None:
    prepared = executor.prepare(PLAN, HashModel())
    assert moved(prepared, targets_of(prepared), 30) is prepared
