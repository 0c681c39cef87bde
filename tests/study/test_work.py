"""What a worker does with the conditions of a study."""

from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch")
for needed in ("av", "skimage"):
    pytest.importorskip(needed)

from diagplan.backends.errors import MismatchError  # noqa: E402
from diagplan.batch.jobs import Job  # noqa: E402
from diagplan.batch.messages import Told  # noqa: E402
from diagplan.study import work as worked  # noqa: E402
from diagplan.study.conditions import all_conditions, select  # noqa: E402
from diagplan.study.results import StudyFolder, untimed  # noqa: E402
from diagplan.study.setup import set_up, settings_of  # noqa: E402
from diagplan.study.work import OPENER, StudyRecipe, open_conditions  # noqa: E402
from tests.support.study_work import small_study  # noqa: E402


def test_a_condition_is_run_once_without_times_and_an_error_is_its_outcome(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = small_study()
    settings = settings_of(set_up(**options))
    folder = StudyFolder(tmp_path / "out", settings)
    conditions = tuple(select(all_conditions(3, 4), ["base/k=1", "base/exact=4"]))
    work = open_conditions(StudyRecipe(options=options, conditions=conditions), tmp_path / "out")
    assert work.identity == settings
    assert f"{worked.__name__}:{open_conditions.__name__}" == OPENER

    def state(name: str) -> Any:
        (outcome,) = work.do([Job(number=3, id=name)])
        assert (outcome.number, outcome.id) == (3, name)
        return outcome.state, outcome.kind, outcome.message

    told: list[Told] = []
    work.tell_by(told.append)
    monkeypatch.setattr(worked, "_PULSE", 0.0)
    written = (tmp_path / "out" / "study.json").stat().st_mtime_ns
    for name in ("base/ntp", "base/k=1", "base/exact=4"):
        assert state(name) == ("done", "", "")
        result = folder.read(name, work.study.bound("base"))
        assert result is not None
        assert (result.seconds, result.timed) == (untimed(), False)
        if name != "base/exact=4":  # whose passes are estimated before
            assert {(one.id, one.passes) for one in told[-1:]} == {(name, result.plan["steps"])}
    assert (tmp_path / "out" / "study.json").stat().st_mtime_ns == written  # the command's alone
    path = folder.path("base/k=1", ".json")
    held = path.stat().st_mtime_ns
    assert state("base/k=1")[0] == "done"  # again, as after an answer that was lost
    assert path.stat().st_mtime_ns == held

    def other(*_: Any) -> None:
        raise MismatchError("expected the tokens, got others. Leave it out.")

    monkeypatch.setattr("diagplan.study.run.require_same", other)
    folder.path("base/exact=4", ".json").unlink()
    assert state("base/exact=4") == ("wrong", "MismatchError", "expected the tokens, got others. Leave it out.")
    assert not folder.path("base/exact=4", ".json").exists()
