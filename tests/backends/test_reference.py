"""The reference executor: the golden tokens, and who sees whom by the semantics alone."""

import numpy as np
import pytest
from hypothesis import given, settings

torch = pytest.importorskip("torch")

from diagplan.backends.reference import feed_mask, reference_replay, teacher_forced_logits  # noqa: E402
from diagplan.backends.sampling import Greedy  # noqa: E402
from diagplan.planner.masks import iter_masks  # noqa: E402
from diagplan.planner.plan import Plan  # noqa: E402
from tests.support.mc_ar import golden_model  # noqa: E402
from tests.support.mineworld import DATA, GIVEN, LAYOUT, META, golden_plan  # noqa: E402
from tests.support.strategies import Request, plans  # noqa: E402


@pytest.mark.parametrize("name", ["naive", "image_k1_prompt", "vid_k2_latest"])
def test_reference_gives_the_golden_tokens(name: str) -> None:
    plan = golden_plan(META["cases"][name])
    tokens, _ = reference_replay(plan, golden_model(), torch.from_numpy(GIVEN)[None], Greedy(), [0], [0])
    np.testing.assert_array_equal(tokens[0].numpy()[LAYOUT.cell_slots()].ravel(), DATA[f"tokens/{name}"].ravel())


@settings(max_examples=40)
@given(compiled=plans(frames=2, side=4))
def test_a_feed_sees_the_newest_write_of_each_slot_in_its_mask(compiled: tuple[Request, Plan]) -> None:
    """Feed by feed in plain Python."""
    _, plan = compiled
    seen = feed_mask(plan)
    assert seen.shape == (plan.feeds, plan.feeds + plan.cache_slots)
    rows = np.concatenate([mask for _, mask in iter_masks(plan)])
    steps = plan.feed_steps()
    for i in range(plan.feeds):
        expected = set()
        for slot in np.flatnonzero(rows[i]).tolist():
            writes = [j for j in range(plan.feeds) if steps[j] <= steps[i] and plan.slot[j] == slot]
            expected.add(writes[-1] if writes else plan.feeds + slot)
        assert set(np.flatnonzero(seen[i]).tolist()) == expected


def test_tokens_that_are_not_known_yet_are_not_looked_at() -> None:
    plan, model = golden_plan(META["cases"]["image_k2_prompt"]), golden_model()
    tokens = torch.full((1, plan.positions), 3)
    tokens[:, torch.from_numpy(LAYOUT.cell_slots()[-1].ravel()).long()] = -1
    last = int(np.flatnonzero(plan.target >= 0)[-1])
    early = next(i for i in range(plan.feeds) if plan.source[i] in set(LAYOUT.cell_slots()[-1].ravel().tolist()))
    assert early < last
    logits = teacher_forced_logits(plan, model, tokens, early)
    assert logits.shape == (1, early, model.vocab_size)
    whole = teacher_forced_logits(plan, model, tokens.clamp_min(0))
    torch.testing.assert_close(logits, whole[:, :early])
