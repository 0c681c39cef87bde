"""Conditions worked off by several processes: the order, the faults, and that nothing but times depends on it."""

import importlib.util
import re
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch")
for needed in ("av", "matplotlib", "skimage"):
    pytest.importorskip(needed)

import diagplan.study.whole  # noqa: E402
from diagplan.backends.errors import CapacityError, MismatchError  # noqa: E402
from diagplan.batch.jobs import Job, Later  # noqa: E402
from diagplan.batch.messages import Outcome, Told  # noqa: E402
from diagplan.planner.errors import MissingExtraError, SpecError  # noqa: E402
from diagplan.study.conditions import Condition, all_conditions, exact_condition, select  # noqa: E402
from diagplan.study.parallel import Crew, _Queue, run_by_workers, waiting_work, whole_paths  # noqa: E402
from diagplan.study.results import StudyFolder  # noqa: E402
from diagplan.study.run import Study, run_study  # noqa: E402
from diagplan.study.setup import set_up, settings_of  # noqa: E402
from diagplan.study.whole import study_plans  # noqa: E402
from tests.packaging.test_layering import ROOT  # noqa: E402
from tests.support.batch import worker_pids  # noqa: E402
from tests.support.study_work import DYING, STUB, differing, small_study  # noqa: E402

COPY = "policies/previous-frame,refresh,hidden,written"


@pytest.fixture(scope="module")
def options() -> dict[str, Any]:
    return small_study()


@pytest.fixture(scope="module")
def study(options: dict[str, Any]) -> Study:
    return replace(set_up(**options), repeats=0)


@pytest.fixture
def folder(study: Study, tmp_path: Path) -> StudyFolder:
    return StudyFolder(tmp_path / "out", settings_of(study))


