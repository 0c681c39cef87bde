"""`diagplan evaluate study`: conditions, judge, resuming, tables; on a quick model and two clips."""

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("av")
pytest.importorskip("diffusers")
pytest.importorskip("matplotlib")

from diagplan.study.conditions import all_conditions, select
from diagplan.study.results import StudyFolder
from diagplan.study.run import run_study
from diagplan.study.setup import set_up, settings_of
from diagplan.study.tables import rows_of
from diagplan.video.files import read_video
from tests.support.cli import run
from tests.support.clips import write_two_clips
from tests.support.shallow import shallow_folder


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_two_clips(tmp_path_factory.mktemp("clips"))


EXACT = ("--exact", "--speculate", "36", "--draft", "previous-frame,above")


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory, clips: Path) -> tuple[Path, list[object], dict[str, Any]]:
    folder = tmp_path_factory.mktemp("study") / "out"
    usual: list[object] = ["evaluate", "study", "--model", shallow_folder(), "--clips", clips, "-o", folder]
    usual += ["--count", 2, "--repeats", 1, "--json"]
    named = ("base/k=1,d=5", "base/k=2", "base/exact*", "policies/previous-frame,refresh,hidden,*")
    code, out, err = run(*usual, *(part for name in named for part in ("--only", name)), "--samples", 1, *EXACT)
    assert (code, err) == (0, ""), out
    return folder, usual, json.loads(out)


def test_one_command_makes_tables_plots_and_videos(study: tuple[Path, list[object], dict[str, Any]]) -> None:
    folder, _, said = study
    assert (said["clips"], said["conditions"], said["done_before"], said["run_now"]) == (2, 8, 0, 8)
    rows = {row["id"]: row for row in said["rows"]}
    assert [rows[name]["step"] for name in ("base/ntp", "base/k=2", "base/k=1,d=5")] == [756, 196, 50]
    assert rows["base/k=2"]["fewer_passes"] == pytest.approx(756 / 196)
    assert rows["base/ntp"]["figures"]["equal_ntp"]["mean"] == 1
    assert rows["base/ntp"]["figures"]["loss_more"] == {"mean": 0, "low": 0, "high": 0}
    assert 0 < rows["base/k=2"]["figures"]["equal_ntp"]["mean"] < 1  # of two layers; docs/study is of the shipped model
    names = {"results.json", "results.csv", "results.md", "quality-passes.png", "quality-time.png", "horizons.png"}
    names |= {"policies.png", "differences.png", "samples", "conditions", "study.json"}
    assert names == {path.name for path in folder.iterdir()}
    for name in (name for name in names if name.endswith(".png")):
        assert (folder / name).read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"
    assert len(read_video(folder / "samples" / "clip-000.mp4")) == 8
    assert "| `k=2` | 196 |" in (folder / "results.md").read_text()
    assert (folder / "results.csv").read_text().splitlines()[1].startswith("base/ntp,756,")
    results = json.loads((folder / "results.json").read_text())
    horizons = results["horizons"]["base/k=2"]
    assert np.mean(horizons["loss"]) == pytest.approx(rows["base/k=2"]["figures"]["loss"]["mean"], rel=1e-4)
    assert len(horizons["error"]) == 7
    assert np.shape(results["differing"]["base/k=1,d=5"]) == (9, 12)
    assert np.max(results["differing"]["base/k=1,d=5"]) > 0
    for name, share in results["differing"].items():
        assert np.mean(share) == pytest.approx(1 - rows[name]["figures"]["equal_ntp"]["mean"], abs=1e-5)
    about = json.loads((folder / "study.json").read_text())
    assert (about["rule"], about["seed"], about["count"]) == ("context", 0, 2)
    assert {piece["name"]: piece["first"] for piece in about["pieces"]} == {"a.mp4": 0, "b.mp4": 0}


