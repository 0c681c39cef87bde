"""From a command's options to a study: models that belong together, clips, and networks that the user gives."""

import hashlib
import re
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from diagplan import __version__
from diagplan.adapters.devices import DTypeName
from diagplan.backends.threads import Threads
from diagplan.evaluation.clips import RULES, rule_for
from diagplan.evaluation.frechet import frechet_distance
from diagplan.evaluation.i3d import load_i3d
from diagplan.evaluation.vbench import require_weights, vbench_scores
from diagplan.planner.arguments import is_file
from diagplan.planner.errors import DocumentError, SpecError
from diagplan.planner.shown import shown
from diagplan.study.conditions import BASE, require_labels
from diagplan.study.latents import has_latents, tokenizer_latents
from diagplan.study.material import read_material
from diagplan.study.quality import world_digest
from diagplan.study.run import Extra, Study
from diagplan.video.files import VideoWriter
from diagplan.worlds import World, load_world
from diagplan.worlds.loading import folder_of

__all__ = ["DEFAULT_COUNT", "parse_list", "parse_tuned", "parse_windows", "set_up", "settings_of"]

#: Clips where neither the rule nor the options say how many.
DEFAULT_COUNT = 128


def set_up(
    model: str,
    clips: Path,
    *,
    tuned: Mapping[str, Path] | None = None,
    rule: str = "context",
    count: int | None = None,
    seed: int = 0,
    keep: int | None = None,
    batch: int = 32,
    repeats: int = 3,
    device: str = "cpu",
    threads: Threads = None,
    i3d: Path | None = None,
    vbench: Path | None = None,
    weights: Path | None = None,
    tokenizer: Path | None = None,
    config: str | Path | None = None,
    context: Path | None = None,
    dtype: DTypeName = "float32",
) -> Study:
    """Load models and clips.

    Args:
        model: a shipped world model or the folder of one: the base, and the judge.
        clips: folder of videos with actions.
        tuned: label -> folder of a fine-tuned model of the same tokens.
        rule: of ``RULES``.
        count: pieces; the rule's own, or ``DEFAULT_COUNT``.
        seed: of the choice.
        keep: frames that a window keeps where a rule has more than the context; as the model's release has it.
        batch: clips at a time.
        repeats: timed replays of one clip alone.
        device: ``"cpu"``, ``"cuda"``, ...
        threads: CPU threads of one pass, as for ``load_model``.
        i3d: TorchScript file of I3D, for the Frechet Video Distance.
        vbench: folder of VBench's weights.
        weights: of a release, as for ``load_world``.
        tokenizer: the same.
        config: the same.
        context: the features of the text that leads all clips, for a Cosmos Video2World model.
        dtype: of the transformers, the judge's too.

    Raises:
        SpecError, DocumentError, MissingExtraError: as the parts say.
    """
    labels = dict(tuned or {})
    require_labels(list(labels))
    network = None if i3d is None else load_i3d(i3d, device=device)  # whatever is missing is said before any work
    if vbench is not None:
        require_weights(vbench)
    files: dict[str, Any] = {"weights": weights, "tokenizer": tokenizer, "config": config, "context": context}
    base = load_world(model, device=device, dtype=dtype, threads=threads, **files)
    worlds = {BASE: base}
    if base.source.exported:
        raise SpecError(f"expected a world model for PyTorch, got {base.name}, an exported one. Give its own files.")
    if labels and weights is not None:
        raise SpecError(
            f"expected --tuned with a world model's folder, got it with the release {model}. Leave it out, and study "
            "the fine-tuned checkpoint by itself with --weights."
        )
    if count is None and rule in RULES and RULES[rule].count is None:
        count = DEFAULT_COUNT
    kept = base.keeps if keep is None else base.window(keep).prompt_frames
    chosen = rule_for(rule, context=base.context_frames, count=count, slides=kept is not None)
    material = read_material(base, clips, chosen, seed=seed, keep=kept)
    slid: dict[str, Any] = {} if material.window is None else {"keep": kept}
    if dtype != "float32":
        slid["dtype"] = dtype
    for label, folder in labels.items():
        worlds[label] = load_world(str(folder), device=device, dtype=dtype, threads=threads)
        _require_same(base, worlds[label], label, material.frames[0, :1])
    extras: dict[str, tuple[str, Extra]] = {}
    if network is not None:
        truth = network.features(material.frames)
        extras["fvd"] = (network.digest, lambda videos: {"value": frechet_distance(network.features(videos), truth)})
    if vbench is not None:
        extras["vbench"] = (str(vbench.absolute()), lambda videos: _vbench(videos, vbench, base.fps, device))
    folders = _names(model, labels) if weights is None else {}
    digests = {label: world_digest(folder_of(name)) for label, name in folders.items()}
    if weights is not None:
        digests = {BASE: _release_digest(weights, tokenizer, config, context)}
    return Study(
        worlds=worlds,
        weights=digests,
        material=material,
        settings={"rule": rule, "seed": seed, "given": material.given, "frames": material.layout.frames, **slid},
        truth=tokenizer_latents(base, material.frames[:, material.given_frames :]) if has_latents(base) else None,
        extras=extras,
        batch=batch,
        repeats=repeats,
    )


