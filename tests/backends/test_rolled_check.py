"""A rollout's tokens, derived anew window by window."""

import re
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch")

from diagplan import Diagonal, Greedy, NextToken, Sample
from diagplan.backends.errors import MismatchError
from diagplan.backends.rolled_check import check_rolled
from diagplan.backends.rolling import roll
from diagplan.planner.layout import Layout
from diagplan.planner.rollout import compile_rollout
from diagplan.planner.speculation import Speculation
from tests.backends.test_speculative import small_model

WINDOW = Layout(frames=2, rows=2, cols=3, prompt_frames=1, between_frames=1)
ROLLOUT = compile_rollout(WINDOW, NextToken(), frames=5, prompt_frames=2)
PROMPT = np.arange(24).reshape(2, 2, 2, 3) % 7
ACTIONS = np.arange(6)[:, None] % 7


@pytest.mark.parametrize("sampler", [Greedy(), Sample(), Sample(top_p=0.7)])
@pytest.mark.parametrize("speculation", [None, Speculation(window=5)])
def test_tokens_of_a_rollout_are_the_model_s(sampler: Any, speculation: Any) -> None:
    model = small_model()
    options: dict[str, Any] = {"sampler": sampler, "seed": 3, "samples": [5, 8]}
    done = roll(ROLLOUT, model, PROMPT, ACTIONS, speculation=speculation, **options)
    report = check_rolled(ROLLOUT, model, done.tokens, PROMPT, ACTIONS, **options)
    assert (report.ok, report.tokens, report.first) == (True, 2 * 5 * 6, 60)
    assert str(report).startswith("checked: 60 of 60 tokens are the first choice of a teacher-forced pass")
    if isinstance(sampler, Sample):  # the noise is that of the seed and of the whole video's slots
        assert not check_rolled(ROLLOUT, model, done.tokens, PROMPT, ACTIONS, **{**options, "seed": 4}).ok


def test_a_wrong_token_is_told_with_its_slot_of_the_video() -> None:
    model = small_model()
    done = roll(ROLLOUT, model, PROMPT, ACTIONS)
    wrong = done.tokens.copy()
    wrong[1, 4, 1, 2] = (wrong[1, 4, 1, 2] + 1) % 7
    report = check_rolled(ROLLOUT, model, wrong, PROMPT, ACTIONS)
    assert not report.ok
    assert (report.above[0].sample, report.above[0].slot) == (1, 6 * WINDOW.frame_stride + 5)
    assert report.first == 59
    assert "not the model's tokens: 1 of 60 fall short" in str(report)


def test_one_window_is_the_plan_alone() -> None:
    from diagplan.models.token_check import check_tokens

    model, whole = small_model(), compile_rollout(WINDOW, Diagonal(k=1), frames=2, prompt_frames=1)
    (plan,) = whole.plans
    tokens = np.random.default_rng(0).integers(0, 7, (1, 2, 2, 3))
    one = check_rolled(whole, model, tokens, PROMPT[:1, :1], ACTIONS[:2])
    assert one == check_tokens(plan, model, tokens, PROMPT[:1, :1], ACTIONS[:2])


def test_shapes_are_checked() -> None:
    model = small_model()
    tokens = np.zeros((3, 5, 2, 3), dtype=np.int64)
    with pytest.raises(MismatchError, match=re.escape("for all samples or for each of 3, got 2")):
        check_rolled(ROLLOUT, model, tokens, PROMPT, ACTIONS)
    with pytest.raises(MismatchError, match="expected tokens"):
        check_rolled(ROLLOUT, model, tokens[:, :4], PROMPT, ACTIONS)