@pytest.fixture(autouse=True)
def _no_worker_stays(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.syspath_prepend(str(ROOT))
    yield
    assert worker_pids() == []


def chosen(*only: str) -> list[Condition]:
    return select(all_conditions(3, 4), only)


def ids(some: Any) -> list[str]:
    return [condition.id for condition in some]


# What is given out, and when


def test_next_token_prediction_goes_first_and_then_what_takes_longest() -> None:
    work = {one: 10.0 * int(one.name[-1]) for one in chosen("base/k=1", "base/k=2") if one.name != "ntp"}
    work |= dict.fromkeys(chosen("base/ntp"), 5.0)
    tuned = [replace(one, group="t", model="t") for one in work]
    queue = _Queue(work | dict.fromkeys(tuned, 1.0))
    jobs = queue.jobs()

    def given() -> str:
        entry, _ = next(jobs)
        return entry.id if isinstance(entry, Job) else type(entry).__name__

    assert {given(), given()} == {"base/ntp", "t/ntp"}
    assert [given(), given()] == [Later.__name__] * 2
    queue.finish(Outcome(number=1, id="base/ntp", state="done"))
    assert [given(), given(), given()] == ["base/k=2", "base/k=1", Later.__name__]
    assert queue.names() == ": t/ntp, base/k=2, base/k=1"
    queue.finish(Outcome(number=2, id="t/ntp", state="done"))
    assert {given(), given()} == {"t/k=1", "t/k=2"}
    assert queue.names() == ": base/k=2, base/k=1, t/k=1 and 1 more"
    assert list(jobs) == []
    assert (queue.gained(), queue.gained()) == (6.0, 0.0)
    for passes, gained in ((7, 7.0), (3, -4.0), (999, 17.0)):  # of 20; its worker was lost in between
        queue.tell(Told(id="base/k=2", passes=passes, of=0, frames=0))
        assert queue.gained() == gained
    queue.finish(Outcome(number=3, id="base/k=2", state="done"))
    queue.tell(Told(id="base/k=2", passes=5, of=0, frames=0))  # too late
    assert queue.gained() == 0.0


def test_what_is_done_or_needs_no_replay_is_not_given_out(study: Study, folder: StudyFolder) -> None:
    every = [*chosen("base/k=2", COPY), exact_condition("base", "auto")]
    assert ids(waiting_work(study, folder, every)) == ["base/ntp", "base/k=2"]
    run_study(study, folder, every[:1])
    work = waiting_work(study, folder, every)
    assert ids(work) == ["base/k=2"]
    assert all(passes > 0 for passes in work.values())
    run_study(study, folder, every[:2])
    assert ids(waiting_work(study, folder, every)) == []  # the copy too has only to be written
    more = replace(study, extras={"fvd": ("d", lambda _: {"value": 1.0})})
    assert {one.id: passes for one, passes in waiting_work(more, folder, every).items()} == {
        "base/ntp": 0.0,
        "base/k=2": 0.0,
    }


def test_paths_are_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("own", "cosmos"):
        Path(name).mkdir()
    Path("sizes.json").touch()
    given = {"model": "own", "clips": Path("c"), "config": "sizes.json", "tuned": {"t": Path("own")}, "rule": "own"}
    assert whole_paths(given) == {
        "model": str(tmp_path / "own"), "clips": tmp_path / "c", "config": str(tmp_path / "sizes.json"),
        "tuned": {"t": tmp_path / "own"}, "rule": "own",
    }  # fmt: skip
    for model in ("cosmos", "crafter-mini"):  # names, whatever lies there
        assert whole_paths({"model": model, "config": "300M_16f"}) == {
            "model": model, "config": "300M_16f", "tuned": {},
        }  # fmt: skip


def test_crews() -> None:
    assert Crew().alone
    assert not Crew(workers=2).alone
    with pytest.raises(SpecError, match="expected workers >= 1, got workers=0"):
        Crew(workers=0)
    with pytest.raises(SpecError, match="expected gpus_per_worker > 0, got gpus_per_worker=0"):
        Crew(gpus_per_worker=0)
    if importlib.util.find_spec("ray") is None:
        with pytest.raises(MissingExtraError, match=re.escape("pip install 'diagplan[batch]'")):
            Crew(ray="local")


# Faults


def stubbed(
    study: Study, folder: StudyFolder, faults: dict[str, str], *, workers: int = 2, **more: Any
) -> tuple[int, int]:
    options = {"model": "crafter-mini", "faults": faults, "identity": more.pop("identity", settings_of(study))}
    conditions = chosen("base/k=*")
    return run_by_workers(study, folder, conditions, options, Crew(workers=workers), opener=STUB, **more)


def lines(folder: StudyFolder, name: str) -> list[str]:
    path = folder.folder / name
    return path.read_text().split() if path.exists() else []


def test_a_worker_that_dies_is_replaced_and_its_condition_is_done_again(study: Study, folder: StudyFolder) -> None:
    told: list[tuple[str, float]] = []
    every = waiting_work(study, folder, chosen("base/k=*"))
    ran, losses = stubbed(study, folder, {"base/k=2": "kill once"}, on_progress=lambda *now: told.append(now))
    assert (ran, losses) == (len(every), 1)
    given, done = lines(folder, "given.txt"), lines(folder, "done.txt")
    assert given[0] == done[0] == "base/ntp"
    assert sorted(given) == sorted([*ids(every), "base/k=2"])
    assert sorted(done) == sorted(ids(every))
    assert sum(passes for _, passes in told) == pytest.approx(sum(every.values()))
    assert any(re.fullmatch(r"replaying with [12] of 2 workers: base/.*", what) for what, _ in told)


@pytest.mark.parametrize("fault", ["wrong", "kill"])
@pytest.mark.parametrize("fatal", ["base/ntp", "base/k=2"])
def test_a_condition_that_cannot_be_done_ends_the_study_with_its_own_error(
    study: Study, folder: StudyFolder, fault: str, fatal: str
) -> None:
    said = f"This was {fatal}; what is finished stays."
    error: Any = MismatchError if fault == "wrong" else CapacityError
    with pytest.raises(error, match=re.escape(said)) as caught:
        stubbed(study, folder, {fatal: fault}, workers=1)
    assert type(caught.value) is error
    expected = "expected tokens, got others" if fault == "wrong" else "to live through this job, got 3 that were lost"
    assert expected in str(caught.value)
    assert len(lines(folder, "given.txt")) < len(chosen("base/k=*")) + 2  # nothing is begun after it
    assert fatal not in lines(folder, "done.txt")
    assert ("base/ntp" in lines(folder, "done.txt")) == (fatal != "base/ntp")


def test_a_worker_that_finds_something_else_is_refused(study: Study, folder: StudyFolder) -> None:
    other = settings_of(study) | {"clips": "others", "torch": "0.1"}
    with pytest.raises(MismatchError, match=r"got one with other clips, torch\. A study has one judge"):
        stubbed(study, folder, {}, identity=other)
    assert lines(folder, "given.txt") == []


def test_an_interrupt_ends_workers_at_once(study: Study, folder: StudyFolder) -> None:
    def interrupt(*_: Any) -> None:
        if lines(folder, "given.txt"):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        stubbed(study, folder, {"base/ntp": "slow"}, on_progress=interrupt)
    assert worker_pids() == []
    assert lines(folder, "done.txt") == []


# The whole


@pytest.mark.slow
def test_results_are_those_of_one_process_though_a_worker_is_killed(
    options: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    only = ["base/k=1", "base/k=2", "base/exact=4", COPY]
    usual: dict[str, Any] = {**options, "only": only, "samples": 1, "windows": [4]}
    monkeypatch.setattr("diagplan.study.plots._png", lambda _: b"")  # drawn from what is compared
    one = study_plans(out=tmp_path / "one", **usual)
    monkeypatch.setattr(diagplan.study.whole, "run_by_workers", partial(run_by_workers, opener=DYING))
    told: list[tuple[str, float, float]] = []
    two = study_plans(out=tmp_path / "two", workers=2, on_progress=lambda *now: told.append(now), **usual)
    assert (two.losses, two.done_before, two.run_now) == (1, 0, 5)
    assert [row.id for row in two.rows] == [row.id for row in one.rows]
    assert differing(tmp_path / "one", tmp_path / "two") == []
    assert all(row.seconds is None is row.faster for row in two.rows)
    assert not any(row.seconds is None for row in one.rows)
    assert "Times are left out (-)" in (tmp_path / "two" / "results.md").read_text()
    assert {path.name for path in one.written} - {path.name for path in two.written} == {"quality-time.png"}
    replayed = [(done, of) for what, done, of in told if what.startswith("replaying")]
    assert replayed[-1][0] == pytest.approx(replayed[-1][1])
