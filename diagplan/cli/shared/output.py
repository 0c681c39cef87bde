"""What the commands print: tables for people, one JSON object for machines, errors in one line."""

import functools
import json
import os
import signal
import sys
import threading
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, ParamSpec

import typer
from rich.box import SIMPLE_HEAD
from rich.cells import cell_len
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, TextColumn
from rich.table import Table
from rich.text import Text

from diagplan.adapters.notices import ModelWarning
from diagplan.planner.arguments import exists, is_folder
from diagplan.planner.errors import DiagplanError, SpecError

__all__ = [
    "CLOSED_PIPE",
    "FINE",
    "INTERRUPTED",
    "PROBLEM",
    "USAGE",
    "JsonOption",
    "WideOption",
    "command",
    "console",
    "drawing_width",
    "print_json",
    "print_table",
    "progress_bar",
    "require_distinct",
    "working",
]

FINE, PROBLEM, USAGE, INTERRUPTED = 0, 1, 2, 130
#: Columns of a console that is no terminal.
_ENDLESS = 100_000
#: Columns of the longest number, or short word, that a column is aligned to the right for.
_NUMBER = 40
#: As a process that the signal SIGPIPE ends: 128 + 13.
CLOSED_PIPE = 141
#: Arguments of commands that name files or folders to write.
_OUTPUTS = ("out", "png", "svg", "gif", "tokens", "frames_dir", "checkpoint")

JsonOption = Annotated[
    bool, typer.Option("--json", help="Print one JSON object on stdout and nothing else.", show_default=False)
]
WideOption = Annotated[
    bool, typer.Option("--wide", help="Print every column, which needs a wide terminal.", show_default=False)
]

P = ParamSpec("P")


def console(*, stderr: bool = False) -> Console:
    """A console on stdout or stderr as they are now: colours only on a terminal, no end of a line but there."""
    shown = _Console(stderr=stderr, highlight=False, emoji=False)
    return shown if shown.is_terminal else _Console(stderr=stderr, highlight=False, emoji=False, width=_ENDLESS)


def drawing_width() -> int:
    """Columns of a drawing: the terminal's; 80, or what COLUMNS says, in a pipe."""
    return Console().width


class _Console(Console):
    def on_broken_pipe(self) -> None:
        """Leave the error to ``command``; rich would exit with 1."""
        raise  # noqa: PLE0704 - called while the error is handled


def print_json(value: Mapping[str, Any]) -> None:
    """Print one JSON object, at once: who reads a service's address in a pipe waits for it."""
    sys.stdout.write(json.dumps(value) + "\n")
    sys.stdout.flush()


def print_table(columns: Sequence[str], rows: Iterable[Sequence[object]], *, title: str | None = None) -> None:
    """Print a table: within a terminal's width, or plain aligned columns, as wide as they are, in a pipe.

    No word is ever broken: a terminal that is too narrow for the longest ones gets the plain columns too.

    A column's name that begins with ``>`` is aligned to the right.
    """
    out = console()
    cells = [["" if value is None else str(value) for value in row] for row in rows]
    names = [name.removeprefix(">") for name in columns]
    natural = [max(map(cell_len, column)) for column in zip(names, *cells, strict=True)]
    # A sentence among numbers would push them out of sight.
    right = [
        name.startswith(">") and (out.is_terminal or n <= _NUMBER) for name, n in zip(columns, natural, strict=True)
    ]
    widths = _fitting(natural, [_longest_word(column) for column in zip(names, *cells, strict=True)], out.width)
    if out.is_terminal and widths is not None:
        table = Table(
            title=None if title is None else Text(title), title_justify="left", show_header=any(names),
            box=SIMPLE_HEAD, show_edge=False, pad_edge=False, collapse_padding=True,
        )  # fmt: skip
        for name, is_right, width in zip(names, right, widths, strict=True):
            table.add_column(name, justify="right" if is_right else "left", width=width)
        for row in cells:
            table.add_row(*map(Text, row))
        out.print(table)
        return
    if title:
        sys.stdout.write(title + "\n")
    for row in (names, *cells) if any(names) else cells:
        padded = (
            " " * (n - cell_len(c)) + c if r else c + " " * (n - cell_len(c))
            for c, n, r in zip(row, natural, right, strict=True)
        )
        sys.stdout.write("  ".join(padded).rstrip() + "\n")


