"""Add plan files to tests/golden/plans; files that are there are never written again.

To add one: a new entry in ``plans`` and ``python -m tests.golden.add_plans``. What a file says is settled when it is
committed: a later compiler may plan otherwise, but it must read the file and find it valid, with the same digest.
"""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from diagplan.planner.checker import verify_plan
from diagplan.planner.compiler import compile_plan
from diagplan.planner.layout import Layout
from diagplan.planner.masks import mask_rows
from diagplan.planner.plan import Plan
from diagplan.planner.policy import BUNDLES, Policies, bundle_schedule
from diagplan.planner.schedule import Diagonal, Imported, NextToken, ScheduleRecord, ZipAR
from diagplan.schemas.convert import MaskForm, plan_digest
from diagplan.schemas.files import write_plan

__all__ = ["FOLDER", "add", "plans"]

FOLDER = Path(__file__).parent / "plans"


def plans() -> Iterator[tuple[str, Plan, MaskForm]]:
    """File name, plan, and how the mask rows are written."""
    video = Layout(frames=3, rows=4, cols=6, prompt_frames=1)
    actions = Layout(frames=3, rows=4, cols=6, prompt_frames=1, between_frames=3)
    image = Layout(frames=1, rows=6, cols=6, lead=2)
    for bundle, layout in (
        ("default", video),
        ("mineworld-image", actions),
        ("mineworld-video", actions),
        ("zipar-llamagen", image),
    ):
        plan = compile_plan(layout, bundle_schedule(bundle, layout, 2), BUNDLES[bundle])
        yield f"bundle-{bundle}.json", plan, "explicit"
    yield "next-token.json", compile_plan(image, NextToken()), "rule"
    yield "stacked-frames.json.gz", compile_plan(video, Diagonal(k=1, d=4)), "explicit"
    yield "step-order.json", compile_plan(video, Diagonal(k=2, d=8), slots="step-order"), "explicit"
    yield "capped-padded.json", compile_plan(actions, Diagonal(k=1, d=2), max_width=5, pad=(4, 2, 8)), "explicit"
    end_of_line = Layout(frames=2, rows=4, cols=5, lead=3, between_rows=1, between_frames=2)
    yield "end-of-line.json.zst", compile_plan(end_of_line, Diagonal(k=1, d=3)), "explicit"
    order = [[7 * r % 5 + 3 * c % 4 + r + c for c in range(6)] for r in range(4)]
    used = sorted({step for row in order for step in row})
    imported = Imported(steps=[[used.index(step) for step in row] for row in order], label="golden")
    still = replace(video, frames=1)
    yield "imported.json", compile_plan(still, imported, Policies(proxy="above"), max_width=3), "explicit"
    visible = Policies(proxy="latest", row_end="keep", proxy_kv="visible")
    yield "zipar-visible-rule.json.gz", compile_plan(video, ZipAR(window=3), visible), "rule"
    yield "listed.json", _without_names(compile_plan(image, Diagonal(k=2), slots="step-order", pad=(4,))), "rule"


def _without_names(plan: Plan) -> Plan:
    """The plan as a producer would write it who follows no rule of ours: every row listed."""
    return replace(
        plan,
        schedule=ScheduleRecord(name="custom", steps=plan.steps),
        policies=Policies(proxy="custom", row_end="custom", visibility="listed"),
        listed=mask_rows(plan),
    )


def add(folder: Path) -> list[str]:
    """Write the plans that are not in the folder yet, and list them in its index; the names of those added."""
    index_file = folder / "index.json"
    index = json.loads(index_file.read_text(encoding="utf-8")) if index_file.exists() else {}
    added = []
    for name, plan, masks in plans():
        if name in index or (folder / name).exists():
            continue
        assert verify_plan(plan).ok, name
        write_plan(plan, folder / name, masks=masks)
        index[name] = {"steps": plan.steps, "feeds": plan.feeds, "digest": plan_digest(plan)}
        added.append(name)
    index_file.write_text(json.dumps(index, indent=1) + "\n", encoding="utf-8")
    return added


if __name__ == "__main__":
    print("\n".join(add(FOLDER)) or "nothing to add")
