"""Parts about the device itself: its roofline, the tests that need it, and the kernels that a pass is made of."""

import subprocess
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from tempfile import TemporaryDirectory
from xml.etree import ElementTree as ET

import torch

from bench.gpu.bench import Bench, python
from bench.gpu.shapes import mc_ar, mc_ar_layout
from diagplan import NextToken, compile_plan
from diagplan.adapters.attention import attend, mask_bias, mask_values
from diagplan.adapters.llama_layers import KernelLayers, Places, Tiles
from diagplan.adapters.mc_ar import McAr
from diagplan.backends.prepared import new_state, prepare
from diagplan.backends.torch_graphs import StaticPasses

__all__ = ["TILES", "device", "kernels", "tests", "tiles"]

_ROOT = Path(__file__).parents[2]
#: Files of tests that run at a time, and the seconds that each may take.
_PROCESSES, _TEST_SECONDS = 4, 80.0
#: Other ways of cutting the work of our kernels; each is built in some seconds and timed beside the first.
TILES: dict[str, Tiles] = {
    "as they are": Tiles(),
    "attention: 64 keys": Tiles(keys=64),
    "attention: 32 keys": Tiles(keys=32),
    "attention: 8 warps": Tiles(attention_warps=8),
    "attention: 64 keys, 2 warps": Tiles(keys=64, attention_warps=2),
    "qkv: 4 warps": Tiles(qkv_warps=4),
    "qkv: 128 inputs, 4 loads": Tiles(qkv_inputs=128, qkv_stages=4),
    "products: 64 inputs": Tiles(inputs=64),
    "products: 64 inputs, 6 loads": Tiles(inputs=64, stages=6),
    "products: 256 inputs, 3 loads": Tiles(inputs=256, stages=3),
    "products: 2 warps": Tiles(warps=2),
    "products: 8 warps": Tiles(warps=8),
}
#: Files of tests that need a CUDA device, or do more where there is one.
GPU_TESTS = ("test_*_cuda.py", "test_llama_layers.py")


def device(bench: Bench) -> None:
    """Bandwidth of a copy, rate of a bfloat16 product, and what a kernel in a graph costs at least."""
    where, clock = bench.device.device, bench.device
    size = 1 << (22 if bench.quick else 30)
    source, target = (torch.randint(0, 255, (size,), dtype=torch.uint8, device=where) for _ in range(2))
    copy = 2 * size / clock.median(lambda: target.copy_(source), 10, warm=3)
    wide = source.view(torch.float32).nan_to_num_()
    read = size / clock.median(wide.amax, 10, warm=3)
    n = 256 if bench.quick else 8192
    a, b = (torch.randn(n, n, device=where, dtype=torch.bfloat16) for _ in range(2))
    product = 2 * n**3 / clock.median(lambda: a @ b, 10, warm=3)
    one = torch.zeros(1, device=where)

    def many() -> None:
        for _ in range(200):
            one.add_(1)

    launch = clock.median(clock.graphed(many), 10, warm=2) / 200
    bench.part.facts |= {
        "copy GB/s": copy / 1e9, "read GB/s": read / 1e9, "bf16 TFLOP/s": product / 1e12,
        "us a kernel in a graph": 1e6 * launch,
    }  # fmt: skip
    bench.note("A copy counts bytes read and written; memory floors below are over that bandwidth.")


