"""The kernels as such; tests/adapters/test_llama_layers.py runs them."""

import ast
from pathlib import Path

SOURCE = Path(__file__).resolve().parents[2] / "adapters" / "llama_kernels.py"
#: What changes from pass to pass: were a kernel built anew for some values, a token's bits could depend on them.
VARYING = {"rows", "feeds", "length", "position_stride", "slot_stride", "mask_sample", "mask_feed", "slots"}


def test_no_kernel_is_built_for_a_passs_sizes() -> None:
    kernels = [node for node in ast.parse(SOURCE.read_text()).body if isinstance(node, ast.FunctionDef)]
    assert len(kernels) == 6
    for kernel in kernels:
        varying = {arg.arg for arg in kernel.args.args} & VARYING
        general: set[str] = set()
        for decorator in kernel.decorator_list:
            if isinstance(decorator, ast.Call):
                general |= {name for word in decorator.keywords for name in ast.literal_eval(word.value)}
        assert varying == general, kernel.name
