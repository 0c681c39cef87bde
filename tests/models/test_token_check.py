"""Tokens of a replay derived anew, with the arguments of ``replay``."""

from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from diagplan import Diagonal, Layout, Sample, check_tokens, compile_plan, replay  # noqa: E402
from diagplan.backends.errors import MismatchError  # noqa: E402
from diagplan.examples.image_model import ImageModel  # noqa: E402

PLAN = compile_plan(Layout(frames=1, rows=4, cols=4, lead=3), Diagonal(k=2))
MODEL = ImageModel.random(PLAN.positions)
GIVEN, OTHERS = np.array([[50, 51, 52], [52, 51, 50]]), np.array([49, 49, 49])
SAMPLED: dict[str, Any] = {"sampler": Sample(temperature=1.5, top_p=0.9), "seed": 3, "samples": [5, 1]}


@pytest.mark.parametrize(
    "options",
    [{}, SAMPLED, SAMPLED | {"guidance": 2.0, "unconditional": OTHERS, "guided_steps": (1, None)}],
    ids=["greedy", "sampled", "guided"],
)
def test_what_replay_gives_is_the_models(options: dict[str, Any]) -> None:
    tokens = replay(PLAN, MODEL, given=GIVEN, **options)
    report = check_tokens(PLAN, MODEL, tokens, given=GIVEN, **options)
    assert report.ok
    assert report.tokens == 32
    tokens[1, 0, 2, 3] = (tokens[1, 0, 2, 3] + 1) % 40
    assert not check_tokens(PLAN, MODEL, tokens, given=GIVEN, eps=0, **options).ok
    if options:
        assert not check_tokens(PLAN, MODEL, tokens, given=GIVEN).ok


def test_a_prompt_or_all_given_ids() -> None:
    with pytest.raises(MismatchError, match=r"expected a prompt .and actions. or all given ids"):
        check_tokens(PLAN, MODEL, np.zeros((1, 1, 4, 4), dtype=int))
