"""A rank reads its part of each tensor, from every form of file, and little more memory is taken."""

import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("safetensors")

from diagplan.adapters.mc_ar import random_weights  # noqa: E402
from diagplan.adapters.mc_ar_files import open_mc_ar  # noqa: E402
from diagplan.adapters.parallel_cuts import Cut  # noqa: E402
from diagplan.adapters.parallel_parts import mc_ar_part  # noqa: E402
from diagplan.adapters.weights import LazyWeights, open_checkpoint  # noqa: E402
from diagplan.planner.errors import DocumentError  # noqa: E402
from tests.support.checkpoints import write_folder, write_safetensors, write_torch  # noqa: E402
from tests.support.cut_weights import CutWeights  # noqa: E402
from tests.support.families import LLAMA  # noqa: E402
from tests.support.sizes import LARGE, SMALL  # noqa: E402


@pytest.mark.parametrize("form", ["torch", "safetensors", "folder of shards"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_parts_are_those_of_the_whole(form: str, dtype: Any, tmp_path: Path) -> None:
    weights = random_weights(LLAMA)
    path = tmp_path / "w"
    if form == "folder of shards":
        write_folder(weights, path, shards=3)
    else:
        (write_torch if form == "torch" else write_safetensors)(weights, path)
    checkpoint, config, names = open_mc_ar(path, LLAMA)
    for rank in range(2):
        cuts = mc_ar_part(config, SimpleNamespace(rank=rank, world=2)).cuts
        lazy, held = LazyWeights(checkpoint, names, dtype=dtype, cuts=cuts), CutWeights(weights, cuts)
        assert list(lazy) == list(held)
        assert len(held) == len(weights)
        for name in lazy:
            assert torch.equal(lazy[name], held[name].to(dtype)), name
            assert lazy[name].is_contiguous()
            assert held[name].is_contiguous()


def test_a_part_of_a_file_that_has_changed(tmp_path: Path) -> None:
    path = write_safetensors({"a": torch.zeros(4, 4)}, tmp_path / "w")
    checkpoint = open_checkpoint(path)
    write_safetensors({"a": torch.zeros(2, 4)}, path)
    with pytest.raises(DocumentError, match="expected a whole checkpoint"):
        checkpoint.read("a", cut=Cut(0, ((0, 2),)))


MEMORY = """
import ctypes, gc, re, sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any
import torch
from diagplan.adapters.mc_ar_files import load_mc_ar
from diagplan.adapters.cosmos_files import load_cosmos
from diagplan.adapters.parallel_cuts import cut_shapes
from diagplan.adapters.parallel_parts import cosmos_part, mc_ar_part
from tests.support.sizes import LARGE, SMALL, cosmos_config

def status(key):
    return int(re.search(key + r":\\s+(\\d+) kB", Path("/proc/self/status").read_text())[1]) * 1024

family, small, large, rank, world = sys.argv[1:]
ranks = SimpleNamespace(rank=int(rank), world=int(world))
load, part, sizes = {
    "mc-ar": (load_mc_ar, mc_ar_part, (SMALL, LARGE)),
    "cosmos": (load_cosmos, cosmos_part, (cosmos_config(64, 1), cosmos_config(512, 9))),
}[family]
load(small, config=sizes[0], ranks=ranks)  # what loads libraries
gc.collect()
ctypes.CDLL(None).malloc_trim(0)  # what imports have left is not to pay for the model
Path("/proc/self/clear_refs").write_text("5")  # the peak starts anew
before = status("VmRSS")
model = load(large, config=sizes[1], ranks=ranks)
shapes = cut_shapes(sizes[1].shapes(), part(sizes[1], ranks).cuts)
share = sum(torch.Size(shape).numel() for shape in shapes.values()) * 4
print((status("VmHWM") - before) / share, share)
"""


@pytest.mark.skipif(not os.access("/proc/self/clear_refs", os.W_OK), reason="needs Linux's /proc")
@pytest.mark.parametrize(
    ("family", "form", "rank", "world"),
    [
        ("mc-ar", "safetensors", 1, 2),
        pytest.param("mc-ar", "torch", 0, 2, marks=pytest.mark.slow),
        pytest.param("cosmos", "shards", 1, 2, marks=pytest.mark.slow),
        pytest.param("cosmos", "safetensors", 0, 2, marks=pytest.mark.slow),
    ],
)
def test_a_ranks_peak_memory_is_little_more_than_its_share(
    family: str, form: str, rank: int, world: int, tmp_path: Path
) -> None:
    from tests.support.cosmos_forms import shards, write_shards
    from tests.support.sizes import cosmos_config

    paths, largest = [], 0
    sizes: list[Any] = [SMALL, LARGE] if family == "mc-ar" else [cosmos_config(64, 1), cosmos_config(512, 9)]
    for name, config in zip(("small", "large"), sizes, strict=True):
        weights = {key: torch.zeros(shape) for key, shape in config.shapes().items()}
        largest = 4 * max(tensor.numel() for tensor in weights.values())
        if form == "shards":
            (tmp_path / name).mkdir()
            paths.append(str(write_shards(shards(weights), tmp_path / name)))
        else:
            paths.append(str((write_torch if form == "torch" else write_safetensors)(weights, tmp_path / name)))
    command = [sys.executable, "-c", MEMORY, family, *paths, str(rank), str(world)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=Path(__file__).parents[2])
    assert done.returncode == 0, done.stderr
    peak, share = map(float, done.stdout.split())
    assert share > 50e6
    mapped = largest / share  # pages of the file that is being read
    print(f"{family}, {form}, rank {rank} of {world}: {peak:.3f} times its {share / 1e6:.0f} MB, {mapped:.3f} mapped")
    assert peak <= 1.1 + mapped
