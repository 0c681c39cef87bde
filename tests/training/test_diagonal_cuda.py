"""FlexAttention on CUDA, compiled: numbers and gradients of the dense mask."""

from typing import Any

import pytest

torch = pytest.importorskip("torch")

from diagplan.planner.compiler import compile_plan  # noqa: E402
from diagplan.planner.policy import Policies  # noqa: E402
from diagplan.planner.schedule import Diagonal  # noqa: E402
from diagplan.planner.training_plan import training_plan  # noqa: E402
from diagplan.training.diagonal import AttentionKind, lay_out  # noqa: E402
from tests.support.cuda import needs_cuda  # noqa: E402
from tests.training.test_diagonal import EVERY_POLICY, LAYOUT, attention_inputs  # noqa: E402

pytestmark = needs_cuda


@pytest.mark.parametrize("policies", EVERY_POLICY, ids=lambda p: f"{p.row_end}-{p.proxy_kv}-{p.visibility}")
def test_flex_and_sdpa_give_the_same_numbers_and_gradients(policies: Policies) -> None:
    plan = training_plan(compile_plan(LAYOUT, Diagonal(k=2), policies))
    outcomes = []
    kinds: tuple[AttentionKind, ...] = ("flex", "sdpa")
    for kind in kinds:
        inputs = [x.requires_grad_() for x in attention_inputs(plan.entries, "cuda")]
        out: Any = lay_out(plan, "cuda", attention=kind).attend(*inputs)
        out.square().sum().backward()
        outcomes.append([out, *(x.grad for x in inputs)])
    for flex, sdpa in zip(*outcomes, strict=True):
        torch.testing.assert_close(flex, sdpa, rtol=1e-3, atol=1e-3)
