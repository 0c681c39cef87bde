"""Write the table of limits in docs/plan-format.md from the code: ``python -m docs.make_limits``, or ``make docs``."""

import re
import sys
from pathlib import Path

from diagplan.schemas.limits import LIMITS

__all__ = ["PAGE", "limits_table", "main", "with_table"]

PAGE = Path(__file__).resolve().parent / "plan-format.md"
_MARK = "<!-- the table is made by python -m docs.make_limits -->\n"


def limits_table() -> str:
    """The table as Markdown."""
    head = "| what | limit | in schemas/limits.py |\n|---|---|---|\n"
    return head + "".join(
        f"| {row.what} | {row.limit} | {f'`{row.constant}`' if row.constant else ''} |\n" for row in LIMITS
    )


def with_table(page: str) -> str:
    """The page with today's table below the mark."""
    before, mark, after = page.partition(_MARK)
    assert mark
    return (
        before
        + mark
        + limits_table()
        + "\n"
        + re.sub(r"\A(\||\n).*?^(?=[^|\n])", "", after, flags=re.MULTILINE | re.DOTALL)
    )


def main() -> None:
    """Write the page."""
    PAGE.write_text(with_table(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
    sys.stdout.write(f"wrote {PAGE.name}\n")


if __name__ == "__main__":
    main()
