"""`diagplan compile --then` and what takes its file: verify, show and steps; and what is refused."""

import json
from pathlib import Path

import pytest

from diagplan import Diagonal, chain_layouts, compile_chain, preset_layout
from diagplan.schemas.chain_files import chain_digest, read_chain
from tests.support.cli import run, run_json

GLM = ("--model", "glm-image-preview", "--lead", "9", "--then", "glm-image")
SMALL = ("--rows", "2", "--cols", "3", "--lead", "3", "--then", "2x2", "--between", "1", "--k", "1")


def test_compile_writes_a_chain_and_its_figures(tmp_path: Path) -> None:
    path = tmp_path / "chain.json"
    figures = run_json("compile", *GLM, "--k", "2", "-o", path, "--masks", "rule")
    chain = read_chain(path)
    layouts = chain_layouts([preset_layout("glm-image-preview", lead=9), preset_layout("glm-image")])
    assert chain == compile_chain(layouts, Diagonal(k=2))
    assert (figures["steps"], figures["tokens"], figures["kept_tokens"]) == (140, 1280, 264)
    assert [part["steps"] for part in figures["chain"]] == [46, 94]
    assert figures["digest"] == chain_digest(chain) == json.loads(path.read_text())["digest"]
    again = run_json("compile", *GLM, "--k", "2", "--refeed")
    assert (again["kept_tokens"], again["prefill_tokens"]) == (0, 8 + 264)
    assert again["digest"] != figures["digest"]


def test_compile_prints_a_table(tmp_path: Path) -> None:
    code, out, err = run("compile", *SMALL, "-o", tmp_path / "chain.json")
    assert (code, err) == (0, "")
    assert "7 passes for 10 tokens, 1.43 x; 8 tokens kept, 3 fed to begin plans" in out
    assert [line.split()[:1] for line in out.splitlines()[1:3]] == [["0"], ["1"]]
    next_token = run_json("compile", *SMALL[:-2], "--schedule", "next-token")
    assert next_token["steps"] == 10
    layouts = [part["layout"]["lead"] for part in next_token["chain"]]
    assert layouts == [3, 10]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ((*SMALL, "--slots", "step-order"), "expected no --slots with --then, got --slots step-order."),
        ((*SMALL, "--pad", "2"), "expected no --pad with --then, got --pad 2."),
        ((*SMALL, "--order", "x.npy"), "expected no --order with --then, got --order x.npy."),
        (("--rows", "2", "--cols", "2", "--lead", "1", "--k", "1", "--between", "1"), "expected --then with --between"),
        (("--rows", "2", "--cols", "2", "--lead", "1", "--k", "1", "--refeed"), "expected --then with --refeed"),
        (("--rows", "2", "--cols", "2", "--lead", "1", "--then", "no", "--k", "1"), "expected a model out of"),
    ],
)
def test_what_is_refused(options: tuple[str, ...], message: str) -> None:
    code, _, err = run("compile", *options)
    assert code == 2
    assert f"diagplan: {message}" in err
    assert err.count("\n") == 1


def test_verify_takes_a_chain(tmp_path: Path) -> None:
    path = tmp_path / "chain.json"
    run("compile", *SMALL, "-o", path)
    assert run_json("verify", path)["ok"]
    value = json.loads(path.read_text())
    value["kept"][1] = [[0, 9]]
    path.write_text(json.dumps(value))
    report = run_json("verify", path, code=1)
    assert report["counts"] == {"DP703": 1, "DP601": 1}
    assert [found.get("plan") for found in report["diagnostics"]] == [1, None]
    code, out, _ = run("verify", path)
    assert code == 1
    assert out.splitlines()[0].split()[:4] == ["code", "severity", "plan", "step"]
    assert "expected the cache before step 0 to hold token 8, got no write of it." in out


def test_show_takes_a_chain(tmp_path: Path) -> None:
    path, picture = tmp_path / "chain.json", tmp_path / "wave.svg"
    run("compile", *SMALL, "-o", path)
    assert run_json("show", path)["steps"] == 7
    assert "7 passes for 10 tokens" in run("show", path)[1]
    assert run_json("show", path, "--plan", "1")["steps"] == 3
    assert run_json("show", path, "--plan", "0", "--svg", picture)["written"] == [str(picture)]
    for options, message in (
        (("--plan", "2"), "expected a plan from 0 to 1, got --plan 2."),
        (("--step", "1"), "expected --plan with --step of a chain, got --step alone."),
        (("--svg", picture), "expected --plan with --svg of a chain, got --svg alone."),
    ):
        code, _, err = run("show", path, *options)
        assert (code, message in err) == (2, True)
    value = json.loads(path.read_text())
    value["kept"][1] = [[0, 9]]
    path.write_text(json.dumps(value))
    assert run("show", path)[0] == 1
    run("compile", *SMALL[:6], "--k", "1", "-o", path)
    assert "expected a chain of plans with --plan, got one plan in chain.json." in run("show", path, "--plan", "0")[2]


def test_steps_counts_a_chain() -> None:
    value = run_json("steps", *GLM[:2], "--then", "glm-image")
    assert value["next_token_steps"] == 1280
    assert [line["steps"] for line in value["schedules"]] == [94, 140, 232]
    code, out, _ = run("steps", *GLM[:2], "--then", "glm-image")
    assert code == 0
    assert "1 x 16 x 16 then 1 x 32 x 32: next-token prediction takes 1,280 passes" in out
    assert "1280/94" in out
    assert run("steps", "--rows", "2", "--cols", "2", "--between", "1")[0] == 2


def test_a_command_that_takes_one_plan_says_so(tmp_path: Path) -> None:
    path = tmp_path / "chain.json"
    run("compile", *SMALL, "-o", path)
    code, _, err = run("diff", path, path)
    assert code == 1
    assert "expected one plan in chain.json, got a chain of plans." in err
