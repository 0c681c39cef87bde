"""The figures of a plan in words, and as a table."""

from typing import TYPE_CHECKING

from diagplan.planner.stats import PlanStats

if TYPE_CHECKING:
    from rich.table import Table

__all__ = ["stats_rows", "stats_table"]


def stats_rows(stats: PlanStats) -> list[tuple[str, str]]:
    """The figures worth showing, as (label, text).

    >>> from diagplan import Layout, NextToken, compile_plan
    >>> stats_rows(compile_plan(Layout(frames=1, rows=2, cols=2, lead=1), NextToken()).stats())[0]
    ('forward passes', '4')
    """
    shown = {
        "forward passes": f"{stats.steps:,}",
        "tokens": f"{stats.tokens:,}",
        "speed-up in passes": f"{stats.speedup:.2f} x",
        "width, mean / max": f"{stats.mean_width:.2f} / {stats.max_width:,}",
        "passes a width cap costs": f"{stats.extra_steps:,}" if stats.extra_steps else "",
        "feeds (of them prefill)": f"{stats.feeds:,} ({stats.prefill_feeds:,})",
        "padding feeds": f"{stats.padding_feeds:,}" if stats.padding_feeds else "",
        "cache slots": f"{stats.cache_slots:,}",
        "proxies": f"{stats.proxies:,}",
        "refreshes": f"{stats.refreshes:,}",
        "reads of unwritten slots": f"{stats.unwritten_reads:,}",
    }
    return [(label, value) for label, value in shown.items() if value]


def stats_table(stats: PlanStats) -> "Table":
    """The same as a table that rich prints, and that notebooks show.

    >>> from diagplan import Layout, NextToken, compile_plan
    >>> stats_table(compile_plan(Layout(frames=1, rows=2, cols=2, lead=1), NextToken()).stats()).row_count
    9
    """
    from rich.table import Table

    table = Table(show_header=False)
    table.add_column()
    table.add_column(justify="right")
    for label, value in stats_rows(stats):
        table.add_row(label, value)
    return table