def test_exact_conditions_are_next_token_prediction_s_in_fewer_passes(
    study: tuple[Path, list[object], dict[str, Any]],
) -> None:
    folder, _, said = study
    rows = {row["id"]: row for row in said["rows"]}
    names = ("base/exact", "base/exact=36", "base/exact=36,above")
    assert [id_ for id_ in rows if "exact" in id_] == list(names)
    for name in names:
        assert rows[name]["figures"] == rows["base/ntp"]["figures"]
        exact = rows[name]["exact"]
        assert 7 < rows[name]["step"] == exact["passes"]["mean"] <= exact["most_passes"] < 756
        assert rows[name]["fewer_passes"] == pytest.approx(756 / rows[name]["step"])
        tokens = StudyFolder(folder, json.loads((folder / "study.json").read_text())).read_tokens
        np.testing.assert_array_equal(tokens(name), tokens("base/ntp"))
    assert rows["base/exact=36"]["step"] != rows["base/exact=36,above"]["step"]
    assert (rows["base/exact=36"]["exact"]["window"], rows["base/exact"]["exact"]["draft"]) == (36, "previous-frame")
    assert "| `base/exact=36,above` | 36 | above |" in (folder / "results.md").read_text()
    assert (folder / "results.csv").read_text().splitlines()[2].startswith("base/exact,")
    held = json.loads((folder / "conditions" / "base" / "exact=36.json").read_text())
    assert len(held["passes"]) == len(held["seconds"]["clips"]) == 2


