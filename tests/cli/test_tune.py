"""`diagplan tune`."""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from diagplan.planner.checker import verify_plan
from diagplan.planner.trace import Trace, TracedPass, sample_trace
from diagplan.schemas.curve import CurveModel, write_curve
from diagplan.schemas.files import read_plan
from diagplan.schemas.trace import write_trace
from tests.support.cli import invoke, run, run_json
from tests.support.curves import document, judged_row, write_study

STUDY = Path(__file__).parents[2] / "docs" / "study"


@pytest.fixture
def curve(tmp_path: Path) -> Path:
    write_curve(document(), tmp_path / "curve.json")
    return tmp_path / "curve.json"


def test_a_budget_becomes_a_plan(tmp_path: Path, curve: Path) -> None:
    out = tmp_path / "plan.json.gz"
    value = run_json("tune", "--model", "crafter-mini", "--curve", curve, "--budget", "30 fps", "-o", out)
    assert value["ok"] is True
    assert value["best"]["seconds"] <= value["budget_seconds"] == pytest.approx(7 / 30)
    assert value["written"] == [str(out)]
    plan = read_plan(out)
    assert verify_plan(plan).ok
    assert plan.steps == value["best"]["passes"]
    assert value["best"] in value["front"]
    assert value["estimate"] is False
    assert value["judged"] is None


def test_all_bundles_of_policies_can_be_tried(curve: Path) -> None:
    asked = ("tune", "--model", "crafter-mini", "--curve", curve, "--budget", "fastest")
    one, many = run_json(*asked), run_json(*asked, "--all-policies")
    assert many["candidates"] > 2 * one["candidates"]
    assert many["best"]["seconds"] <= one["best"]["seconds"]


def test_what_people_see(curve: Path) -> None:
    code, text = invoke("tune", "--model", "crafter-mini", "--curve", curve, "--budget", "2 s/clip")
    assert code == 0
    assert text.startswith("Predicted by the curve: torch on cpu of by hand, 1 thread, float32, batch 1\n")
    assert "\n*  next-token " in text
    assert "takes next-token: " in text
    assert "plans that no other beats" in text or "that no other beats" in text
    wide = invoke("tune", "--model", "crafter-mini", "--curve", curve, "--budget", "2 s/clip", "--wide")[1]
    assert len(wide.splitlines()) > len(text.splitlines())


def test_with_a_study_quality_is_shown_and_limited(curve: Path) -> None:
    asked = ("tune", "--model", "crafter-mini", "--curve", curve, "--study", STUDY)
    value = run_json(*asked, "--max-loss", "0.01")
    assert value["best"]["plan"] == "k=2 d=14" or value["best"]["loss"]["high"] <= 0.01
    assert all(row["loss"] is not None for row in value["front"])
    code, text = invoke(*asked, "--max-loss", "0.01")
    assert code == 0
    assert "loss over NTP's" in text
    assert "judged by the study, on 64 clips" in text
    other = invoke(*asked, "--max-loss", "0.01", "--frames", "5")[1]
    assert "of 7 generated frames, not 5" in other


def test_nothing_fits(tmp_path: Path, curve: Path) -> None:
    out = tmp_path / "plan.json"
    asked = ("tune", "--model", "crafter-mini", "--curve", curve, "--budget", "5000 fps", "-o", out)
    code, shown, err = run(*asked)
    assert code == 1
    assert "expected a plan within 0.2 ms a frame, got none: the nearest, " in err
    assert "The passes limit: " in err
    assert "Predicted by the curve" in shown
    assert not out.exists()
    value = run_json(*asked, code=1)
    assert value["ok"] is False
    assert value["best"] is None
    assert value["nearest"]["seconds"] > 7 / 5000
    assert "The passes limit" in value["error"]


def test_pictures(tmp_path: Path, curve: Path) -> None:
    pytest.importorskip("matplotlib")
    png, svg = tmp_path / "front.png", tmp_path / "front.svg"
    value = run_json(
        "tune", "--model", "crafter-mini", "--curve", curve, "--budget", "20 fps", "--png", png, "--svg", svg
    )
    assert value["written"] == [str(png), str(svg)]
    assert png.read_bytes().startswith(b"\x89PNG")
    assert b"<svg" in svg.read_bytes()


def test_estimates_are_marked_and_speculation_takes_part(tmp_path: Path) -> None:
    path = tmp_path / "estimate.json"
    write_curve(document(kind="estimate", device="H200", threads=None), path)
    asked = ("tune", "--model", "crafter-mini", "--curve", path, "--budget", "9 s/clip", "--speculation", "36:30")
    text = invoke(*asked)[1]
    assert "an estimate for H200, nothing was timed" in text
    assert "(an estimate)" in text
    assert "replay it with --speculate 36" in text
    assert run_json(*asked)["estimate"] is True


def test_a_trace_of_speculative_replay_is_a_candidate(tmp_path: Path) -> None:
    path, file = tmp_path / "curve.json", tmp_path / "trace.json"
    write_curve(document(model=CurveModel(name="m", family="mc-ar", fingerprint="ab12", positions=1024)), path)
    passes = [TracedPass(0, 150, {}, {}, 140), TracedPass(140, 176, {}, {}, 170), TracedPass(170, 206, {}, {}, 206)]
    sample = sample_trace(0, passes, [0])
    trace = Trace(
        plan="sha256:" + 64 * "0", model="ab12", dtype="float32", sampler={"name": "greedy"}, seed=0, guidance=None,
        width=36, draft="above", advance="own", samples=(sample,),
    )  # fmt: skip
    write_trace(trace, file)
    asked = ("tune", "--rows", "9", "--cols", "12", "--frames", "7", "--prompt-frames", "1", "--between-frames", "3")
    more = ("--curve", path, "--budget", "9 s/clip", "--speculation", file)
    assert "replay it with --speculate 36 --draft above." in invoke(*asked, *more)[1]
    write_trace(replace(trace, model="cd34"), file)
    code, _, err = run(*asked, *more)
    assert code == 1
    assert "expected a trace of the curve's model ab12 in trace.json, got one of 'cd34'." in err
    file.write_text("{}")
    code, _, err = run(*asked, *more)
    assert code == 1
    assert "trace.json" in err


