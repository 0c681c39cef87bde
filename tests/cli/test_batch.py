"""`diagplan batch`: options to a recipe, the summary, exit codes."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch")
pytest.importorskip("av")
pytest.importorskip("diffusers")

import diagplan.batch.run as batch_run
from diagplan.batch import Recipe, Summary
from diagplan.batch.tally import WorkerTally
from diagplan.planner.policy import BUNDLES
from diagplan.planner.schedule import Diagonal, NextToken, ZipAR
from diagplan.planner.speculation import Speculation
from tests.support.batch import small_batch, worker_pids
from tests.support.cli import run, run_json

SAMPLING = {"temperature": 2.0, "top_k": 5, "top_p": None, "min_p": None}


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Any]]:
    """What the command asks for; nothing is run."""
    calls: list[Any] = []
    worker = WorkerTally(clips=2, frames=8, tokens=99, passes=4.0, seconds=2.0, losses=1)
    summary = Summary(
        clips=2, there=1, wrong=0, frames=8, tokens=99, passes=4.0, seconds=4.0, opening_seconds=2.0, losses=1,
        stopped=False, workers=(worker,),
    )  # fmt: skip

    def called(jobs: Any, out: Any, recipe: Any, **more: Any) -> Summary:
        calls.append((recipe, more))
        return summary

    monkeypatch.setattr("diagplan.batch.run_batch", called)
    yield calls
    assert batch_run.run_batch is not called


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ((), {"schedule": NextToken(), "sampling": None, "pictures": True}),
        (("--k", 2), {"schedule": Diagonal(k=2), "bundle": None}),
        (("--k", 2, "--d", 5), {"schedule": Diagonal(k=2, d=5)}),
        (("--window", 4), {"schedule": ZipAR(window=4)}),
        (
            ("--policies", "mineworld-video", "--k", 2),
            {"schedule": Diagonal(k=2), "bundle": "mineworld-video", "policies": BUNDLES["mineworld-video"]},
        ),
        (("--policies", "zipar-llamagen", "--k", 3), {"schedule": ZipAR(window=3, variant="llamagen"), "bundle": None}),
        (("--exact",), {"speculation": "auto"}),
        (("--speculate", 9), {"speculation": Speculation(window=9)}),
        (
            ("--temperature", 2, "--top-k", 5),
            {"sampling": SAMPLING},
        ),
        (("--tokens-only", "--batch", 7, "--seed", 3), {"pictures": False, "batch": 7, "seed": 3}),
    ],
    ids=str,
)
def test_options_make_a_recipe(asked: list[Any], tmp_path: Path, options: Any, expected: Any) -> None:
    assert run("batch", tmp_path / "jobs.jsonl", "-o", tmp_path / "out", *options)[0] == 0
    recipe, _ = asked[0]
    assert isinstance(recipe, Recipe)
    assert {name: getattr(recipe, name) for name in expected} == expected


def test_workers_and_what_is_printed(asked: list[Any], tmp_path: Path) -> None:
    options = ("--workers", 3, "--ray", "auto", "--gpus-per-worker", 0.5, "--max-errors", 4)
    code, out, err = run("batch", tmp_path / "jobs.jsonl", "-o", tmp_path / "out", *options)
    assert (code, err) == (0, "")
    more = {name: asked[0][1][name] for name in ("workers", "ray", "gpus_per_worker", "max_errors")}
    assert more == {"workers": 3, "ray": "auto", "gpus_per_worker": 0.5, "max_errors": 4}
    assert re.search(r"^frames per second +4\.0$", out, re.MULTILINE)
    assert out.splitlines()[-1] == f"{tmp_path / 'out'}: 3 clips"
    figures = run_json("batch", tmp_path / "jobs.jsonl", "-o", tmp_path / "out")
    assert figures["workers"][0]["frames_per_second"] == 4.0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--plan", "p.json", "--k", 2), "expected --plan or --k, got both."),
        (("--plan", "p.json", "--proxy", "above"), "expected --plan or --proxy, got both."),
        (("--greedy", "--temperature", 1), "expected --greedy or --temperature, got both."),
        (("--d", 2), "expected no --d with the schedule next-token"),
        (("--exact", "--speculate", 3), "expected --exact or --speculate, got both."),
        (("--temperature", -1), "expected --temperature"),
        (("--model", "nope"), "or a folder with world.json, got model='nope'"),
    ],
)
def test_options_that_contradict_each_other(asked: list[Any], tmp_path: Path, options: Any, message: str) -> None:
    code, _, err = run("batch", tmp_path / "jobs.jsonl", "-o", tmp_path / "out", *options)
    assert code == 2
    assert message in " ".join(err.split())
    assert not asked


def test_a_batch_with_an_error_and_again(tmp_path: Path) -> None:
    jobs, _ = small_batch(tmp_path, 2)
    options = ["--model", "cosmos", "--weights", tmp_path / "base.safetensors", "--config", tmp_path / "base.json"]
    options += ["--tokenizer", tmp_path / "tokenizer", "--k", 1, "--threads", 1]
    first = run_json("batch", jobs, "-o", tmp_path / "out", *options, code=1)
    assert (first["clips"], first["errors"], first["frames"]) == (2, 1, 48)
    (error,) = map(json.loads, (tmp_path / "out" / "errors.jsonl").read_text().splitlines())
    assert (error["line"], error["id"]) == (2, "000000002")
    assert "none.mp4" in error["error"]
    code, out, _ = run("batch", jobs, "-o", tmp_path / "out", *options)
    assert code == 1
    assert f"{tmp_path / 'out'}: 2 clips; 1 went wrong: {tmp_path / 'out' / 'errors.jsonl'}" in out
    code, _, err = run("batch", jobs, "-o", tmp_path / "out", *options[:-4], "--k", 2)
    assert code == 1
    assert "with recipe.schedule.k=1, not 2. Clips of one folder are made by one plan and one model." in err
    assert worker_pids() == []
