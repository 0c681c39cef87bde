"""Commands that are stopped at random moments, by the hard signal and the soft ones, and started again.

What is there after a signal opens whole, or is a temporary; the second start ends, leaves no temporary, and gives the
files of a run that nothing disturbed, byte for byte but for the times in them.
"""

import csv
import io
import json
import random
import shutil
import signal
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from diagplan import Diagonal, compile_plan, write_plan
from diagplan.planner.errors import DiagplanError
from diagplan.worlds import SHIPPED
from tests.search.forks import Ended, Forks, Stop
from tests.search.guard import Finding, Row
from tests.support.mineworld import DATA, LAYOUT, META, WEIGHTS

__all__ = ["KINDS", "run"]

#: Mebibytes that none of these small commands needs.
MEMORY = 4096.0

CLIP = SHIPPED["crafter-mini"] / "clip.mp4"
_FEW = ("--steps", 4, "--batch", 2, "--checkpoint-every", 1)
_TINY = ("--hidden", 16, "--mlp", 16, "--layers", 1, "--heads", 2, "--context", 3)
#: Files that tell how long something took, and nothing else that other files do not tell.
_TIMES = {"quality-time.png", "results.csv", "results.json", "results.md", "state.safetensors"}


class _Campaign:
    """References, each made once by a run that nothing disturbs, and the commands that need them."""

    def __init__(self, forks: Forks, place: Path) -> None:
        self.forks, self.place = forks, place
        self._made: dict[str, tuple[Path, Ended]] = {}
        inputs = place / "inputs"
        inputs.mkdir()
        _write_golden_model(inputs)
        self.inputs = inputs

    def reference(self, kind: str) -> tuple[Path, Ended]:
        """The files of a kind, and what it took to make them."""
        if kind not in self._made:
            folder = self.place / "references" / kind
            command = KINDS[kind](self, folder)  # makes what it needs
            folder.mkdir(parents=True)
            ended = self.forks.run(command, folder.with_suffix(".log"))
            assert ended.code == 0, folder.with_suffix(".log").read_text()
            self._made[kind] = folder, ended
        return self._made[kind]

    def files(self, kind: str) -> Path:
        """The files of a kind."""
        return self.reference(kind)[0]


def _run(campaign: _Campaign, out: Path) -> list[object]:
    place, state = campaign.inputs, out / "state.safetensors"
    options = {"--weights": "model.safetensors", "--config": "config.json", "--prompt": "prompt.npy"}
    return [
        "run", place / "plan.json", *(part for name, file in options.items() for part in (name, place / file)),
        "--actions", place / "actions.npy", "--seed", 4, "--top-k", 9, "-o", out / "tokens.npy",
        "--checkpoint", state, "--checkpoint-every", 2, *(("--resume", state) if state.exists() else ()),
    ]  # fmt: skip


def _generate(_: _Campaign, out: Path) -> list[object]:
    return [
        "generate", "--video", CLIP, "--actions", CLIP.with_suffix(".jsonl"), "--k", 1, "--d", 1, "--frames", 2,
        "-o", out / "out.mp4", "--gif", out / "out.gif", "--tokens", out / "t.npy", "--frames-dir", out / "frames",
    ]  # fmt: skip


def _record(_: _Campaign, out: Path) -> list[object]:
    size = ("--rows", 6, "--cols", 6, "--frames", 4, "--train", 2, "--validation", 1, "--test", 0)
    return ["record", "-o", out / "clips", *size, "--workers", 1]


def _tokenizer(campaign: _Campaign, out: Path) -> list[object]:
    clips = campaign.files("record") / "clips"
    return ["train", "tokenizer", "--clips", clips, "-o", out / "tokenizer", *_FEW, "--whole-steps", 2, "--codes", 4]


def _model(campaign: _Campaign, out: Path) -> list[object]:
    clips, tokenizer = campaign.files("record") / "clips", campaign.files("train tokenizer") / "tokenizer"
    return ["train", "model", "--clips", clips, "--tokenizer", tokenizer, "-o", out / "tiny", *_FEW, *_TINY]


