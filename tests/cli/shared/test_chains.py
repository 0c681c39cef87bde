"""Grids that follow one another on the command line, and their cost as it is printed."""

import re
from dataclasses import replace

import pytest

from diagplan import Diagonal, Layout, SpecError, compile_chain, preset_layout
from diagplan.cli.shared.chains import chain_layouts_from_options, cost_json

FIRST = Layout(frames=1, rows=3, cols=4, lead=7, prompt_frames=1, between_rows=1)


def test_grids_by_name_and_by_size() -> None:
    layouts = chain_layouts_from_options(FIRST, ["glm-image", "2x5"], 3)
    assert layouts[0] == FIRST
    assert layouts[1] == replace(preset_layout("glm-image"), lead=FIRST.positions + 3)
    assert layouts[2] == Layout(frames=1, rows=2, cols=5, lead=layouts[1].positions + 3, between_rows=1)
    assert chain_layouts_from_options(FIRST, ["2x5"], None)[1].lead == FIRST.positions


@pytest.mark.parametrize(
    ("then", "between", "message"),
    [
        (["2x"], 0, "expected a model out of "),
        (["0x3"], 0, "expected rows >= 1, got rows=0."),
        (["2x2"], -1, "expected between >= 0, got between=-1."),
        (["99999999x99999999"], 0, "expected at most 16777216 slots"),
        (["2x2"] * 64, 0, "expected 2 to 64 layouts of a chain, got 65."),
    ],
)
def test_grids_that_cannot_be(then: list[str], between: int, message: str) -> None:
    with pytest.raises(SpecError, match=re.escape(message)):
        chain_layouts_from_options(FIRST, then, between)


def test_a_cost_as_json_adds_up() -> None:
    chain = compile_chain(chain_layouts_from_options(FIRST, ["2x5", "2x2"], 1), Diagonal(k=1))
    value, cost = cost_json(chain), chain.cost()
    assert (value["steps"], value["tokens"], value["kept_tokens"]) == (cost.passes, cost.tokens, cost.kept_tokens)
    for name, whole in (("steps", cost.passes), ("tokens", cost.tokens), ("kept", cost.kept_tokens)):
        assert sum(part[name] for part in value["chain"]) == whole
