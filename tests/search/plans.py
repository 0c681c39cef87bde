"""Damaged plans in memory: what verifies must mean what it meant, and every executor must agree on its tokens."""

import json
import time
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

from diagplan import Layout, Plan, compile_rollout
from diagplan.planner.checker import verify_plan
from diagplan.planner.columns import MaskRows
from diagplan.planner.policy import Policies
from diagplan.planner.schedule import Imported, ScheduleRecord
from diagplan.schemas.files import plan_to_json
from tests.search.guard import HUNG_SECONDS, Different, Judge
from tests.support.claims import broken_claim, damaged
from tests.support.executed import interpreted, reference, replayed
from tests.support.hash_model import HashModel, NumpyHashModel
from tests.support.mutations import FEED_MUTATIONS, MUTATIONS, ROW_MUTATIONS, Document
from tests.support.semantics import Meaning, meaning
from tests.support.strategies import layouts, plans, policies, schedules

__all__ = ["JUDGES", "KINDS", "judge_mutant", "judge_plans", "plan_of", "require_agreement"]

#: Base plans of one draw, and mutants of each.
_PLANS, _MUTANTS = 5, 50
#: Executors are run on plans up to this many positions.
_LONGEST = 200
#: Edits after which a plan that verifies must mean what it meant: those of the header may well say something else.
_OF_STEPS = sorted({*FEED_MUTATIONS, *ROW_MUTATIONS})
#: Edits that leave a document which is no plan; `tests.search.documents` has them.
KINDS = sorted({*MUTATIONS} - {"drop key", "marks"})
_CHUNKS = (1, 2, 3, 5, 512)


@st.composite
def window_plans(draw: st.DrawFn) -> Plan:
    """A plan of a rollout: a window that has slid, the first, or a shorter last one."""
    layout = draw(layouts(frames=2, side=3))
    window = Layout(frames=layout.frames, rows=layout.rows, cols=layout.cols, prompt_frames=1, lead=layout.lead,
                    between_frames=layout.between_frames)  # fmt: skip
    schedule = draw(schedules(window).filter(lambda schedule: not isinstance(schedule, Imported)))
    rollout = compile_rollout(window, schedule, draw(policies(window)), frames=draw(st.integers(1, 5)))
    return draw(st.sampled_from(rollout.plans))


def base_plans() -> st.SearchStrategy[Plan]:
    """Small plans of every kind: padded, capped, imported, of a rollout, in both orders of slots."""
    return plans(frames=2, side=3).map(lambda case: case[1]) | window_plans()


def plan_of(document: Document, *, listed: bool) -> Plan:
    """The plan that a document writes down, unchecked; its mask rows as they stand there, or as its rule says."""
    steps, names, masks = document["steps"], document["names"], document["masks"]
    columns: Any = {name: [number for step in steps for number in step[name]] for name in _COLUMNS}
    rows = [row for step in steps for row in step["rows"]] if listed else []
    every = MaskRows(
        feed=np.arange(len(rows)),
        offsets=np.cumsum([0, *(len(row) // 2 for row in rows)]),
        runs=np.array([number for row in rows for number in row], dtype=np.int32).reshape(-1, 2),
    )
    order = names["schedule"].get("order")
    return Plan(
        layout=Layout(**document["layout"]),
        schedule=ScheduleRecord(**names["schedule"] | {"order": None if order is None else tuple(order)}),
        policies=Policies(**names["policies"], visibility=masks["visibility"], proxy_kv=masks["proxy_kv"]),
        positions=document["positions"],
        given=np.array(document["given"], dtype=np.int32).reshape(-1, 2),
        step_offsets=np.cumsum([0, *(len(step["source"]) for step in steps)]),
        cache_slots=document["cache"]["slots"],
        cache_initial=document["cache"]["initial"],
        trash_slot=document["cache"]["trash"],
        max_width=document["max_width"],
        listed=every,
        **{name: np.array(column, dtype=np.int32) for name, column in columns.items()},
    )


_COLUMNS = ("source", "position", "slot", "target")


def require_agreement(plan: Plan, random: Random) -> None:
    """Every executor gives the interpreter's tokens, at a chunk and in a form drawn from ``random``; long plans pass.

    Raises:
        Different: one does not.
    """
    if plan.positions > _LONGEST:
        return
    expected = interpreted(plan, HashModel())
    chunk, static = random.choice(_CHUNKS), random.random() < 0.3
    outcomes = {
        f"torch, chunk={chunk}, static={static}": replayed(plan, HashModel(), chunk, static=static),
        "NumPy": replayed(plan, NumpyHashModel(), random.choice(_CHUNKS), static=False),
    }
    if random.random() < 0.3:
        outcomes["the reference executor"] = reference(plan, HashModel())
    for name, tokens in outcomes.items():
        if (tokens != expected).any():
            raise Different(f"{np.count_nonzero(tokens != expected)} of {len(expected)} tokens by {name}")


def judge_mutant(document: Document, original: Meaning, kinds: tuple[str, ...], random: Random) -> str | None:
    """``"accepted"`` or ``"refused"``; ``None`` where the edits changed nothing, or left no plan.

    Raises:
        Different: accepted, and wrong.
    """
    try:
        mutant = damaged(document, kinds, random)
        if mutant is None:
            return None
        plan = plan_of(mutant, listed=random.random() < 0.7)
    except (ValueError, TypeError, OverflowError):  # an odd count of runs, numbers beyond int32, a layout that is none
        return None
    if not verify_plan(plan, cap=1).ok:
        return "refused"
    told = json.loads(plan_to_json(plan))
    if set(kinds) <= {*_OF_STEPS} and meaning(told) != original:
        raise Different(f"{kinds}: accepted, though it means something else")
    broken = broken_claim(told)
    if broken is not None:
        raise Different(f"{kinds}: accepted, but {broken}")
    require_agreement(plan, random)
    return "accepted"


def judge_plans(random: Random, _: Path) -> tuple[int, int]:
    """Single, double and triple edits of some plans."""
    tally: Counter[str | None] = Counter()
    failed: list[Exception] = []

    @seed(random.getrandbits(64))
    @settings(
        max_examples=_PLANS, database=None, deadline=None, phases=[Phase.generate], suppress_health_check=[*HealthCheck]
    )
    @given(base_plans(), st.integers(0, 1 << 62))
    def judged(plan: Plan, own_seed: int) -> None:
        document = json.loads(plan_to_json(plan))
        original = meaning(document)
        own = Random(own_seed)
        for _ in range(_MUTANTS):
            kinds = (own.choice(KINDS),) if own.random() < 0.4 else tuple(own.choices(_OF_STEPS, k=own.choice((2, 3))))
            begin = time.perf_counter()
            try:
                tally[judge_mutant(document, original, kinds, own)] += 1
                if time.perf_counter() - begin > HUNG_SECONDS:
                    raise TimeoutError(f"{kinds} took {time.perf_counter() - begin:.1f} s")
            except Exception as error:  # noqa: BLE001 - kept for the guard; hypothesis would shrink it
                failed.append(error)
                return

    judged()
    if failed:
        raise failed[0]
    return tally["accepted"], tally["accepted"] + tally["refused"]


#: By kind of damage.
JUDGES: Mapping[str, Judge] = {"plans in memory": judge_plans}