def test_beyond_the_curve_is_said(tmp_path: Path) -> None:
    short = document()
    points = tuple(point for point in short.points if point.length <= 512)
    write_curve(short.model_copy(update={"points": points}), tmp_path / "c.json")
    text = invoke("tune", "--model", "crafter-mini", "--curve", tmp_path / "c.json", "--budget", "9 s/clip")[1]
    assert "Some passes lie beyond what was measured." in text


@pytest.mark.parametrize(
    ("options", "code", "message"),
    [
        (("--model", "crafter-mini"), 2, "expected --budget, --max-loss or both, got neither"),
        (("--model", "crafter-mini", "--budget", "-3 fps"), 2, "expected a budget above 0, got"),
        (("--model", "crafter-mini", "--budget", "soon"), 2, "expected a budget such as '10 fps'"),
        (("--model", "crafter-mini", "--budget", "nan fps"), 2, "expected a budget such as '10 fps'"),
        (("--model", "crafter-mini", "--budget", "0 ms/frame"), 2, "expected a budget above 0, got"),
        (("--model", "crafter-mini", "--max-loss", "0.1"), 2, "expected a study with"),
        (
            ("--model", "crafter-mini", "--study", str(STUDY), "--max-loss", "-0.1"),
            2,
            "expected --max-loss >= 0, got --max-loss -0.1.",
        ),
        (
            ("--model", "crafter-mini", "--study", str(STUDY), "--max-loss", "nan"),
            2,
            "expected --max-loss >= 0, got --max-loss nan.",
        ),
        (("--model", "crafter-mini", "--study", "nowhere", "--max-loss", "1"), 1, "nowhere"),
        (("--model", "crafter-mini", "--budget", "1 fps", "--speculation", "none.json"), 1, "none.json"),
        (("--model", "crafter-mini", "--budget", "1 fps", "--device", "cuda"), 1, "device cpu where cuda is meant"),
        (("--model", "crafter-mini", "--budget", "1 fps", "--dtype", "bfloat16"), 1, "dtype float32 where bfloat16"),
        (("--model", "crafter-mini", "--budget", "1 fps", "--backend", "onnx"), 1, "backend torch where onnx is meant"),
        (
            ("--model", "crafter-mini", "--budget", "1 fps", "--threads", "2", "--batch", "4"),
            1,
            "batch 1 where 4 is meant",
        ),
        (("--model", "mc-ar", "--budget", "1 fps"), 1, "1024 positions where 5541 are needed"),
        (("--budget", "1 fps"), 2, "expected --model, or --rows and --cols"),
        (
            ("--model", "crafter-mini", "--budget", "1 fps", "--speculation", "many"),
            2,
            "expected --speculation as WINDOW:ACCEPTED or a trace's file, got 'many'",
        ),
        (
            ("--model", "crafter-mini", "--budget", "1 fps", "--speculation", "4:9"),
            2,
            "expected accepted from 1 to window=4",
        ),
        (("--model", "crafter-mini", "--budget", "1 fps", "--png", "x.gif"), 2, "expected a name ending in .png"),
    ],
)
def test_one_clear_error(curve: Path, options: tuple[str, ...], code: int, message: str) -> None:
    exit_code, _, err = run("tune", "--curve", curve, *options)
    assert exit_code == code
    assert message in err
    assert err.count("\n") == 1


def test_curves_and_studies_of_something_else(tmp_path: Path) -> None:
    other = tmp_path / "other.json"
    write_curve(document(model=CurveModel(name="m", family="mc-ar", files="ab", positions=1024)), other)
    asked = ("tune", "--model", "crafter-mini", "--budget", "1 fps", "--curve")
    code, _, err = run(*asked, other)
    assert code == 1
    assert "the model's files ab where " in err
    write_curve(document(), other)
    study = write_study(tmp_path / "study", [judged_row("base/ntp", 0.0)])
    code, _, err = run(*asked, other, "--study", study)
    assert code == 1
    assert "expected a study of the same model, got one of crafter-mini with other weights" in err
    write_study(tmp_path / "study", [])
    code, _, err = run(*asked, other, "--study", study)
    assert code == 1
    assert "expected a study that has judged plans in" in err
    value = json.loads(other.read_text())
    value["points"][3]["seconds"] = float("nan")
    other.write_text(json.dumps(value))
    code, _, err = run(*asked, other)
    assert code == 1
    assert "points.3.seconds: Input should be a finite number" in err


def test_it_loads_no_torch(curve: Path) -> None:
    code = (
        "import sys\nfrom typer.testing import CliRunner\nfrom diagplan.cli import app\n"
        f"asked = ['tune', '--model', 'crafter-mini', '--curve', {str(curve)!r}, '--budget', '9 fps']\n"
        "r = CliRunner().invoke(app, asked)\n"
        "assert r.exit_code == 0, r.output\n"
        "print([n for n in ('torch', 'onnxruntime', 'transformers', 'matplotlib') if n in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.stdout.strip().endswith("[]"), done.stdout + done.stderr
