"""Exact conditions: clips replayed alone, compared with next-token prediction, whose figures they take over."""

import re
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from diagplan.backends.errors import MismatchError
from diagplan.planner.speculation import Speculation
from diagplan.study.conditions import exact_condition
from diagplan.study.exact import expected_passes, replay_clips, require_same, same_result
from tests.support.study import result

WAY = Speculation(window=36, draft="above")
CONDITION = exact_condition("t", WAY)


def test_every_clip_is_replayed_alone_and_counted() -> None:
    def replay(clip: int, how: Speculation) -> Any:
        assert how is WAY
        return SimpleNamespace(tokens=np.full((1, 2, 1, 3), clip), seconds=clip + 0.5, passes=clip + 3)

    told: list[None] = []
    done = replay_clips(replay, [0, 2], WAY, on_clip=lambda: told.append(None))
    assert done.tokens[:, 0, 0, 0].tolist() == [0, 2]
    assert (done.seconds, done.passes, len(told)) == ([0.5, 2.5], [3, 5], 2)


def test_other_tokens_than_next_token_prediction_s_are_an_error() -> None:
    own = np.zeros((3, 2, 2, 2), np.int64)
    require_same(CONDITION, own.copy(), own)
    other = own.copy()
    other[1, 1, 0, 1] = other[2, 0, 0, 0] = 7
    said = "expected the tokens of t/ntp from t/exact=36,above, got 2 others of 24, the first in clip 1, frame 1."
    with pytest.raises(MismatchError, match=re.escape(said)):
        require_same(CONDITION, other, own)


def test_figures_are_next_token_prediction_s_and_passes_its_own() -> None:
    ntp = result("t/ntp", loss=1.0)
    replays = {0: (3, 0.5), 1: (4, 0.25), 2: (5, 0.75)}
    clips = replay_clips(
        lambda clip, _: SimpleNamespace(  # type: ignore[arg-type,return-value]
            tokens=np.zeros((1, 2, 1, 1)), passes=replays[clip][0], seconds=replays[clip][1]
        ),
        range(3),
        WAY,
    )
    same = same_result(CONDITION, ntp, WAY, clips)
    assert (same.id, same.passes, same.plan["steps"]) == ("t/exact=36,above", [3, 4, 5], 4.0)
    assert same.seconds == {"clips": [0.5, 0.25, 0.75]}
    assert (same.curves, same.followed, same.single) == (ntp.curves, ntp.followed, ntp.single)
    assert Speculation(**same.plan["speculation"]) == WAY


def test_a_bar_of_progress_has_a_guess() -> None:
    assert expected_passes(WAY, 756) == pytest.approx(756 / 18.95)
    assert expected_passes("auto", 756) == pytest.approx(756 / 20.6)
    assert expected_passes(WAY, 4) == 1
