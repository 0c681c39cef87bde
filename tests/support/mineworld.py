"""The golden data of the MineWorld release: a small model's weights, prompts, actions, and the tokens of its cases."""

import json
from pathlib import Path
from typing import Any

import numpy as np

from diagplan import BUNDLES, Layout, NextToken, Policies, bundle_schedule, compile_plan
from diagplan.planner.plan import Plan
from diagplan.planner.policy import ProxyPolicy

GOLDEN = Path(__file__).parents[1] / "golden"
META: dict[str, Any] = json.loads((GOLDEN / "mineworld_a.json").read_text())
DATA = dict(np.load(GOLDEN / "mineworld_a.npz"))
WEIGHTS = {name.removeprefix("w/"): value for name, value in DATA.items() if name.startswith("w/")}
ROWS, COLS = META["grid"]
LAYOUT = Layout(
    frames=META["generated_frames"], rows=ROWS, cols=COLS, prompt_frames=1, between_frames=META["action_tokens"]
)
# Block i of the actions precedes generated frame i, and the layout ends with the last cell: the last block is not fed.
GIVEN = np.concatenate([DATA["prompt"].ravel(), DATA["actions"][: LAYOUT.frames].ravel()])


def golden_plan(case: dict[str, Any]) -> Plan:
    if case["mode"] == "naive":
        return compile_plan(LAYOUT, NextToken(), BUNDLES["mineworld-image"])
    name = {"image": "mineworld-image", "vid": "mineworld-video"}[case["mode"]]
    bundle = BUNDLES[name]
    proxy: ProxyPolicy = "prompt" if case["proxy"] == "prompt_frame" else "latest"
    policies = Policies(proxy=proxy, row_end=bundle.row_end, proxy_kv=bundle.proxy_kv, visibility=bundle.visibility)
    return compile_plan(LAYOUT, bundle_schedule(name, LAYOUT, case["k"]), policies)
