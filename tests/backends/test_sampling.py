"""Choosing a token: a pure function of logits and a key, the same in NumPy and in torch."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

torch = pytest.importorskip("torch")

from diagplan.backends.sampling import (  # noqa: E402
    Greedy,
    Sample,
    Sampler,
    keys_for,
    numpy_choose,
    numpy_gumbel,
    torch_choose,
    torch_gumbel,
)
from diagplan.planner.errors import SpecError  # noqa: E402

SEEDS, SAMPLES, SLOTS = np.array([3, 3, 4]), np.array([0, 1, 0]), np.array([17, 5, 900, 6])
KEYS = torch.from_numpy(keys_for(SEEDS, SAMPLES, SLOTS))


def logits_like(vocab: int, seed: int = 0, scale: float = 2.0) -> np.ndarray:
    return scale * np.random.default_rng(seed).standard_normal((3, 4, vocab)).astype(np.float32)


@pytest.mark.parametrize(
    "sampler",
    [
        Greedy(),
        Sample(),
        Sample(temperature=0.3),
        Sample(top_k=7),
        Sample(top_p=0.7),
        Sample(top_p=0.7, crossing="drop"),
        Sample(min_p=0.4),
        Sample(temperature=1.3, top_k=9, top_p=0.8, min_p=0.1),
    ],
    ids=repr,
)
@given(seed=st.integers(0, 1000), low=st.integers(0, 20), span=st.integers(1, 40))
def test_numpy_equals_torch(sampler: Sampler, seed: int, low: int, span: int) -> None:
    logits = logits_like(64, seed)
    got = torch_choose(torch.from_numpy(logits), sampler, KEYS, (low, low + span)).numpy()
    np.testing.assert_array_equal(got, numpy_choose(logits, sampler, KEYS.numpy(), (low, low + span)))
    assert (got >= low).all()
    assert (got < low + span).all()


def test_noise_is_the_same_in_numpy_and_torch() -> None:
    noise = numpy_gumbel(KEYS.numpy(), 3, 500)
    np.testing.assert_allclose(torch_gumbel(KEYS, 3, 500).numpy(), noise, rtol=1e-12)
    np.testing.assert_array_equal(numpy_gumbel(KEYS.numpy(), 0, 500)[..., 3:], noise)
    assert np.isfinite(noise).all()


def test_noise_is_standard_gumbel_and_independent() -> None:
    """Mean 0.5772, variance pi^2 / 6; no correlation between neighbouring seeds, samples, slots or ids."""
    noise = numpy_gumbel(keys_for(np.arange(20), np.arange(20), np.arange(50)), 0, 400)
    assert abs(noise.mean() - 0.5772) < 0.01
    assert abs(noise.var() - np.pi**2 / 6) < 0.02
    for axis in range(3):
        shifted = np.roll(noise, 1, axis=axis)
        assert abs(np.corrcoef(noise.ravel(), shifted.ravel())[0, 1]) < 0.006
    one = numpy_gumbel(keys_for(np.array([1, 2]), np.array([2, 1]), np.array([0])), 0, 400)
    assert abs(np.corrcoef(one[0, 0], one[1, 0])[0, 1]) < 0.2


def test_frequencies_are_the_softmax() -> None:
    logits = np.array([0.0, 1.0, 2.0, -1.0])
    slots = np.arange(40_000)
    keys = torch.from_numpy(keys_for(np.array([1]), np.array([0]), slots))
    chosen = torch_choose(torch.from_numpy(logits).expand(1, len(slots), 4), Sample(temperature=0.8), keys, (0, 4))
    share = np.bincount(chosen[0].numpy(), minlength=4) / len(slots)
    want = np.exp(logits / 0.8) / np.exp(logits / 0.8).sum()
    np.testing.assert_allclose(share, want, atol=0.01)


@pytest.mark.parametrize(
    ("sampler", "kept"),
    [
        (Sample(top_k=2), {0, 1}),
        (Sample(top_k=3), {0, 1, 2, 3}),  # ids 2 and 3 are tied at the third place
        (Sample(top_p=0.5), {0}),  # id 0 has half: the sum before id 1 is not above top_p until 0.5 is passed
        (Sample(top_p=0.6), {0, 1}),  # id 1 crosses and is kept
        (Sample(top_p=0.6, crossing="drop"), {0}),  # id 1 crosses and is dropped
        (Sample(top_p=0.1, crossing="drop"), {0}),  # the most probable id always stays
        (Sample(top_p=1.0), {0, 1, 2, 3, 4}),
        (Sample(top_k=2, top_p=0.7), {0, 1}),  # of 0.668 and 0.332, which is what top-k leaves, id 1 crosses
        (Sample(top_k=2, top_p=0.66), {0}),  # of all five ids, id 1 would cross at 0.66 too
        (Sample(min_p=0.3), {0, 1}),
        (Sample(min_p=0.15), {0, 1, 2, 3}),
        (Sample(temperature=0.5, min_p=0.3), {0}),  # after the temperature: 0.62 against 0.25 squared
        (Sample(top_k=4, min_p=0.05), {0, 1, 2, 3}),
    ],
    ids=repr,
)
def test_what_top_k_and_top_p_keep(sampler: Sample, kept: set[int]) -> None:
    probabilities = np.array([0.501, 0.249, 0.1, 0.1, 0.05])
    slots = np.arange(3000)
    keys = torch.from_numpy(keys_for(np.array([2]), np.array([0]), slots))
    logits = torch.from_numpy(np.log(probabilities)).expand(1, len(slots), 5)
    assert set(torch_choose(logits, sampler, keys, (0, 5))[0].tolist()) == kept


@given(
    seed=st.integers(0, 1 << 30), temperature=st.floats(0.2, 3), top_k=st.none() | st.integers(1, 40),
    top_p=st.none() | st.floats(0.05, 0.99), min_p=st.none() | st.floats(0.01, 0.9),
)  # fmt: skip
def test_what_is_kept_is_what_transformers_keeps(
    seed: int, temperature: float, top_k: int | None, top_p: float | None, min_p: float | None
) -> None:
    processors = pytest.importorskip("transformers").generation.logits_process
    logits = torch.from_numpy(np.random.default_rng(seed).normal(size=(1, 32)) * 2)
    x = processors.TemperatureLogitsWarper(temperature)(None, logits)
    if top_k is not None:
        x = processors.TopKLogitsWarper(top_k)(None, x)
    if top_p is not None:
        x = processors.TopPLogitsWarper(top_p)(None, x)
    if min_p is not None:
        x = processors.MinPLogitsWarper(min_p)(None, x)
    sampler = Sample(temperature=temperature, top_k=top_k, top_p=top_p, min_p=min_p)
    keys = torch.from_numpy(keys_for(np.array([seed]), np.array([0]), np.arange(40)))
    kept = torch.isfinite(x)
    chosen = torch_choose(logits[:, None].expand(1, 40, 32), sampler, keys, (0, 32))
    noisy = torch.where(kept, logits / temperature, float("-inf")) + torch_gumbel(keys, 0, 32)[0]
    assert chosen[0].tolist() == noisy.argmax(dim=-1).tolist()


def test_ranges_by_target() -> None:
    logits = torch.from_numpy(logits_like(10))
    ranges = torch.tensor([[0, 3], [3, 4], [5, 10], [2, 9]])
    for sampler in (Greedy(), Sample(), Sample(top_k=2), Sample(top_p=0.5)):
        chosen = torch_choose(logits, sampler, KEYS, ranges)
        assert (chosen >= ranges[:, 0]).all()
        assert (chosen < ranges[:, 1]).all()
        again = numpy_choose(logits.numpy(), sampler, KEYS.numpy(), ranges.numpy())
        np.testing.assert_array_equal(again, chosen.numpy())


def test_equal_logits_take_the_smallest_id() -> None:
    assert torch_choose(torch.zeros(3, 4, 9), Greedy(), KEYS, (2, 9)).flatten().tolist() == [2] * 12


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"temperature": 0.0}, "expected temperature > 0, got temperature=0.0"),
        ({"temperature": float("nan")}, "expected temperature > 0, got temperature=nan"),
        ({"top_k": 0}, "expected top_k >= 1, got top_k=0"),
        ({"top_p": 0.0}, "expected 0 < top_p <= 1, got top_p=0.0"),
        ({"top_p": 1.1}, "expected 0 < top_p <= 1, got top_p=1.1"),
        ({"min_p": 0.0}, "expected 0 < min_p <= 1, got min_p=0.0"),
        ({"crossing": "maybe"}, "expected crossing to be 'keep' or 'drop', got crossing='maybe'"),
    ],
)
def test_wrong_options(options: dict[str, float], message: str) -> None:
    with pytest.raises(SpecError, match=message.replace("(", r"\(")):
        Sample(**options)  # type: ignore[arg-type]
