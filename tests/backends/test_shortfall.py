"""The shortfall of a token: none for the sampler's own choice, and about as much as the logits must change for it."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from diagplan.adapters.samplers import Greedy, Sample
from diagplan.backends.sampling import keys_for, numpy_choose, numpy_gumbel
from diagplan.backends.shortfall import shortfalls

IDS = 12


@st.composite
def samplers(draw: st.DrawFn, *, single: bool = False) -> Greedy | Sample:
    if draw(st.booleans()) and draw(st.booleans()):
        return Greedy()
    top_k = draw(st.none() | st.integers(1, IDS + 1))
    return Sample(
        temperature=draw(st.sampled_from((0.3, 1.0, 2.5))),
        top_k=top_k,
        top_p=None if single and top_k else draw(st.none() | st.sampled_from((0.2, 0.5, 0.9, 1.0))),
        crossing=draw(st.sampled_from(("keep", "drop"))),
        min_p=draw(st.none() | st.sampled_from((0.05, 0.5, 1.0))),
    )


def case(seed: int, rows: int = 16) -> tuple[Any, Any, Any]:
    rng = np.random.default_rng(seed)
    logits = rng.normal(scale=2.0, size=(rows, IDS)).round(int(rng.integers(0, 4)))  # rounded: with ties
    low = rng.integers(0, IDS - 1, rows)
    allowed = np.stack([low, rng.integers(low + 1, IDS + 1)], axis=1)
    return logits, keys_for(np.array([seed]), np.array([0]), np.arange(rows))[0], allowed


def chosen(logits: Any, sampler: Greedy | Sample, keys: Any, allowed: Any) -> Any:
    return numpy_choose(logits[None], sampler, keys[None], allowed)[0]


@given(samplers(), st.integers(0, 10_000))
def test_the_first_choice_falls_short_by_nothing(sampler: Greedy | Sample, seed: int) -> None:
    logits, keys, allowed = case(seed)
    tokens = chosen(logits, sampler, keys, allowed)
    short, best = shortfalls(logits, tokens, sampler, keys, allowed)
    assert (short == 0).all()
    assert (best == tokens).all()


@given(samplers(), st.integers(0, 10_000), st.integers(0, IDS - 1))
def test_any_other_token_names_the_first_choice(sampler: Greedy | Sample, seed: int, add: int) -> None:
    logits, keys, allowed = case(seed)
    tokens = np.full(len(logits), add)
    short, best = shortfalls(logits, tokens, sampler, keys, allowed)
    first = chosen(logits, sampler, keys, allowed)
    assert (best == first).all()
    assert (short >= 0).all()
    outside = (tokens < allowed[:, 0]) | (tokens >= allowed[:, 1])
    assert np.isinf(short[outside]).all()
    assert np.isfinite(short[~outside]).all()
    if isinstance(sampler, Greedy):
        inside = np.flatnonzero(~outside)
        np.testing.assert_allclose(short[inside], logits[inside, first[inside]] - logits[inside, add], atol=1e-12)


@settings(max_examples=300)
@given(samplers(single=True), st.integers(0, 10_000), st.sampled_from((1e-6, 1e-3, 0.05)))
def test_what_noise_in_the_logits_changes_falls_short_by_little(
    sampler: Greedy | Sample, seed: int, noise: float
) -> None:
    """A token chosen from logits that are ``noise`` off at most. (Ties at top-k change top-p's sum at one blow.)"""
    logits, keys, allowed = case(seed)
    moved = logits + np.random.default_rng(seed + 1).uniform(-noise, noise, logits.shape)
    tokens = chosen(moved, sampler, keys, allowed)
    short, _ = shortfalls(logits, tokens, sampler, keys, allowed)
    assert short.max() <= 2 * noise * 1.001 + 1e-9 * (not isinstance(sampler, Greedy))


LOGITS = np.array([[4.0, 3.5, 1.0, 0.0]])
ALL = np.array([[0, 4]])
SHARE = float(np.exp(LOGITS[0, 0]) / np.exp(LOGITS[0]).sum())


@pytest.mark.parametrize(
    ("sampler", "token", "short"),
    [
        (Greedy(), 1, 0.5),
        (Sample(top_k=1), 1, 0.5),  # it is cut by so much
        (Sample(min_p=1.0), 2, 3.0),
        (Sample(temperature=4.0, top_k=1), 3, 4.0),  # in units of the logits, not of the scores
        (Sample(top_p=0.5), 1, np.log(SHARE / (1 - SHARE))),  # the first alone has more than half, but not by much
    ],
)
def test_by_hand(sampler: Greedy | Sample, token: int, short: float) -> None:
    """The noise is for the token here: it would be chosen, were it not cut."""
    number = next(
        slot for slot in range(1000) if chosen(LOGITS, Sample(temperature=4.0), _key(slot), np.array([[0, 4]])) == token
    )
    got, best = shortfalls(LOGITS, np.array([token]), sampler, _key(number), np.array([[0, 4]]))
    assert best.tolist() == [0]
    assert got[0] == pytest.approx(short)


def _key(slot: int) -> Any:
    return keys_for(np.array([1]), np.array([0]), np.array([slot]))[0]


def test_an_id_that_no_small_change_would_cut_counts_in_full() -> None:
    """The first of the logits is far from being cut by top-p, so the token that it beats falls short of its score."""
    sampler = Sample(top_p=0.97)
    keys = _key(next(slot for slot in range(1000) if chosen(LOGITS, sampler, _key(slot), ALL) == 0))
    noise = numpy_gumbel(keys, 0, 4)[0]
    got, best = shortfalls(LOGITS, np.array([1]), sampler, keys, ALL)
    assert best.tolist() == [0]
    assert got[0] == pytest.approx(0.5 + noise[0] - noise[1])


def test_where_the_crossing_id_is_dropped_two_that_change_places_may_cut_one() -> None:
    """Passed by the second, which takes 0.5, the first would be the one that crosses 0.97."""
    sampler = Sample(top_p=0.97, crossing="drop")
    keys = _key(next(slot for slot in range(1000) if chosen(LOGITS, sampler, _key(slot), ALL) == 0))
    assert shortfalls(LOGITS, np.array([1]), sampler, keys, ALL)[0][0] == pytest.approx(0.5)
