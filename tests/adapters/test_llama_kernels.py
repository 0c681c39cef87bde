"""The kernels as such; tests/adapters/test_llama_layers.py runs them. A GPU need not be there to build them for it."""

import ast
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")

from diagplan.adapters.llama_layers import KernelLayers, Places  # noqa: E402
from diagplan.adapters.mc_ar import CONFIGS, McAr  # noqa: E402
from tests.adapters.test_llama_layers import INTERPRETED  # noqa: E402

SOURCE = Path(__file__).resolve().parents[2] / "adapters" / "llama_kernels.py"
#: What changes from pass to pass: were a kernel built anew for some values, a token's bits could depend on them.
VARYING = {
    *("rows", "feeds", "length", "position_stride", "slot_stride"),
    *("mask_sample", "mask_feed", "mask_row", "slots"),
}
#: Of the GPUs with bfloat16 those of compute capability 8.6 and 8.9 have the least for a program.
SHARED_MEMORY = 99 * 1024


def kernels() -> list[ast.FunctionDef]:
    return [node for node in ast.parse(SOURCE.read_text()).body if isinstance(node, ast.FunctionDef)]


def test_no_kernel_is_built_for_a_passs_sizes() -> None:
    assert len(kernels()) == 7
    for kernel in kernels():
        varying = {arg.arg for arg in kernel.args.args} & VARYING
        general: set[str] = set()
        for decorator in kernel.decorator_list:
            if isinstance(decorator, ast.Call):
                general |= {name for word in decorator.keywords for name in ast.literal_eval(word.value)}
        assert varying == general, kernel.name


class Launches:
    """Stands for the module of kernels and remembers how each is launched, once for each set of constants."""

    def __init__(self) -> None:
        self.met: dict[Any, tuple[str, tuple[Any, ...], dict[str, Any]]] = {}

    def __getattr__(self, name: str) -> Any:
        def launch(*arguments: Any, **constants: Any) -> None:
            self.met.setdefault((name, *constants.items()), (name, arguments, constants))

        return _ByGrid(launch)


class _ByGrid:
    def __init__(self, launch: Any) -> None:
        self.launch = launch

    def __getitem__(self, grid: tuple[int, ...]) -> Any:
        assert all(size > 0 for size in grid)
        return self.launch


def launches_of(size: str) -> list[tuple[str, tuple[Any, ...], dict[str, Any]]]:
    """Every launch of a pass of 12 feeds of a model whose weights are nowhere."""
    model: Any = McAr.random(CONFIGS[size], dtype=torch.bfloat16, device="meta", portable=True)
    layers = KernelLayers.__new__(KernelLayers)
    met: Any = Launches()
    layers.model, layers._kernels = model, met
    layers._arrived = torch.zeros(1, dtype=torch.int32, device="meta")
    slot = torch.zeros(12, dtype=torch.int64, device="meta")
    mask = torch.zeros((12, 1024), dtype=torch.bool, device="meta")
    x = layers.layers(layers.embed(slot[None]), Places(slot, slot, mask), model.new_cache(1, 1024))
    layers.product(model.head.weight, layers.norm(x, model.norm.weight))
    return list(met.met.values())


def kind(argument: Any) -> str:
    """A launch's argument as the compiler names its type."""
    if not torch.is_tensor(argument):
        return "fp32" if isinstance(argument, float) else "i32"
    names = {"bfloat16": "bf16", "float32": "fp32", "int32": "i32", "int64": "i64", "uint8": "u8"}
    return "*" + names[str(argument.dtype).removeprefix("torch.")]


@pytest.mark.skipif(INTERPRETED, reason="kernels that are interpreted are not built")
@pytest.mark.parametrize(("size", "capability"), [("300M_16f", 80), ("300M_16f", 90), ("1200M_32f", 90)])
def test_kernels_are_built_without_a_gpu(size: str, capability: int, tmp_path: Path, monkeypatch: Any) -> None:
    triton = pytest.importorskip("triton")
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    from diagplan.adapters import llama_kernels

    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path))
    launches = launches_of(size)
    assert {name for name, _, _ in launches} == {kernel.name for kernel in kernels()}
    for name, arguments, words in launches:
        kernel = getattr(llama_kernels, name)
        options = {word: words[word] for word in words if word not in kernel.arg_names}
        constants = {word: value for word, value in words.items() if word in kernel.arg_names}
        names = [word for word in kernel.arg_names if word not in constants]
        signature = dict.fromkeys(constants, "constexpr") | {
            word: kind(argument) for word, argument in zip(names, arguments, strict=True)
        }
        source = ASTSource(
            fn=kernel,
            signature={word: signature[word] for word in kernel.arg_names},
            constexprs={(kernel.arg_names.index(word),): value for word, value in constants.items()},
        )
        built = triton.compile(source, target=GPUTarget("cuda", capability, 32), options=options)
        assert built.asm["cubin"]
        assert built.metadata.shared <= SHARED_MEMORY, name
