"""Everything that a GPU has to show, in one command and within a time: ``python -m bench.gpu -o DIR``.

Runs the tests that need CUDA and then times plans on released shapes with random weights: every part writes what it
found to ``DIR/gpu.json`` and ``DIR/gpu.md`` at once, a part that fails loses nothing, and one for which too little of
the budget is left is skipped. docs/gpu.md says what the columns mean.
"""

import argparse
import sys
import time
from pathlib import Path

from bench.gpu.bench import Bench, python, run_parts
from bench.gpu.clock import Device
from bench.gpu.parts import PARTS
from bench.gpu.report import Report
from bench.plan import machine


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.gpu", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="tiny shapes and few repeats: does everything run?")
    parser.add_argument("--device", default="cuda", help="cuda, or cpu to try the command without one")
    parser.add_argument("--parts", help=f"some of {','.join(PARTS)}; all by default")
    parser.add_argument("--budget", type=float, default=540.0, help="seconds for all parts together; default 540")
    parser.add_argument("-o", "--out", type=Path, required=True, help="folder for gpu.json and gpu.md")
    parser.add_argument("--goes-on", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    names = list(PARTS) if options.parts is None else options.parts.split(",")
    for name in names:
        if name not in PARTS:
            parser.error(f"expected parts among {', '.join(PARTS)}, got {name!r}.")
    if not 0 < options.budget < 1e6:
        parser.error(f"expected a budget of some seconds, got {options.budget:g}.")
    import torch

    if options.device.startswith("cuda") and not torch.cuda.is_available():
        print(
            f"expected a CUDA device for device={options.device}, got a machine where torch {torch.__version__} sees "
            "none. Run it on a GPU, or try the command with --device cpu --quick.",
            file=sys.stderr,
        )
        return 2
    ends = time.monotonic() + options.budget
    options.out.mkdir(parents=True, exist_ok=True)
    device = Device(options.device)
    about = machine() | device.describe() | ({"quick": "yes, tiny shapes"} if options.quick else {})
    if not device.on_gpu:
        about["no CUDA"] = "passes run on the buffers of graphs without graphs"
    if options.quick:
        print("Tiny shapes: figures say nothing of the models and the modes that they are named after.")
    report = Report.read(options.out) if options.goes_on else Report(options.out, about)
    bench = Bench(device, options.quick, ends, report)
    again = python("-m", "bench.gpu", "-o", str(options.out), "--device", options.device)
    fine = run_parts(bench, {name: PARTS[name] for name in names}, again + ["--quick"] * options.quick)
    print(f"wrote {options.out / 'gpu.md'} and gpu.json; {max(0.0, bench.left):.0f} s of the budget are left")
    return 0 if fine else 1


if __name__ == "__main__":
    sys.exit(main())
