"""A plan laid out for a model: shapes, guidance, frames that complete, what is refused."""

import re
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from diagplan import Diagonal, Layout, MismatchError, NextToken, NumericError, SpecError, compile_plan  # noqa: E402
from diagplan.backends.errors import CapacityError  # noqa: E402
from diagplan.backends.memory import estimate_memory  # noqa: E402
from diagplan.backends.prepared import choose, forward, know, new_state, not_finite, prepare, too_large  # noqa: E402
from diagplan.backends.replay import replay  # noqa: E402
from diagplan.backends.sampling import Sample  # noqa: E402
from diagplan.examples.image_model import IMAGE_IDS, ImageModel  # noqa: E402

LAYOUT = Layout(frames=1, rows=3, cols=4, lead=2, between_rows=1)
PLAN = compile_plan(LAYOUT, Diagonal(k=1))
GIVEN = np.array([[50, 51, IMAGE_IDS, IMAGE_IDS]])


@pytest.fixture
def model() -> ImageModel:
    return ImageModel.random(LAYOUT.positions)


def test_passes_are_the_plans_steps(model: ImageModel) -> None:
    prepared = prepare(PLAN, model)
    assert [p.step for p in prepared.passes] == list(range(PLAN.steps))
    assert [p.frames for p in prepared.passes] == [()] * (PLAN.steps - 1) + [(0,)]
    targets = np.concatenate([prepared.runtime.numpy(p.target) for p in prepared.passes])
    assert sorted(targets.tolist()) == sorted(LAYOUT.cell_slots().ravel().tolist())
    assert prepared.cache_slots % prepared.runtime.length_step == 0


def test_a_pass_is_forward_choose_know(model: ImageModel) -> None:
    prepared = prepare(PLAN, model)
    state = new_state(prepared, GIVEN)
    with prepared.runtime.inference():
        for p in prepared.passes:
            logits = forward(prepared, state, p)
            assert logits is not None
            know(prepared, state, p, choose(prepared, p, logits))
    cells = state.tokens[:, LAYOUT.cell_slots().ravel()]
    assert cells.min() >= 0
    assert cells.max() < IMAGE_IDS


def test_guidance_mixes_the_halves_of_a_batch(model: ImageModel) -> None:
    prepared = prepare(PLAN, model, guidance=3.0)
    assert (prepared.batch, prepared.rows) == (1, 2)
    logits = torch.tensor([[[1.0, 4.0]], [[3.0, 2.0]]])
    np.testing.assert_allclose(prepared.mix.logits(logits, 0, prepared.runtime), [[[-3.0, 8.0]]])
    assert prepare(PLAN, model).mix.logits(logits, 0, prepared.runtime) is logits
    three = prepare(PLAN, model, guidance=(3.0, -1.5, -0.5))
    assert three.rows == 3
    np.testing.assert_allclose(three.mix.logits(torch.cat([logits, logits[:1] + 1]), 0, three.runtime), [[[-2.5, 6.5]]])


def test_ids_outside_the_vocabulary_are_refused(model: ImageModel) -> None:
    prepared = prepare(PLAN, model)
    for bad in (-1, model.vocab_size):
        with pytest.raises(MismatchError, match=f"expected given ids from 0 to {model.vocab_size - 1}, got "):
            new_state(prepared, np.where(GIVEN == 50, bad, GIVEN))
    with pytest.raises(MismatchError, match=r"expected given ids of shape \[1, 4\], got \[1, 3\]."):
        new_state(prepared, GIVEN[:, :3])


def test_a_plan_longer_than_the_model(model: ImageModel) -> None:
    longer = compile_plan(Layout(frames=1, rows=4, cols=4, lead=2, between_rows=1), NextToken())
    with pytest.raises(MismatchError, match=f"expected a plan of at most {LAYOUT.positions} positions"):
        prepare(longer, model)
    with pytest.raises(SpecError, match=r"expected 0 <= seed < 2\*\*63, got seed=-1."):
        prepare(PLAN, model, seed=-1)


def test_too_little_memory_is_told_by_the_estimate_of_these_rows_and_this_chunk(model: ImageModel) -> None:
    error = too_large(RuntimeError("DefaultCPUAllocator: not enough memory"), PLAN, model, 600, 2)
    assert isinstance(error, CapacityError)
    assert f"at least {estimate_memory(model, PLAN, 600, chunk=2)}, for 600 row(s) of batch" in str(error)
    assert str(estimate_memory(model, PLAN, 600, chunk=2)) != str(estimate_memory(model, PLAN, 300, chunk=512))
    other = RuntimeError("shapes differ")
    assert too_large(other, PLAN, model, 1, 512) is other