def tests(bench: Bench) -> None:
    """The tests that need CUDA: a process for each file, several at a time, each with a limit of its own."""
    files = sorted({path for name in GPU_TESTS for path in (_ROOT / "tests").rglob(name)})
    files = [path for path in files if "torch_graphs" in path.name] if bench.quick else files
    begin, limit = time.monotonic(), max(1.0, min(_TEST_SECONDS, bench.left - 5))
    outcomes = {"passed": 0, "skipped": 0, "failed": 0, "files that did not end": 0}
    errors: dict[str, str] = bench.part.facts.setdefault("errors", {})
    with TemporaryDirectory() as folder, ThreadPoolExecutor(_PROCESSES) as pool:
        running = {pool.submit(_tested, path, Path(folder), limit): path for path in files}
        for done in as_completed(running):
            file, (text, cases) = running[done].relative_to(_ROOT).as_posix(), done.result()
            for name, outcome, error in cases:
                outcomes[outcome] += 1
                if error:
                    errors[name] = error[-1500:]
                    bench.row(file=file, test=name, error=error[:300])
            if text is not None:
                outcomes["files that did not end"] += 1
                errors[file] = text[-3000:]
                bench.row(file=file, test="", error=text.strip()[-300:] or "it said nothing")
            bench.part.facts |= outcomes | {"wall s": time.monotonic() - begin}
            bench.report.write()
    bench.note(f"{len(files)} files of tests that need CUDA, each stopped after {limit:.0f} s.")
    bad = outcomes["failed"] + outcomes["files that did not end"]
    if bad or not files or (bench.device.on_gpu and not outcomes["passed"]):
        raise AssertionError(f"expected all tests to pass, got {outcomes}. The table has their errors.")


def _tested(path: Path, folder: Path, limit: float) -> tuple[str | None, list[tuple[str, str, str]]]:
    """What a file printed, where it did not end by itself with a report; and (test, outcome, error) of each test."""
    xml, log = folder / f"{path.stem}.xml", folder / f"{path.stem}.log"
    # Versions of libraries differ: their warnings are no failures here.
    command = python(
        "-m", "pytest", str(path), "-q", "-W", "default", "-p", "no:cacheprovider", "-o", "xfail_strict=false",
        "-o", "addopts=--import-mode=importlib", "--tb=short", f"--junitxml={xml}",
    )  # fmt: skip
    with log.open("wb") as out:  # a file, so that what was printed outlives a process that is stopped
        try:
            subprocess.run(command, cwd=_ROOT, stdout=out, stderr=subprocess.STDOUT, timeout=limit, check=False)
        except subprocess.TimeoutExpired:
            return f"{log.read_text(errors='replace')}\nIt did not end within {limit:.0f} s.", []
    if not xml.exists():
        return log.read_text(errors="replace"), []
    cases = []
    for case in ET.parse(xml).iter("testcase"):
        bad = [child for child in case if child.tag in ("failure", "error")]
        outcome = "failed" if bad else "skipped" if any(child.tag == "skipped" for child in case) else "passed"
        error = f"{bad[0].get('message', '')}\n{bad[0].text or ''}" if bad else ""
        cases.append((str(case.get("name")), outcome, error))
    return None, cases


def kernels(bench: Bench) -> None:
    """Attention cut in parts, matrix products of few rows, and the kernels of a pass of one feed."""
    _attention(bench)
    _products(bench)
    if bench.device.on_gpu:
        for own in (True, False):
            if bench.room(3, "the profile of a pass"):
                _profile(bench, own=own)


def tiles(bench: Bench) -> None:
    """Passes through the layers of 300M and 1.2B with the work of our kernels cut in other ways."""
    for size in ("300M_16f", "1200M_16f"):
        model = mc_ar(size, bench.device.device, quick=bench.quick)
        if model._kernels is None:
            bench.note("Our kernels need a GPU with bfloat16, and Triton.")
            return
        for name, choice in TILES.items():
            if not bench.room(6, f"{size}, {name}"):
                return
            try:
                bench.row(model=size, tiles=name, **_through_layers(bench, model, KernelLayers(model, choice)))
            except Exception as error:  # noqa: BLE001 - what Triton says of one choice is no reason to stop
                bench.note(f"{size}, {name}: {str(error)[:300]}")


