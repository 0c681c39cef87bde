"""What is measured, as JSON and as Markdown: written anew after every row, so that nothing is lost."""

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from diagplan.schemas.atomic import write_atomically

__all__ = ["Part", "Report", "markdown"]

Status = Literal["running", "done", "failed", "skipped"]


@dataclass(slots=True)
class Part:
    """One part's outcome.

    Attributes:
        title: for people.
        status: how it ended.
        seconds: that it took.
        error: of a part that failed.
        notes: sentences.
        rows: of its table.
        facts: numbers that are no table.
    """

    title: str
    status: Status = "running"
    seconds: float = 0.0
    error: str | None = None
    notes: list[str] = field(default_factory=list)
    rows: list[dict[str, Any]] = field(default_factory=list)
    facts: dict[str, Any] = field(default_factory=dict)


@dataclass(slots=True)
class Report:
    """All parts, and where they are written.

    Attributes:
        folder: gets ``gpu.json`` and ``gpu.md``.
        machine: what it was measured on.
        parts: by name, in order.
    """

    folder: Path
    machine: dict[str, Any]
    parts: dict[str, Part] = field(default_factory=dict)

    def write(self) -> None:
        """Both files, each whole or not at all."""
        held = {"machine": self.machine, "parts": {name: asdict(part) for name, part in self.parts.items()}}
        write_atomically(self.folder / "gpu.json", (json.dumps(held, indent=1) + "\n").encode())
        write_atomically(self.folder / "gpu.md", markdown(self).encode())

    @classmethod
    def read(cls, folder: Path) -> "Report":
        """What an earlier process wrote there."""
        held = json.loads((folder / "gpu.json").read_text())
        parts = {name: Part(**part) for name, part in held["parts"].items()}
        return cls(folder, held["machine"], parts)


def markdown(report: Report) -> str:
    """All parts as tables."""
    about = ", ".join(f"{name} {value}" for name, value in report.machine.items())
    lines = ["# Measured on a GPU", "", f"{about}.", ""]
    for name, part in report.parts.items():
        lines += [f"## {part.title} (`{name}`: {part.status}, {part.seconds:.0f} s)", ""]
        if part.error is not None:
            lines += [f"Failed: {part.error.splitlines()[0] if part.error else 'no message'}", ""]
        if part.facts:
            lines += [", ".join(f"{key} {_shown(value)}" for key, value in part.facts.items()) + ".", ""]
        lines += [line for note in part.notes for line in (note, "")]
        if part.rows:
            columns = list(dict.fromkeys(key for row in part.rows for key in row))
            lines += ["| " + " | ".join(columns) + " |", "|" + "---|" * len(columns)]
            lines += ["| " + " | ".join(_shown(row.get(key, "")) for key in columns) + " |" for row in part.rows]
            lines.append("")
    return "\n".join(lines)


def _shown(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.0f}" if abs(value) >= 1000 else f"{value:.4g}"
    return str(value).replace("|", "/").replace("\n", " ")
