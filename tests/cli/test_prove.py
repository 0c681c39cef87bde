"""`diagplan prove`: short by default, and an exit code that says whether all was proved."""

import pytest

pytest.importorskip("z3")

from tests.support.cli import run, run_json


def test_one_short_line_a_theorem() -> None:
    code, out, err = run("prove", "--theorem", "total-steps", "--theorem", "next-token")
    assert (code, err) == (0, "")
    assert out.split("\n")[0].split() == ["theorem", "verdict", "seconds"]
    assert [line.split()[:2] for line in out.splitlines()[1:3]] == [["total-steps", "proved"], ["next-token", "proved"]]
    assert out.splitlines()[-1].startswith("2 of 2 proved")


def test_all_that_is_known_on_demand() -> None:
    out = run("prove", "--theorem", "total-steps", "--wide")[1]
    assert "the steps run from 0 to (T-1) d' + (h-1) k' + w - 1" in out
    assert "0 <= step(f,r,c)" in out


def test_wrong_variants_are_refuted_with_a_counterexample() -> None:
    code, out, _ = run("prove", "--theorem", "total-steps", "--wrong")
    assert code == 0
    assert "refuted" in out
    assert "T=" in out
    assert run_json("prove", "--theorem", "total-steps", "--wrong")["theorems"][0]["counterexample"]