def _through_layers(bench: Bench, model: McAr, layers: KernelLayers) -> dict[str, float]:
    """Microseconds of passes of 1, 12 and 96 feeds that see an eighth of a long cache, and all of it."""
    where, length = model.device, 1 << (model.positions.bit_length() - 1)
    cache, figures = model.new_cache(1, length), {}
    for n in (1, 12, 96):
        x = torch.randn(1, n, model.config.hidden_size, device=where, dtype=model.dtype)
        slot = torch.arange(n, device=where)
        for seen in (length // 8, length):
            mask = torch.zeros((n, length), dtype=torch.bool, device=where)
            mask[:, :seen] = True
            places = Places(slot, slot, mask)
            took = _micros(bench, lambda: layers.layers(x, places, cache), 5)  # noqa: B023
            figures[f"us, {n} feed{'s' * (n > 1)}, {'all' if seen == length else 'an eighth'}"] = took
    return figures


def _micros(bench: Bench, run: Callable[[], object], repeats: int = 20) -> float:
    """Microseconds of a run inside a graph of several."""
    repeats = 1 if bench.quick else repeats

    def many() -> None:
        for _ in range(repeats):
            run()

    return 1e6 * bench.device.median(bench.device.graphed(many), 1 if bench.quick else 5) / repeats


def _attention(bench: Bench) -> None:
    where, lengths = bench.device.device, ((256,) if bench.quick else (1024, 6144, 12288))
    for kv_heads, width, group in ((4, 64, 4), (8, 128, 4)):
        for length in lengths:
            k, v = (torch.randn(1, kv_heads, length, width, device=where, dtype=torch.bfloat16) for _ in range(2))
            for n in (1,) if bench.quick else (1, 8, 32):
                q = torch.randn(1, kv_heads * group, n, width, device=where, dtype=torch.bfloat16)
                mask = torch.ones(n, length, dtype=torch.bool, device=where)
                bias = mask_bias(mask, mask_values(where, torch.bfloat16), group)
                figures = {}
                for parts in (1, 4, 16):
                    try:
                        took = _micros(bench, lambda: attend(q, k, v, bias, width**-0.5, parts=parts))  # noqa: B023
                    except RuntimeError as error:
                        took = float("nan")
                        bench.note(f"Attention in {parts} part(s): {str(error)[:200]}")
                    figures[f"us, {parts} part(s)"] = took
                floor = 1e6 * (k.nbytes + v.nbytes) / bench.bandwidth
                bench.row(what=f"attention, {kv_heads} x {width}, cache {length}, {n} feeds", **figures, floor=floor)


def _products(bench: Bench) -> None:
    where = bench.device.device
    shapes = ((32, 48),) if bench.quick else ((1024, 8192), (2048, 16384), (4096, 28672))
    for inside, outside in shapes:
        copies = max(1, (1 << 28) // (inside * outside * 2))  # more than fits into the cache of the chip
        weights = [torch.randn(outside, inside, device=where, dtype=torch.bfloat16) for _ in range(min(copies, 32))]
        figures = {}
        for n in (1, 2, 8, 16, 32):
            x = torch.randn(n, inside, device=where, dtype=torch.bfloat16)

            def through(x: torch.Tensor = x, weights: list[torch.Tensor] = weights) -> None:
                for weight in weights:
                    torch.nn.functional.linear(x, weight)

            figures[f"us, {n} feeds"] = _micros(bench, through, 1) / len(weights)
        bench.row(what=f"product {inside} -> {outside}", **figures, floor=1e6 * weights[0].nbytes / bench.bandwidth)


def _profile(bench: Bench, *, own: bool) -> None:
    """Kernels of one pass of one feed, by the time they take."""
    model = mc_ar("300M_16f", bench.device.device, quick=bench.quick, kernels=own)
    prepared = prepare(compile_plan(mc_ar_layout(quick=bench.quick, frames=2), NextToken()), model, static=True)
    state = new_state(prepared, torch.zeros(1, len(prepared.given_slots), dtype=torch.int64).numpy())
    state.tokens.clamp_(0)
    passes = StaticPasses(prepared, state, capture=False)
    number = len(prepared.passes) - 1
    with torch.inference_mode():
        for _ in range(3):
            passes.advance(number)
        bench.device.wait()
        with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CUDA]) as profile:
            passes.advance(number)
            bench.device.wait()
    events = [event for event in profile.key_averages() if event.self_device_time_total > 0]
    total = sum(event.self_device_time_total for event in events)
    label = "own kernels" if own else "operators"
    bench.note(f"A pass of one feed, {label}: {sum(e.count for e in events)} kernels, {total:.0f} us of them.")
    for event in sorted(events, key=lambda event: -event.self_device_time_total)[:20]:
        bench.row(what=f"{label}: {event.key[:90]}", kernels=event.count, us=float(event.self_device_time_total))