def _longest_word(cells: Iterable[str]) -> int:
    return max((cell_len(word) for cell in cells for word in cell.split()), default=0)


def _fitting(natural: Sequence[int], least: Sequence[int], width: int) -> list[int] | None:
    """Widths of columns, two blanks between them, that fit; ``None`` where the longest words do not.

    >>> _fitting([5, 30, 20], [5, 10, 10], 49)
    [5, 20, 20]
    """
    widths = list(natural)
    while sum(widths) + 2 * (len(widths) - 1) > width:
        slack = [i for i in range(len(widths)) if widths[i] > least[i]]
        if not slack:
            return None
        widths[max(slack, key=lambda i: widths[i])] -= 1
    return widths


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
            if source in inputs and exists(path) and folder in path.resolve().parents:
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
        _hear_of_signals()
        as_json = bool(kwargs.get("as_json"))
        outputs = [path for name, path in kwargs.items() if name in _OUTPUTS and isinstance(path, Path)]
        before = _files(outputs)
        try:
            with _warnings_in_one_line():
                code = function(*args, **kwargs) or FINE
            sys.stdout.flush()
        except DiagplanError as error:
            code = _report(str(error), USAGE if isinstance(error, SpecError) else PROBLEM, as_json)
        except MemoryError:
            code = _report("out of memory. Compile fewer frames, or write with --masks rule.", PROBLEM, as_json)
        except KeyboardInterrupt as stop:
            code = _report(f"interrupted; {str(stop) or _left(before, _files(outputs))}", INTERRUPTED, as_json)
        except BrokenPipeError:
            code = CLOSED_PIPE  # the reader of a pipe has gone: nobody is left to tell
            _give_up_stdout()
        except OSError as error:
            if error.filename is not None:
                place = os.fspath(error.filename)
                code = _report(f"cannot use {place}: {error.strerror}. Name another place.", PROBLEM, as_json)
            else:
                code = _report(f"cannot write the output: {error.strerror}. Redirect it elsewhere.", PROBLEM, False)
                _give_up_stdout()
        raise typer.Exit(code)

    return run


@contextmanager
def _warnings_in_one_line() -> Iterator[None]:
    """Show what a model says of itself as the commands' own errors are shown, without a place in the source."""
    with warnings.catch_warnings():
        show = warnings.showwarning

        def shown(message: Warning | str, category: type[Warning], *place: Any, **more: Any) -> None:
            if issubclass(category, ModelWarning):
                _say(f"warning: {message}")
            else:
                show(message, category, *place, **more)

        warnings.showwarning = shown
        yield


def _files(places: Iterable[Path]) -> dict[Path, tuple[int, int, int]]:
    """Every file at these places and two folders deep: what tells whether it was written since."""
    files = {}
    for place in places:
        for path in (place, *place.glob("*"), *place.glob("*/*")) if is_folder(place) else (place,):
            try:
                status = path.stat()
            except OSError:
                continue
            if not path.is_dir():
                files[path] = status.st_ino, status.st_mtime_ns, status.st_size
    return files


def _left(before: Mapping[Path, object], after: Mapping[Path, object]) -> str:
    """What a command that was interrupted has written."""
    new = [str(path) for path, status in after.items() if before.get(path) != status]
    if not new:
        return "no file was changed."
    more = f" and {len(new) - 3} more files" if len(new) > 3 else ""
    return f"{', '.join(new[:3])}{more} had been written and {'stays' if len(new) == 1 else 'stay'}."


def _hear_of_signals() -> None:
    """Get an error, and time to clean up, where ``main`` has asked to be ended by a closed pipe or by Ctrl-C."""
    if threading.current_thread() is not threading.main_thread():
        return
    if hasattr(signal, "SIGPIPE"):
        signal.signal(signal.SIGPIPE, signal.SIG_IGN)
    if signal.getsignal(signal.SIGINT) is signal.SIG_DFL:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def _give_up_stdout() -> None:
    """Keep the interpreter from flushing once more at its end."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _report(message: str, code: int, as_json: bool) -> int:
    if as_json:
        print_json({"ok": False, "error": _printable(message)})
    else:
        _say(message)
    return code


def _say(message: str) -> None:
    console(stderr=True).print(Text(f"diagplan: {_printable(message)}"), soft_wrap=True)


def _printable(message: str) -> str:
    """A name or a key from a file may hold anything, escape sequences of the terminal included."""
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in message)
