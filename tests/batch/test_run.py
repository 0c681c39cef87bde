"""A batch from jobs to a folder, with processes: without a model, and the shipped one under a kill."""

import json
import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from diagplan.backends.errors import CapacityError, MismatchError
from diagplan.batch import Recipe, Summary, run_batch
from diagplan.batch import run as batch_run
from diagplan.batch.messages import Outcome
from diagplan.batch.tally import Progress
from diagplan.planner.errors import DocumentError, SpecError
from tests.packaging.test_layering import ROOT
from tests.support.batch import STUB, outputs, small_batch, worker_pids, write_jobs


@pytest.fixture(autouse=True)
def _no_worker_stays(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.syspath_prepend(str(ROOT))
    yield
    assert worker_pids() == []


def stubbed(folder: Path, *texts: str | None, **more: Any) -> Summary:
    entries = [{"id": f"j{i}", "video": "v"} | ({} if text is None else {"text": text}) for i, text in enumerate(texts)]
    jobs = write_jobs(folder / "jobs.jsonl", entries)
    return run_batch(jobs, folder / "out", more.pop("recipe", Recipe(batch=2)), opener=STUB, **more)


def errors(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "out" / "errors.jsonl").read_text().splitlines()]


def test_jobs_that_kill_their_worker_and_jobs_that_are_wrong_harm_no_other(tmp_path: Path) -> None:
    texts = (None, "wrong", None, "kill once", None, "kill", None, "raise", None)
    summary = stubbed(tmp_path, *texts, workers=2)
    assert (summary.clips, summary.there, summary.wrong, summary.stopped) == (6, 0, 3, False)
    assert summary.losses >= 7  # once with others and twice alone, or three times alone; and once more
    by_id = {entry["id"]: entry["error"] for entry in errors(tmp_path)}
    assert set(by_id) == {"j1", "j5", "j7"}
    assert by_id["j1"] == "expected a clip, got none."
    assert "ended by signal 9" in by_id["j5"]
    assert "LookupError: a fault" in by_id["j7"]
    assert json.loads((tmp_path / "out" / "summary.json").read_text()) == summary.document()
    again = stubbed(tmp_path, *(None for _ in texts))
    assert (again.clips, again.there, again.wrong) == (3, 6, 0)
    assert not (tmp_path / "out" / "errors.jsonl").exists()


def test_max_errors_and_progress(tmp_path: Path) -> None:
    seen: list[Progress] = []
    summary = stubbed(tmp_path, *["wrong", None] * 10, max_errors=1, on_progress=seen.append)
    assert summary.stopped
    assert summary.wrong == 2
    assert summary.clips < 10
    assert seen[-1].wrong == 2
    assert 0 < seen[-1].share < 1
    assert seen[-1].workers == 1


@pytest.mark.parametrize(
    ("model", "text", "error"),
    [("broken", None, DocumentError), ("dies", None, CapacityError), ("crafter-mini", "full", DocumentError)],
)
def test_what_would_go_wrong_with_every_job_ends_it(tmp_path: Path, model: str, text: str, error: Any) -> None:
    with pytest.raises(error, match=r"expected|The disk is full"):
        stubbed(tmp_path, text, None, recipe=Recipe(model=model))
    assert (tmp_path / "out").exists() == (text == "full")  # the folder is new: empty it is of no use


def test_a_folder_of_another_batch_is_refused(tmp_path: Path) -> None:
    stubbed(tmp_path, None)
    with pytest.raises(MismatchError, match=r"with recipe.frames=null, not 3. Clips of one folder are made by one"):
        stubbed(tmp_path, None, recipe=Recipe(frames=3))
    with pytest.raises(MismatchError, match=r'with model.weights="crafter-mini", not "other"'):
        stubbed(tmp_path, None, recipe=Recipe(model="other"))
    (tmp_path / "out" / "batch.json").write_text("{")
    with pytest.raises(DocumentError, match="cannot read"):
        stubbed(tmp_path, None)


@pytest.mark.parametrize("wrong", [{"workers": 0}, {"max_errors": -1}, {"gpus_per_worker": 0}, {"recipe": None}])
def test_arguments(tmp_path: Path, wrong: Any) -> None:
    with pytest.raises(SpecError, match="expected"):
        stubbed(tmp_path, None, **wrong)


def test_an_interrupt_says_what_is_finished(tmp_path: Path) -> None:
    def interrupt(progress: Progress) -> None:
        if progress.done >= 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt, match=r"\d clips in .* are finished; the same command does the rest."):
        stubbed(tmp_path, *[None] * 6, on_progress=interrupt)
    assert stubbed(tmp_path, *[None] * 6).there >= 2


def test_errors_that_cannot_be_written_down_end_it(tmp_path: Path) -> None:
    if not Path("/dev/full").exists():
        pytest.skip("this system has no /dev/full")
    with pytest.raises(DocumentError, match=r"cannot write /dev/full: No space left on device"):
        batch_run._Errors(Path("/dev/full")).add(Outcome(number=1, id="a", state="wrong", message="m"))


def test_clips_are_the_same_with_two_workers_one_of_which_is_killed(tmp_path: Path) -> None:
    for name in ("torch", "av", "safetensors"):
        pytest.importorskip(name)
    if not Path("/proc/self/stat").exists():
        pytest.skip("this system has no /proc, in which workers are found")
    from diagplan.batch.clips import open_clips
    from diagplan.batch.jobs import Job, job_source

    jobs, recipe = small_batch(tmp_path, 6)
    work = open_clips(recipe, tmp_path / "one")
    for job in job_source(jobs):  # each alone, in this process
        assert isinstance(job, Job)
        work.do([job])

    def kill() -> None:
        while not list((tmp_path / "two").rglob("*.npy")):
            time.sleep(0.01)
        os.kill(worker_pids()[0], signal.SIGKILL)

    killer = threading.Thread(target=kill)
    killer.start()
    two = run_batch(jobs, tmp_path / "two", recipe, workers=2)
    killer.join()
    assert (two.clips, two.wrong, two.losses) == (6, 1, 1)
    assert outputs(tmp_path / "one") == outputs(tmp_path / "two")
    assert len(outputs(tmp_path / "one")) == 18
