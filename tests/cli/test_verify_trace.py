"""`diagplan verify-trace`: the books, and with weights the tokens."""

import json
from pathlib import Path

import numpy as np
import pytest

from diagplan import read_plan, write_plan
from diagplan.planner.trace import Trace
from diagplan.schemas.trace import write_trace
from tests.support.cli import run, run_json
from tests.support.invalid_traces import BASE, PLAN, with_pass
from tests.support.speculation import oracle


def files(folder: Path, trace: Trace = BASE) -> tuple[Path, Path]:
    write_plan(PLAN, folder / "plan.json")
    write_trace(trace, folder / "trace.json.gz")
    return folder / "plan.json", folder / "trace.json.gz"


def test_a_valid_trace(tmp_path: Path) -> None:
    paths = files(tmp_path)
    assert run_json("verify-trace", *paths) == {
        "ok": True, "errors": 0, "counts": {}, "samples": 1, "passes": [3], "diagnostics": [], "tokens": None,
    }  # fmt: skip
    assert run("verify-trace", *paths)[1] == "trace.json.gz: valid, 0 error(s); 1 sample(s), 3 passes\n"


def test_an_invalid_trace(tmp_path: Path) -> None:
    paths = files(tmp_path, with_pass(0, guesses={1: 1, 3: 7, 0: 9}))
    report = run_json("verify-trace", *paths, "--cap", 1, code=1)
    assert report["counts"] == {"DT103": 3}
    assert report["diagnostics"][0] == {
        "code": "DT103", "sample": 0, "number": 0, "slot": 2,
        "message": "expected a guess for slot=2, which is fed and not known, got none.",
        "remedy": "Replay again with a trace: what wrote this one did not keep its books.",
    }  # fmt: skip
    code, out, _ = run("verify-trace", *paths, "--cap", 1)
    assert code == 1
    assert "2 more not shown; in all DT103: 3. --cap shows more." in out
    assert "trace.json.gz: not valid, 3 error(s)" in out


def test_what_is_no_trace(tmp_path: Path) -> None:
    plan, trace = files(tmp_path)
    code, _, err = run("verify-trace", plan, plan)
    assert code == 1
    assert 'expected a trace document in plan.json, got JSON without "format": "diagplan-trace".' in err
    assert run("verify-trace", trace, plan)[0] == 1


def test_with_weights_every_token_is_derived_anew(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    from safetensors.numpy import save_file

    from diagplan import load_model
    from tests.support.mineworld import DATA, GIVEN, LAYOUT, META, WEIGHTS, golden_plan

    save_file(WEIGHTS, tmp_path / "model.safetensors")
    (tmp_path / "config.json").write_text(json.dumps(META["config"] | {"image_vocab": META["image_vocab"]}))
    model = ("--weights", tmp_path / "model.safetensors", "--config", tmp_path / "config.json")
    write_plan(golden_plan(META["cases"]["image_k2_prompt"]), tmp_path / "plan.json")
    plan = read_plan(tmp_path / "plan.json")
    tokens = np.zeros((1, plan.positions), dtype=np.int64)
    tokens[0, LAYOUT.cell_slots()] = DATA["tokens/image_k2_prompt"].reshape(LAYOUT.cell_slots().shape)
    tokens[0, np.concatenate([np.arange(*run) for run in plan.given.tolist()])] = GIVEN
    config = tmp_path / "config.json"
    fingerprint = load_model("mc-ar", tmp_path / "model.safetensors", config=config).fingerprint()
    trace = oracle(plan, tokens, 16, model=fingerprint)
    write_trace(trace, tmp_path / "trace.json")
    paths = tmp_path / "plan.json", tmp_path / "trace.json"
    figures = run_json("verify-trace", *paths, *model)["tokens"]
    assert figures["checked"] == figures["first_choice"] == LAYOUT.tokens
    assert (figures["eps"], figures["above_eps"], figures["largest"]) == (1e-3, 0, None)
    out = run("verify-trace", *paths, *model)[1]
    assert f"{LAYOUT.tokens} tokens derived anew: {LAYOUT.tokens} are the model's first choice; 0 above 0.001" in out
    wrong = int(LAYOUT.cell_slots()[0, 1, 1])
    tokens[0, wrong] += 1
    write_trace(oracle(plan, tokens, 16, model=fingerprint), tmp_path / "trace.json")
    report = run_json("verify-trace", *paths, *model, code=1)
    assert set(report["counts"]) == {"DT701"}
    assert report["diagnostics"][0]["slot"] is not None
    assert report["tokens"]["above_eps"] == report["counts"]["DT701"]
    assert run("verify-trace", *paths, *model, "--eps", 1000)[0] == 0
