"""`diagplan run` with speculation: the plan's tokens, traces, drafts, documents, and the check of tokens."""

import json
import re
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("safetensors.torch")

from diagplan.backends.promise import Grade
from tests.support.cli import run
from tests.support.mineworld import META
from tests.support.run_files import options, prompt, write_run_files


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_run_files(tmp_path)


def test_exact_gives_the_tokens_of_the_plan_in_no_more_passes(folder: Path) -> None:
    common = [*prompt(folder), "--temperature", "0.9", "--seed", "4"]
    assert run(*options(folder, *common, out="steps.npy"))[0] == 0
    for more in (["--exact"], ["--speculate", "12"], ["--speculate", "12", "--draft", "above"]):
        code, out, err = run(*options(folder, *common, *more, "--json", out="exact.npy"))
        assert (code, err) == (0, "")
        figures = json.loads(out)
        assert (folder / "exact.npy").read_bytes() == (folder / "steps.npy").read_bytes()
        plans = META["cases"]["image_k2_prompt"]["forward_passes"]
        # How wide a measured window is hangs on the machine's moment; never do its passes become more.
        assert figures["passes"] <= plans if "--exact" in more else figures["passes"] < plans
        assert figures["tokens_a_pass"] > 1
        assert figures["promise"]["grade"] in get_args(Grade)
        assert figures["draft"] == (more[-1] if "--draft" in more else "previous-frame")
    _, out, _ = run(*options(folder, *common, "--exact", out="exact.npy"))
    assert re.search("promise +(bit-exact|exact up to near-ties)", out)


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--exact", "--speculate", "8"], "expected --exact or --speculate, got both."),
        (["--draft", "left"], "expected --speculate with --draft, got --draft left alone."),
        (["--speculate", "8", "--draft", "zork"], "expected draft to be one of previous-frame, above, left"),
        (["--speculate", "8", "--draft", "plan:k=0"], "expected k >= 1"),
        (["--speculation", "s.json", "--exact"], "expected --speculation alone, got it with --exact or --speculate."),
        (["--exact", "--trace", "t.json", "--resume", "s.safetensors"], "expected a trace of a whole replay"),
    ],
)
def test_speculation_that_cannot_be(folder: Path, more: list[str], message: str) -> None:
    code, _, err = run(*options(folder, *prompt(folder), *more))
    assert (code, message in " ".join(err.split())) == (2, True), err


def test_a_plan_drafts_and_its_passes_count(folder: Path) -> None:
    common = [*prompt(folder), "--temperature", "0.9", "--seed", "4"]
    assert run(*options(folder, *common, out="steps.npy"))[0] == 0
    trace = folder / "trace.json"
    more = ["--speculate", "12", "--draft", "plan:k=1", "--trace", str(trace), "--json"]
    code, out, err = run(*options(folder, *common, *more, out="exact.npy"))
    assert (code, err) == (0, "")
    figures = json.loads(out)
    assert (folder / "exact.npy").read_bytes() == (folder / "steps.npy").read_bytes()
    assert figures["draft"] == "plan:k=1"
    assert 0 < figures["draft_passes"] < figures["passes"]
    document = json.loads(trace.read_text())
    assert (document["draft"], document["draft_passes"]) == ("plan:k=1", figures["draft_passes"])
    assert max(len(sample["passes"]) for sample in document["samples"]) == figures["passes"] - figures["draft_passes"]
    assert run("verify-trace", folder / "plan.json", trace)[0] == 0


def test_a_speculation_from_a_file_and_tokens_checked(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from dataclasses import replace

    from diagplan import Speculation, write_speculation
    from diagplan.backends import speculative

    write_speculation(Speculation(window=12, draft="left"), folder / "s.json")
    common = [*prompt(folder), "--speculation", str(folder / "s.json"), "--check-exact"]
    code, out, err = run(*options(folder, *common, "--json"))
    assert (code, err) == (0, "")
    figures = json.loads(out)
    assert (figures["window"], figures["draft"], figures["draft_passes"]) == (12, "left", 0)
    check = figures["check"]
    assert (check["ok"], check["first"], check["above"]) == (True, check["tokens"], [])
    assert check["tokens"] == np.load(folder / "tokens.npy").size
    code, out, _ = run(*options(folder, *prompt(folder), "--check-exact"))  # step by step, too
    assert code == 0
    assert re.search(r"check +checked: \d+ of \d+ tokens are the first choice of a teacher-forced pass", out)
    replay = speculative.replay

    def wrong(*parts: Any, **more: Any) -> Any:
        done = replay(*parts, **more)
        tokens = done.tokens.copy()
        tokens[0, 0, 1, 1] = (tokens[0, 0, 1, 1] + 1) % 3
        return replace(done, tokens=tokens)

    monkeypatch.setattr(speculative, "replay", wrong)
    code, out, _ = run(*options(folder, *common))
    assert code == 1
    assert "not the model's tokens: " in out
    code, out, _ = run(*options(folder, *common, "--json"))
    told = json.loads(out)["check"]
    assert (code, told["ok"]) == (1, False)
    assert {"sample", "slot", "token", "best", "shortfall"} == set(told["above"][0])
    (folder / "s.json").write_text("{}")
    code, _, err = run(*options(folder, *common))
    assert (code, err.count("\n")) == (1, 1)
    assert "expected a speculation document in s.json" in err


def test_a_trace_is_checked_by_its_rules_and_by_the_model(folder: Path) -> None:
    common = [*prompt(folder), "--temperature", "0.9", "--seed", "4", "--speculate", "12"]
    trace = folder / "trace.json"
    assert run(*options(folder, *common, "--trace", str(trace)))[0] == 0
    model = ["--weights", str(folder / "model.safetensors"), "--config", str(folder / "config.json")]
    code, out, _ = run("verify-trace", folder / "plan.json", trace, *model, "--json")
    assert (code, json.loads(out)["ok"]) == (0, True), out
    document = json.loads(trace.read_text())
    document["samples"][0]["passes"][0]["accepted"] += 1
    trace.write_text(json.dumps(document))
    assert run("verify-trace", folder / "plan.json", trace)[0] == 1
    code, _, err = run(*options(folder, *prompt(folder), "--trace", str(trace)))
    assert (code, "expected --exact or --speculate with --trace" in err) == (2, True)
