"""Time of checking plans as they grow: ``python -m bench.verify``.

One frame of two rows: the first cell by cell, the second in one step, each of its cells but one on a proxy that is
to be found among all cells before it. The time of a token must not grow with their number.
"""

import argparse
import json
import statistics
import time
from pathlib import Path

from rich.console import Console
from rich.table import Table

from bench.plan import machine
from diagplan import Imported, Layout, Policies, compile_plan, verify
from diagplan.planner.policy import ProxyPolicy

RESULTS = Path(__file__).parent / "results" / "verify.json"
TOKENS = (7_500, 15_000, 30_000, 60_000, 120_000)
PROXIES: tuple[ProxyPolicy, ...] = ("latest", "previous-frame", "above-predecessor")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=3, help="counted runs of each plan")
    parser.add_argument("--out", type=Path, default=RESULTS, help="where to write the JSON")
    options = parser.parse_args()
    table = Table(title="Checking one frame of two rows, the second on proxies")
    table.add_column("proxy")
    for name in ("tokens", "median ms", "ns a token"):
        table.add_column(name, justify="right")
    rows = []
    for proxy in PROXIES:
        for tokens in TOKENS:
            layout = Layout(frames=1, rows=2, cols=tokens // 2, lead=1)
            order = Imported(steps=[list(range(layout.cols)), [layout.cols] * layout.cols])
            plan = compile_plan(layout, order, Policies(proxy=proxy))
            seconds = []
            for _ in range(options.repeats + 1):
                start = time.perf_counter()
                if not verify(plan).ok:
                    raise SystemExit("the benchmark's plan does not verify")
                seconds.append(time.perf_counter() - start)
            median = 1e3 * statistics.median(seconds[1:])
            rows.append({"proxy": proxy, "tokens": tokens, "median_ms": median})
            table.add_row(proxy, f"{tokens:,}", f"{median:.1f}", f"{1e6 * median / tokens:.0f}")
    Console(width=100).print(table)
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps({"machine": machine(), "rows": rows}, indent=1) + "\n")
    print(f"wrote {options.out}")


if __name__ == "__main__":
    main()
