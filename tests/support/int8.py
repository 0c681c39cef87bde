"""Where torch's int8 products can be taken."""

import pytest

torch = pytest.importorskip("torch")

from diagplan.adapters.linear import require_quantize  # noqa: E402
from diagplan.planner.errors import SpecError  # noqa: E402

try:
    require_quantize("int8", torch.device("cpu"), torch.float32)
    _here = True
except SpecError:
    _here = False
needs_int8 = pytest.mark.skipif(not _here, reason="needs an x86 CPU with VNNI")