def test_rows_count_under_guidance_where_memory_ends(model: ImageModel, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise MemoryError

    prepared = prepare(PLAN, model, batch=3, guidance=2.0, chunk=4)
    monkeypatch.setattr(ImageModel, "new_cache", full)
    with pytest.raises(CapacityError, match=r"for 6 row\(s\) of batch"):
        new_state(prepared, np.repeat(GIVEN, 6, axis=0))


def test_the_error_of_a_pass_names_its_step() -> None:
    error = not_finite(7)
    assert isinstance(error, NumericError)
    assert "at step 7" in str(error)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"chunk": 0}, "expected chunk >= 1, got chunk=0."),
        ({"batch": 0}, "expected batch >= 1, got batch=0."),
        ({"batch": 1.5}, "expected batch to be an integer, got batch=1.5."),
        ({"seed": "a"}, "expected seed to be an integer, got seed='a'."),
        ({"seed": 1.5}, "expected seed to be an integer, got seed=1.5."),
        ({"seed": 10**400}, "expected 0 <= seed < 2**63, got seed=a number of 1329 bits."),
        ({"chunk": 1.5}, "expected chunk to be an integer, got chunk=1.5."),
        ({"chunk": "4"}, "expected chunk to be an integer, got chunk='4'."),
        ({"batch": True}, "expected batch to be an integer, got batch=True."),
        ({"seed": True}, "expected seed to be an integer, got seed=True. Give a whole number from 0 to 2**63 - 1."),
        ({"guidance": True}, "expected guidance to be a finite number, got guidance=True. Give a scale, or none."),
        ({"guidance": 10**400}, "expected guidance to be a finite number, got guidance=a number of 1329 bits."),
        ({"static": "no"}, "expected static to be True, False or None, got static='no'."),
        ({"sampler": "greedy"}, "expected sampler"),
        ({"samples": 3}, "expected samples"),
        ({"samples": [0, 1]}, "expected the numbers of 1 sample(s), got 2. Give each its own."),
        ({"samples": [-1]}, "expected samples >= 0, got samples=-1."),
        ({"samples": [0.5]}, "expected samples to be an integer, got samples=0.5."),
    ],
)
def test_wrong_arguments_are_refused_at_the_call(model: ImageModel, options: dict[str, Any], message: str) -> None:
    with pytest.raises((SpecError, MismatchError), match=re.escape(message)):
        prepare(PLAN, model, **options)


def test_given_ids_are_integers(model: ImageModel) -> None:
    with pytest.raises(MismatchError, match="expected given ids as integers, got dtype float64"):
        new_state(prepare(PLAN, model), GIVEN + 0.5)


def test_a_sample_keeps_its_tokens_at_any_place(model: ImageModel) -> None:
    def tokens(samples: list[int] | None, batch: int) -> list[list[int]]:
        prepared = prepare(PLAN, model, sampler=Sample(temperature=2.0), seed=5, batch=batch, samples=samples)
        return replay(prepared, new_state(prepared, np.repeat(GIVEN, batch, axis=0))).tokens.reshape(batch, -1).tolist()

    first = tokens(None, 4)
    assert len({*map(tuple, first)}) == 4
    assert tokens([3, 1], 2) == [first[3], first[1]]
    assert tokens([2, 2, 0], 3) == [first[2], first[2], first[0]]


def test_each_sample_may_have_a_seed_of_its_own(model: ImageModel) -> None:
    sampler, given = Sample(temperature=1.0), np.repeat(GIVEN, 3, axis=0)
    prepared = prepare(PLAN, model, sampler=sampler, seed=[7, 8, 7], batch=3, samples=[0, 0, 0])
    tokens = replay(prepared, new_state(prepared, given)).tokens
    for row, seed in enumerate((7, 8, 7)):
        alone = prepare(PLAN, model, sampler=sampler, seed=seed)
        assert (tokens[row] == replay(alone, new_state(alone, GIVEN)).tokens[0]).all()
    assert (tokens[0] != tokens[1]).any()


@pytest.mark.parametrize(("seeds", "error"), [([1, 2], MismatchError), ([1, -2, 3], SpecError), ("123", SpecError)])
def test_seeds_are_one_for_each_sample(model: ImageModel, seeds: Any, error: type[Exception]) -> None:
    with pytest.raises(error, match="expected"):
        prepare(PLAN, model, seed=seeds, batch=3)
