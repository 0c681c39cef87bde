"""The kernels as such; tests/adapters/test_llama_layers.py runs them. A GPU need not be there to build them for it."""

import ast
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")

from bench.gpu.machine_parts import TILES  # noqa: E402
from diagplan.adapters.llama_layers import KernelLayers, Places, Tiles  # noqa: E402
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
SHARED_MEMORY_OF_90 = 227 * 1024


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


def launches_of(size: str, tiles: Tiles) -> list[tuple[str, tuple[Any, ...], dict[str, Any]]]:
    """Every launch of a pass of 12 feeds of a model whose weights are nowhere."""
    model: Any = McAr.random(CONFIGS[size], dtype=torch.bfloat16, device="meta", portable=True)
    layers, met = KernelLayers(model, tiles), Launches()
    layers._kernels = met
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
@pytest.mark.parametrize(
    ("size", "capability", "tiles"),
    [
        ("300M_16f", 80, {"as they are": Tiles()}),
        ("1200M_32f", 90, {"as they are": Tiles()}),
        pytest.param("300M_16f", 90, TILES, marks=pytest.mark.slow),
    ],
)
def test_kernels_are_built_without_a_gpu(
    size: str, capability: int, tiles: dict[str, Tiles], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As launched by a pass, and in all the other ways that ``bench.gpu`` times; what these need fits a GPU."""
    pytest.importorskip("triton")
    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path))
    for name, choice in tiles.items():
        launches = launches_of(size, choice)
        assert {kernel for kernel, _, _ in launches} == {kernel.name for kernel in kernels()}
        for kernel, arguments, words in launches:
            built = build(kernel, arguments, words, capability)
            assert built.asm["cubin"]
            most = SHARED_MEMORY if choice == Tiles() else SHARED_MEMORY_OF_90
            assert built.metadata.shared <= most, (name, kernel)


def build(name: str, arguments: tuple[Any, ...], words: dict[str, Any], capability: int) -> Any:
    """A kernel as it is launched, built for a GPU."""
    import triton
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    from diagplan.adapters import llama_kernels

    kernel = getattr(llama_kernels, name)
    order = kernel.arg_names
    constants = {word: words[word] for word in order if word in words}
    given = dict(zip([word for word in order if word not in constants], arguments, strict=True))
    source = ASTSource(
        fn=kernel,
        signature={word: "constexpr" if word in constants else kind(given[word]) for word in order},
        constexprs={(order.index(word),): value for word, value in constants.items()},
    )
    options = {word: value for word, value in words.items() if word not in constants}
    return triton.compile(source, target=GPUTarget("cuda", capability, 32), options=options)