def _finetune(campaign: _Campaign, out: Path) -> list[object]:
    clips, world = campaign.files("record") / "clips", campaign.files("train model") / "tiny" / "world"
    return ["finetune", "--model", world, "--clips", clips, "-o", out / "tuned", *_FEW, "--k", "1,2"]


def _study(_: _Campaign, out: Path) -> list[object]:
    few = ("--count", 1, "--repeats", 1, "--samples", 1, "--only", "base/k=1,d=5")
    return ["evaluate", "study", "--clips", CLIP.parent, "-o", out / "study", *few]


def _export(campaign: _Campaign, out: Path) -> list[object]:
    place = campaign.inputs
    return ["export-onnx", "--weights", place / "model.safetensors", "--config", place / "config.json", "-o", out / "x"]


#: Kind -> the command that writes into a folder, as it is given first and again.
KINDS: Mapping[str, Callable[[_Campaign, Path], list[object]]] = {
    "run": _run, "generate": _generate, "record": _record, "train model": _model, "train tokenizer": _tokenizer,
    "finetune": _finetune, "study": _study, "export-onnx": _export,
}  # fmt: skip


def run(
    kills: int, seed: str, *, kinds: Sequence[str] = tuple(KINDS), done: Callable[[int], None] | None = None
) -> Row:
    """Send so many signals, to each kind of command in turn.

    Returns:
        ``inputs`` are signals, ``accepted`` those that ended a command; ``different`` second starts that gave other
        files, or left some that are half written or temporary; ``crashed`` tracebacks, and exit codes that are none.
    """
    began, row, rng = time.monotonic(), Row(kind="kills"), random.Random(seed)
    with TemporaryDirectory(prefix="diagplan-kills-") as place, Forks() as forks:
        campaign = _Campaign(forks, Path(place))
        for number in count():
            if (before := row.inputs) >= kills:
                break
            kind = kinds[number % len(kinds)]
            _disturb(campaign, kind, Path(place, "kills", str(number)), rng, row)
            if done is not None:
                done(row.inputs - before)
    row.seconds = time.monotonic() - began
    return row


def _disturb(campaign: _Campaign, kind: str, folder: Path, rng: random.Random, row: Row) -> None:
    """Send one signal, now and then a second one to the second start, then let it end and compare."""
    expected, undisturbed = campaign.reference(kind)
    folder.mkdir(parents=True)
    log = folder.with_suffix(".log")
    said: list[str] = []
    for _ in range(rng.choice((1, 1, 1, 2))):
        stop = _stop(rng, undisturbed)
        ended = campaign.forks.run(KINDS[kind](campaign, folder), log, stop)
        row.inputs += 1
        row.accepted += ended.code != 0
        said.append(f"{kind}, {signal.Signals(stop.signal).name}, after={stop.after}, change={stop.change}")
        _judge(row, said, ended, log, {0, -stop.signal, *((130,) if stop.signal == signal.SIGINT else ())})
        left = [path for path in _files(folder) if _is_temporary(path)] if stop.signal == signal.SIGINT else []
        half = [path for path in _files(folder) if not _is_temporary(path) and not _is_whole(path)]
        _compare(row, said, "half written", half)
        _compare(row, said, "left by Ctrl-C", left)
    ended = campaign.forks.run(KINDS[kind](campaign, folder), log)
    _judge(row, said, ended, log, {0})
    if ended.code == 0:
        ours, theirs = ({path.relative_to(at): path for path in _files(at)} for at in (folder, expected))
        other = [name for name in {*ours, *theirs} if name not in ours or name not in theirs]
        other += [name for name in {*ours} & {*theirs} if _content(ours[name]) != _content(theirs[name])]
        _compare(row, said, "different", other)
    shutil.rmtree(folder)


def _stop(rng: random.Random, undisturbed: Ended) -> Stop:
    chosen = rng.choice((signal.SIGKILL, signal.SIGKILL, signal.SIGINT, signal.SIGTERM))
    if rng.random() < 0.5:
        return Stop(chosen, after=rng.uniform(0, undisturbed.seconds))
    return Stop(chosen, change=rng.randint(1, undisturbed.changes))


