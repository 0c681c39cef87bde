"""Speculative replay beside replay step by step, for models whose guesses are sometimes right."""

from typing import Any

import numpy as np
from hypothesis import strategies as st
from numpy.typing import NDArray

from diagplan import Greedy, Plan, Sample
from diagplan.backends import replay as executor
from diagplan.backends import speculative
from diagplan.planner.speculation import Speculation
from tests.support.hash_model import HashModel, NumpyHashModel

__all__ = ["DRAFTS", "MODELS", "SAMPLERS", "guessable", "ids_for", "speculated", "speculations", "step_by_step"]

Ids = NDArray[np.int64]
DRAFTS = ("previous-frame", "above", "left", "nearest", "proxies", "none")
SAMPLERS = (Greedy(), Sample(temperature=1.0), Sample(temperature=0.7, top_p=0.8))


def guessable(kind: type[HashModel], ids: int, *, ragged: bool = True) -> HashModel:
    """A model of few ids: a guess is right by chance, once in ``ids`` times."""
    members = {"vocab_size": ids, "vocabulary": (type(kind.vocabulary[0])(low=0, high=ids),), "ragged": ragged}
    model: HashModel = type(f"Guessable{kind.__name__}", (kind,), members)()
    return model


MODELS = tuple(guessable(kind, ids) for kind in (HashModel, NumpyHashModel) for ids in (2, 5, 251))


def ids_for(plan: Plan, model: Any, rows: int = 1, seed: int = 0) -> Ids:
    """Random ids for the given slots, int64 [rows, G]."""
    return np.random.default_rng(seed).integers(0, model.vocab_size, (rows, int(np.diff(plan.given, axis=1).sum())))


def step_by_step(plan: Plan, model: Any, given: Ids, **options: Any) -> Ids:
    """The tokens of replay, int64 [B, T, h, w]."""
    prepared = executor.prepare(plan, model, **options)
    return executor.replay(prepared, executor.new_state(prepared, given)).tokens


def speculated(
    plan: Plan, model: Any, given: Ids, speculation: Speculation, *, trace: bool = False, **options: Any
) -> speculative.Speculated:
    """The outcome of speculative replay."""
    prepared = speculative.prepare(plan, model, speculation, **options)
    return speculative.replay(prepared, speculative.new_state(prepared, given), trace=trace)


@st.composite
def speculations(draw: st.DrawFn, *, widest: int = 90) -> Speculation:
    """Any speculation, windows beyond the plan included."""
    return Speculation(
        window=draw(st.integers(1, 12) | st.integers(1, widest)),
        draft=draw(st.sampled_from(DRAFTS)),
        across_frames=draw(st.booleans()),
        adaptive=draw(st.booleans()),
    )
