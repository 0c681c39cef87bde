"""The campaign: damaged plans, documents and files, and killed commands, counted in one table.

    python -m tests.search -o bench/results/search.json   # --plans, --documents, --files, --kills: how many
    python -m tests.search --repeat "documents: text/20261127/17"

Linux only. A finding names its seed, which ``--repeat`` judges alone.
"""

import argparse
import json
import math
import os
import sys
import time
from collections.abc import Callable, Mapping
from datetime import date
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from bench.plan import machine
from diagplan import __version__
from diagplan.schemas.atomic import write_atomically
from tests.search import documents, files, kills, plans
from tests.search.guard import HUNG_SECONDS, MOST_BYTES, Judge, Row, judge_one, search

__all__ = ["GROUPS", "campaign", "markdown", "shown_table"]

#: What is counted together, and its judges; the kinds of a group get equal numbers of inputs, the slow ones fewer.
GROUPS: Mapping[str, Mapping[str, Judge]] = {
    "plans": plans.JUDGES,
    "documents": documents.JUDGES,
    "files": files.JUDGES,
}

_SHARES = {"videos": 0.1, "ONNX exports": 0.3, "checkpoints of a replay": 0.5}


def campaign(counts: Mapping[str, int], seed: str, workers: int, progress: Progress | None = None) -> list[Row]:
    """A row for every kind.

    Args:
        counts: at least so many inputs of each group of ``GROUPS``, and ``"kills"``.
        seed: of the whole campaign.
        workers: processes at a time; kills are not counted among them.
        progress: shows how far it is.
    """

    def counted(kind: str, total: int) -> Callable[[int], None] | None:
        if progress is None:
            return None
        task = progress.add_task(kind, total=total)
        return lambda inputs: progress.advance(task, inputs)

    rows = []
    for group, judges in GROUPS.items():
        shares = {kind: _SHARES.get(kind, 1.0) for kind in judges}
        for kind, judge in judges.items() if counts[group] else ():
            inputs = math.ceil(counts[group] * shares[kind] / sum(shares.values()))
            rows.append(search(kind, judge, inputs, seed, workers=workers, done=counted(kind, inputs)))
    if counts["kills"]:
        rows.append(kills.run(counts["kills"], seed, done=counted("kills", counts["kills"])))
    return rows


_HEADINGS = ("inputs", "judged", "accepted", "different", "crashed", "hung", "over 1 GB", "most, s", "most, MB")


def _cells(row: Mapping[str, Any]) -> list[str]:
    """A row of JSON under ``_HEADINGS``."""
    numbers = [row[name] for name in ("inputs", "accepted", "different", "crashed", "hung", "over_memory")]
    return [row["kind"], *(f"{n:,}" for n in numbers), f"{row['slowest']:.1f}", f"{row['peak'] / 2**20:.0f}"]


def shown_table(rows: list[Row]) -> Table:
    """The rows as people read them."""
    table = Table()
    for number, heading in enumerate(_HEADINGS):
        table.add_column(heading, no_wrap=True, justify="right" if number else "left")
    for row in rows:
        table.add_row(*_cells(row.as_json()))
    return table


def markdown(document: Mapping[str, Any]) -> str:
    """The table of a campaign's JSON as SECURITY.md shows it."""
    lines = [f"| {' | '.join(cells)} |" for cells in (_HEADINGS, *map(_cells, document["rows"]))]
    return "\n".join([lines[0], f"|---{'|---:' * (len(_HEADINGS) - 1)}|", *lines[1:]])


def main() -> int:
    """Run it; 1 where something was found."""
    parser = argparse.ArgumentParser(prog="python -m tests.search", description=__doc__.split("\n")[0])
    for name, count in (("plans", 1_000_000), ("documents", 200_000), ("files", 100_000), ("kills", 100)):
        parser.add_argument(f"--{name}", type=int, default=count, help=f"inputs; {count:,}")
    parser.add_argument("--seed", default=f"{date.today():%Y%m%d}", help="today's date")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1, help="processes; one for each core")
    parser.add_argument("--repeat", metavar="SEED", help="judge the input of a finding alone")
    parser.add_argument("--table", type=Path, metavar="JSON", help="print the table of SECURITY.md, and nothing else")
    parser.add_argument("-o", "--output", type=Path, help="a JSON file for the counts")
    options = parser.parse_args()
    if options.table:
        print(markdown(json.loads(options.table.read_bytes())))
        return 0
    console = Console(width=None if sys.stdout.isatty() else 120)
    if options.repeat:
        kind = options.repeat.rsplit("/", 2)[0]
        row = judge_one(kind, next(judges[kind] for judges in GROUPS.values() if kind in judges), options.repeat)
        console.print(row, markup=False)
        return not row.clean
    counts = {name: getattr(options, name) for name in (*GROUPS, "kills")}
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    begin = time.perf_counter()
    with Progress(*columns, console=console) as progress:
        rows = campaign(counts, options.seed, options.workers, progress)
    console.print(shown_table(rows))
    for finding in (finding for row in rows for finding in row.findings[:5]):
        console.print(f"{finding.fault}: {finding.seed}\n{finding.text}", markup=False)
    if options.output is not None:
        about = {"seed": options.seed, "date": f"{date.today()}", "seconds": round(time.perf_counter() - begin)}
        about |= {"diagplan": __version__, "machine": machine(), "hung_seconds": HUNG_SECONDS, "most_bytes": MOST_BYTES}
        document = about | {"rows": [row.as_json() for row in rows]}
        write_atomically(options.output, (json.dumps(document, indent=1) + "\n").encode())
    return not all(row.clean for row in rows)


if __name__ == "__main__":
    sys.exit(main())
