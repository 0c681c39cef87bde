"""How much memory loading takes: little more than the weights."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("safetensors")

from tests.support.checkpoints import write_safetensors, write_torch  # noqa: E402
from tests.support.sizes import LARGE, SMALL, cosmos_config  # noqa: E402

MEMORY = """
import re, sys
from pathlib import Path
import torch
from diagplan.adapters.mc_ar_files import load_mc_ar
from tests.support.sizes import LARGE, SMALL

def status(key):
    return int(re.search(key + r":\\s+(\\d+) kB", Path("/proc/self/status").read_text())[1]) * 1024

small, large, dtype = sys.argv[1:]
load_mc_ar(small, config=SMALL, dtype=dtype)  # what loads libraries
Path("/proc/self/clear_refs").write_text("5")  # the peak starts anew
before = status("VmRSS")
model = load_mc_ar(large, config=LARGE, dtype=dtype)
weights = sum(torch.Size(shape).numel() for shape in LARGE.shapes().values()) * getattr(torch, dtype).itemsize
print((status("VmHWM") - before) / weights)
"""


@pytest.mark.skipif(not os.access("/proc/self/clear_refs", os.W_OK), reason="needs Linux's /proc")
@pytest.mark.parametrize(
    ("form", "stored", "dtype"),
    [
        ("torch", "float32", "float32"),
        ("safetensors", "float32", "float32"),
        pytest.param("torch", "bfloat16", "float32", marks=pytest.mark.slow),
    ],
)
def test_peak_memory_is_little_more_than_the_weights(form: str, stored: str, dtype: str, tmp_path: Path) -> None:
    paths = []
    for name, config in (("small", SMALL), ("large", LARGE)):
        weights = {key: torch.zeros(shape, dtype=getattr(torch, stored)) for key, shape in config.shapes().items()}
        write = write_torch if form == "torch" else write_safetensors
        paths.append(str(write(weights, tmp_path / name)))
    command = [sys.executable, "-c", MEMORY, *paths, dtype]
    done = subprocess.run(command, capture_output=True, text=True, cwd=Path(__file__).parents[2])
    assert done.returncode == 0, done.stderr
    assert float(done.stdout) <= 1.15


COSMOS_MEMORY = """
import re, sys
from pathlib import Path
import torch
from diagplan.adapters.cosmos_files import load_cosmos
from tests.support.sizes import cosmos_config

def status(key):
    return int(re.search(key + r":\\s+(\\d+) kB", Path("/proc/self/status").read_text())[1]) * 1024

small, large, dtype = sys.argv[1:]
load_cosmos(small, config=cosmos_config(64, 1), dtype=dtype)
Path("/proc/self/clear_refs").write_text("5")
before = status("VmRSS")
model = load_cosmos(large, config=cosmos_config(512, 9), dtype=dtype)
print((status("VmHWM") - before) / model.weight_bytes())
"""


@pytest.mark.skipif(not os.access("/proc/self/clear_refs", os.W_OK), reason="needs Linux's /proc")
@pytest.mark.parametrize(
    ("form", "dtype"),
    [("torch", "float32"), pytest.param("safetensors", "float32", marks=pytest.mark.slow)],
)
def test_cosmos_takes_little_more_than_its_weights(form: str, dtype: str, tmp_path: Path) -> None:
    paths = []
    for name, config in (("small", cosmos_config(64, 1)), ("large", cosmos_config(512, 9))):
        weights = {f"model.{k}": torch.zeros(s, dtype=torch.bfloat16) for k, s in config.shapes().items()}
        write = write_torch if form == "torch" else write_safetensors
        paths.append(str(write(weights, tmp_path / name)))
    command = [sys.executable, "-c", COSMOS_MEMORY, *paths, dtype]
    done = subprocess.run(command, capture_output=True, text=True, cwd=Path(__file__).parents[2])
    assert done.returncode == 0, done.stderr
    assert float(done.stdout) <= 1.15


LLAMAGEN_MEMORY = """
import re, sys
from pathlib import Path
import torch
from diagplan.adapters.llamagen_config import LlamaGenConfig
from diagplan.adapters.llamagen_files import load_llamagen

def status(key):
    return int(re.search(key + r":\\s+(\\d+) kB", Path("/proc/self/status").read_text())[1]) * 1024

small, large, dtype = sys.argv[1:]
load_llamagen(small, config=LlamaGenConfig(n_layer=1, n_head=1, dim=64), dtype=dtype)
Path("/proc/self/clear_refs").write_text("5")
before = status("VmRSS")
model = load_llamagen(large, dtype=dtype)
print((status("VmHWM") - before) / model.weight_bytes())
"""


@pytest.mark.skipif(not os.access("/proc/self/clear_refs", os.W_OK), reason="needs Linux's /proc")
@pytest.mark.slow
@pytest.mark.parametrize("stored", ["float32", "bfloat16"])
def test_peak_memory_of_a_llamagen(stored: str, tmp_path: Path) -> None:
    from diagplan.adapters.llamagen_config import CONFIGS, LlamaGenConfig

    paths = []
    for name, config in (("small", LlamaGenConfig(n_layer=1, n_head=1, dim=64)), ("large", CONFIGS["B"])):
        weights = {key: torch.zeros(shape, dtype=getattr(torch, stored)) for key, shape in config.shapes().items()}
        paths.append(str(write_torch(weights, tmp_path / name, holder="model")))
    command = [sys.executable, "-c", LLAMAGEN_MEMORY, *paths, "float32"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=Path(__file__).parents[2])
    assert done.returncode == 0, done.stderr
    assert float(done.stdout) <= 1.15
