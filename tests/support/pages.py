"""Pages of the documentation as tests see them: their blocks, what these print, their headings and links."""

import contextlib
import io
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

__all__ = ["DOCS", "PAGES", "ROOT", "Block", "blocks", "links", "run_page", "sections", "shows", "slugs", "table"]

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
PAGES = [page for name in ("README", "CONTRIBUTING", "CHANGELOG") if (page := ROOT / f"{name}.md").exists()]
PAGES += [*sorted(DOCS.glob("*.md")), *sorted(DOCS.glob("*/*.md"))]

#: What a page may ask a shell to do; other commands (pip, make, git) are not run and prove nothing.
RUNNABLE = ("diagplan", "sed", "echo", "cat")
#: Commands that leave nothing behind in a process.
PLANNER = ("compile", "verify", "show", "diff", "graph", "presets", "schema", "steps", "audit", "prove")


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """A fenced block: its kind, its text, its first line, and whether only blank lines lie between it and the last."""

    kind: str
    text: str
    line: int
    follows: bool


def blocks(page: Path) -> list[Block]:
    text = page.read_text()
    found, end = [], 0
    for match in re.finditer(r"^```(\w*)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL):
        line = text.count("\n", 0, match.start(2)) + 1
        found.append(Block(kind=match[1], text=match[2], line=line, follows=not text[end : match.start()].strip()))
        end = match.end()
    return found


def _timeless(text: str) -> str:
    text = re.sub(r'("seconds": )[\d.e-]+', r"\1#", text)
    return re.sub(r"\b\d+(\.\d+)? (s|ms|seconds)\b", r"# \2", text)


def shows(shown: str, printed: str) -> bool:
    """Whether a page's lines show what was printed: ``...`` alone stands for any lines, within a line for anything.

    Blank lines, blanks at a line's end and durations do not count.
    """
    pattern = ""
    for line in filter(str.strip, _timeless(shown).splitlines()):
        if line.strip() == "...":
            pattern += r"(?:.*\n)*?"
        else:
            pattern += re.escape(line.rstrip()).replace(r"\.\.\.", ".*?") + r"\n"
    lines = "".join(line.rstrip() + "\n" for line in filter(str.strip, _timeless(printed).splitlines()))
    return re.fullmatch(pattern, lines) is not None


def commands(text: str) -> Iterator[tuple[str, str]]:
    """Each command of a console block with the lines shown below it."""
    for part in re.split(r"^\$ ", text, flags=re.MULTILINE)[1:]:
        lines = part.splitlines(keepends=True)
        last = next(i for i, line in enumerate(lines) if not line.endswith("\\\n"))
        yield "".join(lines[: last + 1]).strip(), "".join(lines[last + 1 :])


def run_shell(command: str, folder: Path) -> tuple[int, str]:
    # The diagplan of this interpreter first on the path; 80 columns, no colours, whoever runs the tests.
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    drop = ("FORCE_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE", "PYTHONWARNINGS")
    env = {name: value for name, value in os.environ.items() if name not in drop}
    env |= {"PATH": path, "COLUMNS": "80", "NO_COLOR": "1", "TERM": "dumb", "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        command, shell=True, cwd=folder, env=env, text=True, timeout=120,
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip
    return done.returncode, done.stdout


def run_here(command: str) -> tuple[int, str] | None:
    """A command of the planner alone, in this process; none where a shell or a process of its own is needed."""
    words = shlex.split(command)
    if words[:1] != ["diagplan"] or words[1] not in PLANNER or re.search(r"[|<>;&$*`]", command):
        return None
    from typer.testing import CliRunner

    from diagplan.cli import app

    env: dict[str, str | None] = {"COLUMNS": "80", "NO_COLOR": "1", "TERM": "dumb"}
    env |= dict.fromkeys(("FORCE_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE"))
    done = CliRunner(env=env).invoke(app, words[1:])
    assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
    return done.exit_code, done.output


def run_console(block: Block, page: Path, folder: Path) -> None:
    for command, shown in commands(block.text):
        if command.split()[0] not in RUNNABLE:
            continue
        code, printed = run_here(command) or run_shell(command, folder)
        where = f"{page.name}:{block.line}: $ {command}"
        assert "Traceback" not in printed, f"{where}\n{printed}"
        if shown.strip():
            assert shows(shown, printed), f"{where}\nshown:\n{shown}\nprinted:\n{printed}"
        else:
            assert code == 0, f"{where}: exit code {code}\n{printed}"


def run_python(block: Block, page: Path, namespace: dict[str, Any]) -> str:
    # Empty lines in front, so that a traceback names the page's own line.
    code = compile("\n" * (block.line - 1) + block.text, str(page), "exec")
    with contextlib.redirect_stdout(io.StringIO()) as out:
        exec(code, namespace)
    return out.getvalue()


def run_page(page: Path, folder: Path) -> dict[str, Any]:
    """Run a page's blocks in ``folder``, the current one; returns the names its python blocks define."""
    namespace: dict[str, Any] = {"__name__": page.stem}
    printed: str | None = None
    for block in blocks(page):
        if block.kind == "text" and block.follows and printed is not None:
            assert shows(block.text, printed), f"{page.name}:{block.line}\nshown:\n{block.text}\nprinted:\n{printed}"
        printed = run_python(block, page, namespace) if block.kind == "python" else None
        if block.kind == "console":
            run_console(block, page, folder)
    return namespace


def sections(page: Path, level: int = 3) -> dict[str, str]:
    """The text below every heading of one level, by the heading."""
    parts = re.split(rf"^{'#' * level} (.*)\n", page.read_text(), flags=re.MULTILINE)
    ends = (re.split(rf"^#{{1,{level}}} ", part, flags=re.MULTILINE)[0] for part in parts[2::2])
    return dict(zip(parts[1::2], ends, strict=True))


def slugs(page: Path) -> set[str]:
    """The anchors that GitHub gives a page's headings."""
    text = re.sub(r"^```.*?^```$", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)
    found: set[str] = set()
    for heading in re.findall(r"^#+ (.*)$", text, re.MULTILINE):
        slug = re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")
        number = 0
        while (name := f"{slug}-{number}" if number else slug) in found:
            number += 1
        found.add(name)
    return found


def links(page: Path) -> list[str]:
    """What a page's links lead to, outside its blocks."""
    text = re.sub(r"^```.*?^```$", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)
    return re.findall(r"\]\(([^)\s]+)\)", text)


def table(page: Path, first: str, *, after: str = "", with_head: bool = False) -> list[list[str]]:
    """The rows of the first table whose first column is headed ``first``, cell by cell.

    Args:
        after: the text behind which it is looked for.
        with_head: whether the first row is the head.
    """
    text = page.read_text()
    lines = text[text.index(after) :].splitlines()
    start = next(number for number, line in enumerate(lines) if line.startswith(f"| {first} |"))
    rows = []
    for line in lines[start:]:
        if not line.startswith("|"):
            break
        rows.append([cell.strip() for cell in line.strip("|").split("|")])
    return [*rows[: int(with_head)], *rows[2:]]
