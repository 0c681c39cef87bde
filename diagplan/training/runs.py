"""A training run's folder: settings, log, curves and a checkpoint to go on from."""

import csv
import io
import json
import math
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from diagplan.adapters.pickles import Stored, mapped, read_pickle
from diagplan.planner.errors import DocumentError
from diagplan.planner.extras import require_packages
from diagplan.schemas.atomic import Replacement, make_folder, write_atomically

__all__ = ["Run", "last_row"]

#: An optimizer's entries of one parameter: Adam has three.
_ENTRIES = 8


class Run:
    """The folder of a run; making it twice with the same settings goes on where the first stopped.

    Args:
        folder: made if it is not there.
        settings: whatever decides the result; a folder of other settings is refused.

    Raises:
        DocumentError: the folder belongs to another run, or cannot be written.
        MissingExtraError: matplotlib, which draws the curves, is not installed.
    """

    def __init__(self, folder: str | Path, settings: Mapping[str, Any]) -> None:
        require_packages("the curves of a training", "matplotlib")  # not after the first hundred steps
        self.folder = Path(folder)
        make_folder(self.folder)
        path = self.folder / "settings.json"
        wanted = json.loads(json.dumps(dict(settings)))
        if path.is_file():
            there = _read_settings(path)
            other = sorted(key for key in {*there, *wanted} if there.get(key) != wanted.get(key))
            if other:
                raise DocumentError(
                    f"expected the folder of the same run, got {folder} with other {', '.join(other)}. "
                    "Give another folder, or the same settings to go on."
                )
        write_atomically(path, (json.dumps(wanted, indent=1) + "\n").encode())
        self.rows: list[dict[str, float]] = []
        self._began = time.monotonic()

    def resume(self, model: nn.Module, optimizer: torch.optim.Optimizer) -> int:
        """Load the last checkpoint and cut the log back to it; the steps that are done, 0 where there is none.

        The clock of the log's seconds goes on from here.

        Raises:
            DocumentError: a checkpoint that cannot be read, or that is not of this model and optimizer.
        """
        path = self.folder / "checkpoint.pt"
        self._began = time.monotonic()
        if not path.is_file():
            return 0
        try:
            # Not torch.load: it unpacks and allocates whatever the file announces.
            state = read_pickle(path, foreign=False)
            optimizing = _optimizer_state(path, state["optimizer"], optimizer)
            step, seconds, rows = _progress(state)
            model.load_state_dict({name: mapped(path, tensor) for name, tensor in state["model"].items()})
            optimizer.load_state_dict(optimizing)
            self.rows = rows
            self._began -= seconds
            return step
        except Exception as error:  # noqa: BLE001 - the unpickler raises almost anything
            raise DocumentError(
                f"cannot read the checkpoint {path} ({type(error).__name__}). Remove it to train from the start."
            ) from None

    def save(self, model: nn.Module, optimizer: torch.optim.Optimizer, step: int) -> None:
        """Write the log as CSV, the curves as PNG, and last the checkpoint: what it says is done, they show."""
        self.write_log()
        state = {
            "model": model.state_dict(), "optimizer": optimizer.state_dict(), "step": step, "seconds": self._seconds(),
            "log": self.rows,
        }  # fmt: skip
        try:
            with Replacement(self.folder / "checkpoint.pt") as replacement:
                torch.save(state, replacement.temporary)
        except (OSError, RuntimeError) as error:  # torch says RuntimeError where the disk is full
            raise DocumentError(f"cannot write a checkpoint in {self.folder}: {error}.") from None

    def log(self, step: int, **values: float) -> None:
        """Append one row, with the seconds of training before it."""
        row = {"step": step, "seconds": self._seconds(), **values}
        self.rows.append({key: float(value) for key, value in row.items()})

    def write_log(self) -> None:
        """Write log.csv and curves.png."""
        if not self.rows:
            return
        text = io.StringIO()
        columns = list(dict.fromkeys(key for row in self.rows for key in row))
        writer = csv.DictWriter(text, columns, lineterminator="\n")
        writer.writeheader()
        writer.writerows({key: f"{value:.6g}" for key, value in row.items()} for row in self.rows)
        write_atomically(self.folder / "log.csv", text.getvalue().encode())
        write_atomically(self.folder / "curves.png", _curves(self.rows, columns))

    def _seconds(self) -> float:
        return time.monotonic() - self._began


def _optimizer_state(path: Path, held: Any, optimizer: torch.optim.Optimizer) -> dict[str, Any]:
    """The state in a checkpoint as ``load_state_dict`` takes it; no tensor is larger than the parameter it is of."""
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    states = {}
    for number, entries in held["state"].items():
        size = max(1, parameters[number].numel())
        if number < 0 or len(entries) > _ENTRIES or any(_elements(entry) > size for entry in entries.values()):
            raise ValueError(f"a state of parameter {number} that is none")
        states[number] = {
            name: mapped(path, entry).clone() if isinstance(entry, Stored) else entry for name, entry in entries.items()
        }
    return {"state": states, "param_groups": held["param_groups"]}


def _elements(entry: Any) -> int:
    return math.prod(entry.size) if isinstance(entry, Stored) else 1


def _progress(state: Mapping[str, Any]) -> tuple[int, float, list[dict[str, float]]]:
    """Step, seconds and the rows of the log in a checkpoint."""
    step, seconds, rows = state["step"], state["seconds"], state["log"]
    plain = all(type(name) is str and type(value) is float for row in rows for name, value in row.items())
    if type(step) is not int or step < 0 or type(seconds) is not float or not plain or not isinstance(rows, list):
        raise TypeError("steps, seconds or a log that are none")
    return step, seconds, rows


def last_row(folder: str | Path) -> dict[str, float]:
    """The last row of a run's log.csv; empty where there is none.

    Raises:
        DocumentError: the log cannot be read, or its last row holds other things than numbers.
    """
    path = Path(folder) / "log.csv"
    if not path.is_file():
        return {}
    try:
        with path.open(encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file))
        return {key: float(value) for key, value in rows[-1].items() if value} if rows else {}
    except (OSError, ValueError, TypeError, csv.Error) as error:  # TypeError: more values than columns
        raise DocumentError(
            f"expected rows of numbers in {path}, got others ({type(error).__name__}). Remove it: a run that goes on "
            "writes it again."
        ) from None


def _read_settings(path: Path) -> dict[str, Any]:
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise DocumentError(f"cannot read {path}: {error.strerror}. Give another folder.") from None
    except (ValueError, RecursionError):
        document = None
    if not isinstance(document, dict):
        raise DocumentError(f"expected the settings of a training run, got {path}. Give another folder.")
    return document


def _curves(rows: list[dict[str, float]], columns: list[str]) -> bytes:
    """Every column against the step, as a PNG."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    shown = [name for name in columns if name not in ("step", "seconds")]
    figure = Figure(figsize=(4 * len(shown), 3), layout="constrained")
    FigureCanvasAgg(figure)
    for place, name in enumerate(shown, start=1):
        axes = figure.add_subplot(1, len(shown), place)
        points = [(row["step"], row[name]) for row in rows if name in row]
        axes.plot([x for x, _ in points], [y for _, y in points])
        axes.set_title(name.replace("_", " "))
        axes.set_xlabel("step")
        if points and all(y > 0 for _, y in points) and name.endswith("loss"):
            axes.set_yscale("log")
        axes.grid(alpha=0.3)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=110)
    return buffer.getvalue()