def _judge(row: Row, said: list[str], ended: Ended, log: Path, codes: set[int]) -> None:
    text = log.read_text(encoding="utf-8", errors="replace") if log.exists() else ""
    row.slowest, row.peak = max(row.slowest, ended.seconds), max(row.peak, int(ended.mebibytes * 2**20))
    if ended.hung:
        _found(row, "hung", said, str(ended))
    elif ended.mebibytes > MEMORY:
        _found(row, "over_memory", said, str(ended))
    elif ended.code not in codes or "Traceback" in text:
        _found(row, "crashed", said, f"code {ended.code}, {text[-1500:]}")


def _compare(row: Row, said: list[str], what: str, paths: Iterable[str | Path]) -> None:
    if names := sorted(map(str, paths)):
        _found(row, "different", said, f"{what}: {names}")


def _found(row: Row, fault: str, said: list[str], text: str) -> None:
    setattr(row, fault, getattr(row, fault) + 1)
    row.findings.append(Finding(kind=row.kind, fault=fault, seed="; ".join(said), text=text))


def _files(folder: Path) -> Iterator[Path]:
    return (path for path in sorted(folder.rglob("*")) if not path.is_dir() or _is_temporary(path))


def _is_temporary(path: Path) -> bool:
    return any(part.endswith(".tmp") or part.startswith(".") for part in path.parts)


def _is_whole(path: Path) -> bool:
    """Whether a file opens to its end."""
    try:
        _open(path)
    except (DiagplanError, OSError, ValueError, EOFError, RuntimeError, SyntaxError):
        return False
    return True


def _open(path: Path) -> object:
    """Read a file to its end; whatever is wrong with it raises."""
    if path.suffix in (".png", ".gif"):
        from PIL import Image, ImageSequence

        with Image.open(path) as picture:
            return [frame.tobytes() for frame in ImageSequence.Iterator(picture)]
    if path.suffix == ".mp4":
        from diagplan.video.files import read_video

        return read_video(path)
    if path.suffix == ".pt":
        import torch

        return torch.load(path, weights_only=True)
    if path.suffix == ".safetensors":
        from safetensors.numpy import load

        return load(path.read_bytes())
    if path.suffix == ".onnx":
        import onnx

        return onnx.load(path, load_external_data=False)
    if path.suffix in (".npz", ".npy"):
        loaded = np.load(path)
        return dict(loaded) if path.suffix == ".npz" else loaded
    data = path.read_bytes()
    if path.suffix in (".json", ".jsonl"):
        return [json.loads(line) for line in ([data] if path.suffix == ".json" else data.splitlines())]
    if not data and path.suffix != ".data":
        raise ValueError(path)
    return data


def _content(path: Path) -> object:
    """The bytes of a file without the times in it."""
    if path.name in _TIMES:
        return None
    if path.name == "log.csv":
        return [
            {key: value for key, value in line.items() if key != "seconds"}
            for line in csv.DictReader(io.StringIO(path.read_text(encoding="utf-8")))
        ]
    if path.suffix == ".pt":
        import torch

        return _timeless(torch.load(path, weights_only=True))
    if path.suffix == ".json":
        return _timeless(json.loads(path.read_text(encoding="utf-8")))
    return path.read_bytes()


def _timeless(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _timeless(part) for key, part in value.items() if key != "seconds"}
    if isinstance(value, list | tuple):
        return [_timeless(part) for part in value]
    return value.numpy().tobytes() if hasattr(value, "numpy") else value


def _write_golden_model(place: Path) -> None:
    """A model of the release's golden data, its prompt and actions, and a plan."""
    from safetensors.numpy import save_file

    save_file(WEIGHTS, place / "model.safetensors")
    (place / "config.json").write_text(json.dumps(META["config"] | {"image_vocab": META["image_vocab"]}))
    np.save(place / "prompt.npy", DATA["prompt"].reshape(1, LAYOUT.rows, LAYOUT.cols))
    np.save(place / "actions.npy", DATA["actions"][: LAYOUT.frames])
    write_plan(compile_plan(LAYOUT, Diagonal(k=2)), place / "plan.json")