def settings_of(study: Study) -> dict[str, Any]:
    """What study.json says: versions, weights, the rule, the seed and the list of chosen clips."""
    from importlib.metadata import version

    rule = study.settings["rule"]
    return {
        "format": "diagplan-study", "version": 1, "diagplan": __version__, "torch": version("torch"),
        "model": study.worlds[BASE].name, "weights": study.weights[BASE],
        "tuned": {label: digest for label, digest in study.weights.items() if label != BASE},
        **study.settings, "about_rule": RULES[rule].about, "count": len(study.material.pieces),
        "clips": study.material.digest(), "pieces": list(study.material.pieces),
    }  # fmt: skip


def _names(model: str, labels: Mapping[str, Path]) -> dict[str, str]:
    return {BASE: model, **{label: str(folder) for label, folder in labels.items()}}


def _release_digest(weights: Path, tokenizer: Path | None, config: str | Path | None, context: Path | None) -> str:
    """SHA-256 of all files that a release is loaded from, and of the name of its size."""
    paths = [Path(weights), *(Path(path) for path in (tokenizer, context) if path is not None)]
    if config is not None and is_file(Path(config)):
        paths.append(Path(config))
    digest = hashlib.sha256(b"" if config is None or is_file(Path(config)) else str(config).encode())
    for path in paths:
        files = sorted(one for one in path.rglob("*") if one.is_file()) if path.is_dir() else [path]
        for one in files:
            with one.open("rb") as file:
                digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()


def _require_same(base: World, other: World, label: str, frames: NDArray[np.uint8]) -> None:
    same = (
        (base.rows, base.cols, base.block, base.words) == (other.rows, other.cols, other.block, other.words)
        and other.context_frames >= base.context_frames
        and np.array_equal(base.tokenizer.encode(frames), other.tokenizer.encode(frames))
    )
    if not same:
        raise DocumentError(
            f"expected a fine-tuned {base.name} with its grid, actions and image tokenizer, got {other.name} as "
            f"{label}. One judge can only score the same tokens."
        )


def _vbench(videos: NDArray[np.uint8], weights: Path, fps: int, device: str) -> dict[str, float]:
    with tempfile.TemporaryDirectory() as place:
        paths = []
        for number, frames in enumerate(videos):
            paths.append(Path(place) / f"clip-{number:04d}.mp4")
            with VideoWriter(paths[-1], fps=fps) as writer:
                for frame in frames:
                    writer.add(frame)
        return vbench_scores(paths, weights, device=device)


def parse_list(text: str | None) -> list[str]:
    """The parts of an option with commas; those in the name of a plan do not part it.

    >>> parse_list("above, plan:k=1,d=5"), parse_list(None)
    (['above', 'plan:k=1,d=5'], [])
    """
    return [] if text is None else [part.strip() for part in re.split(",(?! *d=)", text)]


def parse_windows(text: str | None) -> list[int]:
    """``--speculate 36,108`` as numbers.

    Raises:
        SpecError: another form.
    """
    try:
        return [int(part) for part in parse_list(text)]
    except ValueError:
        raise SpecError(
            f"expected --speculate with numbers and commas, such as 36,108, got {shown(text)}. A window is the most "
            "tokens of a pass."
        ) from None


def parse_tuned(options: list[str]) -> dict[str, Path]:
    """``LABEL=FOLDER`` options as label -> folder.

    Raises:
        SpecError: another form, or a label twice.
    """
    folders: dict[str, Path] = {}
    for option in options:
        label, equals, folder = option.partition("=")
        if not equals or not folder:
            raise SpecError(f"expected --tuned LABEL=FOLDER, got {option[:200]!r}.")
        if label in folders:
            raise SpecError(f"expected different labels, got --tuned {label}=... twice.")
        folders[label] = Path(folder)
    return folders