def test_a_speculation_with_other_tokens_is_refused(
    study: tuple[Path, list[object], dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    import diagplan.study.run
    from diagplan.backends.rolling import roll

    def wrong(*args: Any, **options: Any) -> Any:
        done = roll(*args, **options)
        if options.get("speculation") is not None:
            done.tokens[0, 3, 4, 5] += 1
        return done

    monkeypatch.setattr(diagplan.study.run, "roll", wrong)
    folder, usual, _ = study
    code, out, _ = run(*usual, "--only", "base/exact=54", "--speculate", 54)
    assert code == 1
    said = "expected the tokens of base/ntp from base/exact=54, got 2 others of 1512, the first in clip 0, frame 3."
    assert said in json.loads(out)["error"]
    assert not (folder / "conditions" / "base" / "exact=54.json").exists()


def test_the_same_plan_is_not_replayed_under_another_name(study: tuple[Path, list[object], dict[str, Any]]) -> None:
    folder = study[0]
    path = folder / "conditions" / "policies" / "previous-frame,refresh,hidden,written.json"
    said, base = json.loads(path.read_text()), json.loads((folder / "conditions" / "base" / "k=2.json").read_text())
    assert said["plan"]["same_as"] == "base/k=2"
    assert said["curves"] == base["curves"]


def test_a_second_run_goes_on(study: tuple[Path, list[object], dict[str, Any]]) -> None:
    folder, usual, _ = study
    kept = {path: path.read_bytes() for path in (folder / "conditions").rglob("*.json")}
    assert kept
    code, out, err = run(*usual, "--only", "base/k=2", "--only", "base/k=1,d=9", "--samples", 0)
    assert (code, err) == (0, "")
    said = json.loads(out)
    assert (said["conditions"], said["done_before"], said["run_now"]) == (3, 2, 1)
    assert len(said["rows"]) == 9  # those of the first run too
    assert [row["id"] for row in said["rows"] if "exact" in row["id"]] == [
        "base/exact=36",  # a window of this call's too, the others are from the folder
        "base/exact",
        "base/exact=36,above",
    ]
    drawn = json.loads((folder / "results.json").read_text())["differing"]
    assert list(drawn) == ["base/k=2", "base/k=1,d=9"]  # not what the first run has left
    assert kept == {path: path.read_bytes() for path in kept}


def test_times_are_measured_again(study: tuple[Path, list[object], dict[str, Any]]) -> None:
    folder, usual, _ = study
    path = folder / "conditions" / "base" / "k=2.json"
    before = json.loads(path.read_text())
    exact = folder / "conditions" / "base" / "exact=36.json"
    first = json.loads(exact.read_text())
    code, out, err = run(*usual, "--only", "base/k=2", "--only", "base/exact=36", "--samples", 0, "--time-again")
    assert (code, err) == (0, "")
    again = json.loads(exact.read_text())
    assert [one == other for one, other in zip(first["seconds"]["clips"], again["seconds"]["clips"], strict=True)] == [
        False,
        False,
    ]
    assert {**first, "seconds": None} == {**again, "seconds": None}
    after = json.loads(path.read_text())
    assert before["seconds"]["single"] != after["seconds"]["single"]
    assert len(after["seconds"]["single"]) == 1
    rows = {row["id"]: row for row in json.loads(out)["rows"]}
    assert rows["base/k=2"]["seconds"] == after["seconds"]["single"][0]
    assert {key: before[key] for key in before if key != "seconds"} == {
        key: after[key] for key in after if key != "seconds"
    }


def test_networks_of_the_user_add_to_what_is_done(
    study: tuple[Path, list[object], dict[str, Any]], clips: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import diagplan.study.setup

    seen: list[Any] = []

    def scores(paths: list[Path], weights: Path, *, device: str) -> dict[str, float]:
        seen.append((len(paths), read_video(paths[0]).shape, weights, device))
        return {"dynamic_degree": 0.5}

    monkeypatch.setattr(diagplan.study.setup, "vbench_scores", scores)
    monkeypatch.setattr(diagplan.study.setup, "require_weights", lambda _: None)
    whole = set_up(str(shallow_folder()), clips, count=2, repeats=1, vbench=Path("w"))
    given: list[Any] = []

    def figures(videos: Any) -> dict[str, float]:
        given.append(videos)
        return {"value": 3.0}

    whole = replace(whole, extras={**whole.extras, "fvd": ("digest", figures)})
    folder = StudyFolder(study[0], settings_of(whole))
    conditions = select(all_conditions(9, 12), ["base/ntp"])
    run_study(whole, folder, conditions)
    results, ran = run_study(whole, folder, conditions)
    assert ran == 0
    assert seen == [(2, (8, 144, 192, 3), Path("w"), "cpu")]  # once
    assert len(given) == 1
    np.testing.assert_array_equal(given[0][:, 0], whole.material.frames[:, 0])
    assert rows_of(results)[0].single.items() >= {"fvd": 3.0, "vbench_dynamic_degree": 0.5}.items()


@pytest.mark.parametrize(
    ("more", "said"), [(("--seed", 1), "other seed"), (("--count", 1), "other clips, count, pieces")]
)
def test_another_study_is_refused(
    study: tuple[Path, list[object], dict[str, Any]], more: tuple[object, ...], said: str
) -> None:
    before = (study[0] / "study.json").read_bytes()
    code, out, _ = run(*study[1], *more)
    assert code == 1
    assert said in json.loads(out)["error"]
    assert (study[0] / "study.json").read_bytes() == before


@pytest.mark.slow
def test_a_fine_tuned_model_joins_and_is_held_to_its_weights(
    study: tuple[Path, list[object], dict[str, Any]], tmp_path: Path
) -> None:
    from safetensors.torch import load_file, save_file

    def perturb(scale: float) -> None:
        weights = load_file(shallow_folder() / "model.safetensors")
        name = next(name for name in weights if "down_proj" in name)
        weights[name] = weights[name] * scale
        save_file(weights, tmp_path / "tuned" / "model.safetensors")

    _, usual, _ = study
    shutil.copytree(shallow_folder(), tmp_path / "tuned")
    perturb(3.0)
    more = ("--tuned", f"ft={tmp_path / 'tuned'}", "--only", "ft/k=1,d=5", "--samples", 0)
    code, out, err = run(*usual, *more)
    assert (code, err) == (0, ""), out
    rows = {row["id"]: row for row in json.loads(out)["rows"]}
    assert rows["ft/ntp"]["figures"]["equal_ntp"]["mean"] == 1  # of its own
    assert rows["ft/ntp"]["figures"]["loss"]["mean"] > rows["base/ntp"]["figures"]["loss"]["mean"]  # one judge for all
    perturb(3.5)
    code, out, _ = run(*usual, *more)
    assert code == 1
    assert "other weights of ft" in json.loads(out)["error"]


def test_interrupted_in_the_middle(
    study: tuple[Path, list[object], dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    import diagplan.study.run

    def stopped(*args: Any) -> Any:
        raise KeyboardInterrupt

    monkeypatch.setattr(diagplan.study.run, "_generate", stopped)
    folder, usual, _ = study
    code, out, err = run(*usual, "--only", "base/k=2", "--only", "base/k=4")
    assert (code, err) == (130, "")
    assert "holds 2 of 3 conditions. Run the same again to go on." in json.loads(out)["error"]
    assert not (folder / "conditions" / "base" / "k=4.json").exists()


def test_workers_are_asked_for_and_what_they_leave_out_is_said(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from diagplan.study.results import untimed
    from diagplan.study.whole import StudyReport
    from tests.support.study import result

    asked: dict[str, Any] = {}

    def called(*_: Any, **options: Any) -> StudyReport:
        asked.update(options)
        rows = rows_of({"base/ntp": replace(result("base/ntp", loss=1.0), seconds=untimed())})
        return StudyReport(clips=3, conditions=1, done_before=0, run_now=1, rows=rows, written=[], losses=2)

    monkeypatch.setattr("diagplan.study.whole.study_plans", called)
    usual = ("evaluate", "study", "--clips", tmp_path, "-o", tmp_path / "out")
    code, out, err = run(*usual, "--workers", 3, "--ray", "local", "--gpus-per-worker", 0.5)
    assert (code, err) == (0, "")
    crew = ("workers", "ray", "gpus_per_worker")
    assert [asked[name] for name in crew] == [3, "local", 0.5]
    (line,) = [line for line in out.splitlines() if line.startswith("base/ntp ")]
    assert line.split()[:4] == ["base/ntp", "10", "1.00", "-"]
    assert "times were not measured beside other workers: --time-again" in out
    code, out, _ = run(*usual, "--json")
    assert [asked[name] for name in crew] == [1, None, 1]
    said = json.loads(out)
    assert (said["losses"], said["rows"][0]["seconds"], said["rows"][0]["faster"]) == (2, None, None)


@pytest.mark.parametrize(
    ("more", "code", "said"),
    [
        (("--rule", "vpt"), 2, "at most 8 frames, the model's context, got vpt with 16"),
        (("--rule", "vpt"), 2, "or let a window slide that keeps some frames: --keep."),
        (("--rule", "vpt", "--keep", 8), 2, "expected to keep 1 to 7 of 8 frames, got keep=8."),
        (("--rule", "wham", "--keep", 4), 2, "expected at most 8 prompt frames, as many as a window holds"),
        (("--rule", "zork"), 2, "a rule out of"),
        (("--only", "zork"), 2, "expected --only to name conditions"),
        (("--speculate", "8,x"), 2, "expected --speculate with numbers and commas, such as 36,108, got '8,x'."),
        (("--draft", "zork"), 2, "expected draft to be one of"),
        (("--tuned", "base=x"), 2, "expected a label"),
        (("--tuned", "x"), 2, "LABEL=FOLDER"),
        (("--workers", 2, "--gpus-per-worker", 0), 2, "expected gpus_per_worker > 0, got gpus_per_worker=0"),
        (("--i3d", "none.pt"), 1, "weights needed: none.pt"),
        (("--vbench", "none"), 1, "weights needed: none/facebookresearch_dino_main/hubconf.py"),
        (("--clips", "none"), 1, "expected videos with actions"),
    ],
)
def test_one_clear_line(tmp_path: Path, clips: Path, more: tuple[object, ...], code: int, said: str) -> None:
    out = tmp_path / "out"
    found, _, err = run("evaluate", "study", "--clips", clips, "-o", out, "--count", 1, *more)
    assert found == code
    assert said in err
    assert err.count("\n") == 1
    assert not out.exists()


def test_fvd_of_a_short_context_is_refused(tmp_path: Path, clips: Path) -> None:
    from tests.support.i3d_stand_in import StandIn, script

    network = script(StandIn(), tmp_path / "i3d.pt")
    code, _, err = run("evaluate", "study", "--clips", clips, "-o", tmp_path / "out", "--i3d", network)
    assert code == 2
    assert "at least 9 frames for the Frechet Video Distance, got 8" in err
