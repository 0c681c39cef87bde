"""A chain on a model in one call: what is handed on, what is asked of the model, guidance by unconditional ids."""

import re
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from diagplan import (  # noqa: E402
    Diagonal,
    DiagplanError,
    Layout,
    MismatchError,
    NextToken,
    chain_layouts,
    compile_chain,
    compile_plan,
    replay,
    run_chain,
)
from diagplan.backends.chained import replay_chain  # noqa: E402
from diagplan.examples.image_model import ImageModel  # noqa: E402
from tests.support.families import MODELS  # noqa: E402
from tests.support.hash_model import HashModel  # noqa: E402

GRID = Layout(frames=1, rows=2, cols=3, lead=4)
CHAIN = compile_chain(chain_layouts([GRID, GRID], 2), Diagonal(k=1))
GIVEN = np.random.default_rng(1).integers(48, 56, (2, 6))
MODEL = ImageModel.random(60)


def test_it_is_the_replay_of_the_chain() -> None:
    frames: list[Any] = []
    done = run_chain(CHAIN, MODEL, GIVEN, seed=3, samples=[4, 5], on_frame=lambda *frame: frames.append(frame[:2]))
    same = replay_chain(CHAIN, MODEL, GIVEN, batch=2, seed=3, samples=[4, 5])
    for own, other in zip(done.tokens, same.tokens, strict=True):
        assert own.shape == (2, 1, 2, 3)
        np.testing.assert_array_equal(own, other)
    assert frames == [(0, 0), (1, 0)]
    one = run_chain(CHAIN, MODEL, GIVEN[1])
    np.testing.assert_array_equal(one.tokens[1][0], done.tokens[1][1])


def test_each_plan_is_one_that_replay_runs_with_the_tokens_before_it_given() -> None:
    """Where they were predicted one after the other."""
    chain = compile_chain(chain_layouts([GRID, GRID], 2), [NextToken(), Diagonal(k=1)])
    done = run_chain(chain, MODEL, GIVEN[0])
    first = replay(compile_plan(GRID, NextToken()), MODEL, given=GIVEN[0, :4])
    np.testing.assert_array_equal(done.tokens[0], first)
    lead = np.concatenate([GIVEN[0, :4], first.ravel(), GIVEN[0, 4:]])
    np.testing.assert_array_equal(done.tokens[1], replay(chain.plans[1], MODEL, given=lead))


def test_branches_of_guidance() -> None:
    other = np.roll(GIVEN, 1, axis=1)
    done = run_chain(CHAIN, MODEL, GIVEN, guidance=2.0, unconditional=other)
    same = replay_chain(CHAIN, MODEL, np.concatenate([GIVEN, other]), batch=2, guidance=2.0)
    np.testing.assert_array_equal(done.tokens[1], same.tokens[1])
    three = run_chain(CHAIN, MODEL, GIVEN, guidance=[1.5, -1.0, 0.5], unconditional=[other, GIVEN[0]])
    assert three.complete


def test_pads_and_guided_steps_are_handed_on() -> None:
    model = MODELS["mc-ar"](torch.float64)
    ids = np.random.default_rng(2).integers(0, 40, (2, 6))
    options: dict[str, Any] = {"guidance": 3.0, "pad": [0, 2], "guided_steps": (1, 3)}
    done = run_chain(CHAIN, model, ids, unconditional=ids[::-1], **options)
    same = replay_chain(CHAIN, model, np.concatenate([ids, ids[::-1]]), batch=2, **options)
    np.testing.assert_array_equal(done.tokens[1], same.tokens[1])
    for name in ("pad", "guided_steps"):
        other = run_chain(CHAIN, model, ids, unconditional=ids[::-1], **options | {name: None})
        assert any((a != b).any() for a, b in zip(done.tokens, other.tokens, strict=True))


class _Deaf(HashModel):
    """Sees everything, whatever its mask says."""

    def forward(self, ids: Any, position: Any, slot: Any, mask: Any, *rest: Any) -> Any:
        return super().forward(ids, position, slot, torch.ones_like(mask), *rest)


@pytest.mark.parametrize(
    ("model", "given", "options", "error", "message"),
    [
        (MODEL, GIVEN[:, :3], {}, MismatchError, "expected given of shape [6], or with a batch axis in front, got"),
        (MODEL, GIVEN, {"guidance": 2.0}, MismatchError, "expected guidance and unconditional ids together"),
        (MODELS["cosmos"](torch.float32), GIVEN, {}, MismatchError, "expected a plan of 3 x 4 tokens a frame"),
        (_Deaf(), GIVEN, {}, DiagplanError, "expected attention to obey its mask, got a hash model"),
    ],
)
def test_what_does_not_fit(
    model: Any, given: Any, options: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=re.escape(message)):
        run_chain(CHAIN, model, given, **options)
