"""What replay builds on, of every adapter: one pass over all feeds is replay step by step, and masks are obeyed."""

import numpy as np
import pytest
from hypothesis import given as given_examples
from hypothesis import settings

torch = pytest.importorskip("torch")

from diagplan.backends.reference import reference_replay, teacher_forced_logits  # noqa: E402
from diagplan.backends.sampling import Greedy  # noqa: E402
from diagplan.backends.selftest import require_masks_obeyed  # noqa: E402
from diagplan.planner.errors import DiagplanError  # noqa: E402
from diagplan.planner.plan import Plan  # noqa: E402
from tests.support.conformance import MODELS, ids_for, is_slow, small_plans  # noqa: E402

pytestmark = pytest.mark.parametrize(
    "model_name",
    [pytest.param(name, marks=pytest.mark.slow) if is_slow(name, "torch") else name for name in MODELS],
)


@settings(max_examples=15, deadline=None)
@given_examples(plan=small_plans())
def test_one_teacher_forced_pass_equals_step_by_step(model_name: str, plan: Plan) -> None:
    """Section 5 of the semantics: replaying step by step is one pass over all feeds."""
    model = MODELS[model_name](torch.float64)
    tokens, chosen_by = reference_replay(plan, model, torch.from_numpy(ids_for(plan, model)), Greedy(), [0], [0])
    at_once = teacher_forced_logits(plan, model, tokens)
    feeds = np.flatnonzero(plan.target >= 0)
    np.testing.assert_allclose(at_once[0, feeds].numpy(), chosen_by[0, plan.target[feeds]].numpy(), atol=1e-9)


def test_masks_are_obeyed(model_name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    model = MODELS[model_name](torch.float32)
    require_masks_obeyed(model)
    real = torch.nn.functional.scaled_dot_product_attention
    monkeypatch.setattr(
        torch.nn.functional,
        "scaled_dot_product_attention",
        lambda q, k, v, attn_mask, **options: (attn_mask, real(q, k, v, **options))[1],
    )
    with pytest.raises(DiagplanError, match="expected attention to obey its mask"):
        require_masks_obeyed(model)
