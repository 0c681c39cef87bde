"""What goes between processes survives the way."""

import pickle
from pathlib import Path

import pytest

from diagplan import Diagonal
from diagplan.batch.jobs import Job
from diagplan.batch.messages import Failed, Finished, Lost, Opening, Outcome, Ready
from diagplan.batch.recipe import Recipe
from diagplan.planner.policy import Policies
from diagplan.planner.speculation import Speculation

RECIPE = Recipe(schedule=Diagonal(k=2), policies=Policies(), speculation=Speculation(window=4), sampling={"top_k": 3})


@pytest.mark.parametrize(
    "message",
    [
        Opening(opener="a:b", recipe=RECIPE, out=Path("out")),
        Ready(identity={"model": {"weights": "x"}}),
        Finished(outcomes=(Outcome(number=1, id="a", state="done", frames=3),), seconds=1.5),
        Failed(kind="SpecError", message="m"),
        Lost(reason="ended by signal 9"),
        [Job(number=1, id="a", video=Path("v"))],
    ],
    ids=lambda message: type(message).__name__,
)
def test_messages_are_plain_data(message: object) -> None:
    assert pickle.loads(pickle.dumps(message)) == message
