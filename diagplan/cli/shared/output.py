"""What the commands print: tables for people, one JSON object for machines, errors in one line."""

import functools
import io
import json
import os
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, ParamSpec

import numpy as np
import typer
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, TextColumn
from rich.table import Table
from rich.text import Text

from diagplan.planner.errors import DiagplanError, SpecError

__all__ = [
    "CLOSED_PIPE",
    "FINE",
    "INTERRUPTED",
    "PROBLEM",
    "USAGE",
    "JsonOption",
    "command",
    "console",
    "npy_bytes",
    "print_json",
    "print_table",
    "progress_bar",
    "require_distinct",
    "working",
]

FINE, PROBLEM, USAGE, INTERRUPTED = 0, 1, 2, 130
#: As a process that the signal SIGPIPE ends: 128 + 13.
CLOSED_PIPE = 141
#: Arguments of commands that name files or folders to write.
_OUTPUTS = ("out", "png", "svg", "gif", "tokens", "frames_dir", "checkpoint")

JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout and nothing else.")]

P = ParamSpec("P")


def console(*, stderr: bool = False) -> Console:
    """A console on stdout or stderr as they are now; colours and boxes only on a terminal."""
    return Console(stderr=stderr, highlight=False, emoji=False)


def npy_bytes(array: NDArray[np.int64]) -> bytes:
    """An array as a .npy file's bytes."""
    data = io.BytesIO()
    np.save(data, array)
    return data.getvalue()


def print_json(value: Mapping[str, Any]) -> None:
    """Print one JSON object."""
    sys.stdout.write(json.dumps(value) + "\n")


def print_table(columns: Sequence[str], rows: Iterable[Sequence[object]], *, title: str | None = None) -> None:
    """Print a table: as wide as the terminal, or plain aligned columns, untruncated, where the output is piped.

    A column's name that begins with ``>`` is aligned to the right.
    """
    out = console()
    cells = [["" if value is None else str(value) for value in row] for row in rows]
    right = [name.startswith(">") for name in columns]
    names = [name.removeprefix(">") for name in columns]
    if out.is_terminal:
        table = Table(title=None if title is None else Text(title), title_justify="left", show_header=any(names))
        for name, is_right in zip(names, right, strict=True):
            table.add_column(name, justify="right" if is_right else "left", overflow="fold")
        for row in cells:
            table.add_row(*map(Text, row))
        out.print(table)
        return
    widths = [max(map(len, column)) for column in zip(names, *cells, strict=True)]
    if title:
        sys.stdout.write(title + "\n")
    for row in (names, *cells) if any(names) else cells:
        padded = (c.rjust(n) if r else c.ljust(n) for c, n, r in zip(row, widths, right, strict=True))
        sys.stdout.write("  ".join(padded).rstrip() + "\n")


def require_distinct(outputs: Mapping[str, Path | None], inputs: Mapping[str, Path | None]) -> None:
    """Refuse to write over an input, or two outputs to one place.

    Args:
        outputs: option -> path that is written.
        inputs: option -> path that is read.

    Raises:
        SpecError: two of them are one file.
    """
    seen = {path.resolve(): option for option, path in inputs.items() if path is not None}
    for option, path in outputs.items():
        if path is None:
            continue
        other = seen.setdefault(path.resolve(), option)
        if other != option:
            raise SpecError(f"expected different files, got {other} and {option} both {path}. Write to another one.")
        for folder, source in seen.items():
            if source in inputs and path.exists() and folder in path.resolve().parents:
                raise SpecError(
                    f"expected {option} to replace no file of {source}, got {path}, which lies in its folder and is "
                    "there already. Write to another file."
                )


def progress_bar(what: str, unit: str, *times: ProgressColumn, quiet: bool) -> Progress:
    """A bar on a terminal's stderr, then how many of how many; nothing where ``quiet`` or not a terminal.

    Args:
        what: stands before the bar.
        unit: stands behind the number; may name fields of the task.
        times: the columns at the end.
        quiet: show nothing.
    """
    err = console(stderr=True)
    columns = (TextColumn(what), BarColumn(), MofNCompleteColumn(), TextColumn(unit), *times)
    return Progress(*columns, console=err, disable=quiet or not err.is_terminal)


def working(what: str, *, quiet: bool) -> Any:
    """A context that shows on a terminal's stderr that work goes on; nothing where ``quiet`` or not a terminal."""
    err = console(stderr=True)
    if quiet or not err.is_terminal:
        from contextlib import nullcontext

        return nullcontext()
    return err.status(what)


def command(function: Callable[P, int | None]) -> Callable[P, None]:
    """Turn a function that returns an exit code into a command: errors in one line, never a traceback.

    What an interrupt leaves behind is measured, not claimed: the files that options name are looked at before and
    after. A ``KeyboardInterrupt`` with a text of its own says that instead.
    """

    @functools.wraps(function)
    def run(*args: P.args, **kwargs: P.kwargs) -> None:
        as_json = bool(kwargs.get("as_json"))
        outputs = [path for name, path in kwargs.items() if name in _OUTPUTS and isinstance(path, Path)]
        before = _files(outputs)
        try:
            code = function(*args, **kwargs) or FINE
            sys.stdout.flush()
        except DiagplanError as error:
            code = _report(str(error), USAGE if isinstance(error, SpecError) else PROBLEM, as_json)
        except MemoryError:
            code = _report("out of memory. Compile fewer frames, or write with --masks rule.", PROBLEM, as_json)
        except KeyboardInterrupt as stop:
            code = _report(f"interrupted; {stop or _left(before, _files(outputs))}", INTERRUPTED, as_json)
        except BrokenPipeError:
            code = CLOSED_PIPE  # the reader of a pipe has gone: nobody is left to tell
            _give_up_stdout()
        except OSError as error:
            code = _report(f"cannot write the output: {error.strerror}. Redirect it elsewhere.", PROBLEM, False)
            _give_up_stdout()
        raise typer.Exit(code)

    return run


def _files(places: Iterable[Path]) -> dict[Path, tuple[int, int, int]]:
    """Every file at these places and two folders deep: what tells whether it was written since."""
    found = {}
    for place in places:
        for path in (place, *place.glob("*"), *place.glob("*/*")) if place.is_dir() else (place,):
            try:
                said = path.stat()
            except OSError:
                continue
            if not path.is_dir():
                found[path] = said.st_ino, said.st_mtime_ns, said.st_size
    return found


def _left(before: Mapping[Path, object], after: Mapping[Path, object]) -> str:
    """What a command that was interrupted has written."""
    new = [str(path) for path, said in after.items() if before.get(path) != said]
    if not new:
        return "no file was changed."
    more = f" and {len(new) - 3} more files" if len(new) > 3 else ""
    return f"{', '.join(new[:3])}{more} had been written and {'stays' if len(new) == 1 else 'stay'}."


def _give_up_stdout() -> None:
    """Keep the interpreter from flushing once more at its end."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _report(message: str, code: int, as_json: bool) -> int:
    # A name or a key from a file may hold anything, escape sequences of the terminal included.
    shown = "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in message)
    if as_json:
        print_json({"ok": False, "error": shown})
    else:
        console(stderr=True).print(Text(f"diagplan: {shown}"), soft_wrap=True)
    return code
