"""What a study leaves for people: tables, plots and sample videos."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from diagplan.evaluation.metrics import decibels
from diagplan.schemas.atomic import make_folder, write_atomically
from diagplan.study.conditions import BASE, is_exact
from diagplan.study.demonstration import side_by_side
from diagplan.study.effects import policy_effects, tuning_effects
from diagplan.study.pieces import made_frames
from diagplan.study.plots import differences_plot, horizon_plot, policies_plot, quality_plot
from diagplan.study.results import Result, StudyFolder
from diagplan.study.run import Study
from diagplan.study.tables import Row, csv_text, markdown, rows_of
from diagplan.video.files import VideoWriter

__all__ = ["pictured", "write_report", "write_samples"]

#: Plans shown as curves and in sample videos where nobody asked for some, as far as they were run.
_SHOWN = ("ntp", "k=4", "k=2", "k=1", "zipar-release-w=2")
#: Those whose differences are then shown cell by cell: schedules, and the policies of MineWorld's and ZipAR's releases.
_MAPPED = (
    "base/k=4", "base/k=2", "base/k=1", "base/k=1,d=5", "policies/prompt,keep,visible,causal",
    "policies/above-predecessor,refresh,visible,causal",
)  # fmt: skip
#: More curves or maps than these, or more videos side by side, are not told apart.
_MOST, _MOST_VIDEOS = 12, 8


def write_report(
    folder: StudyFolder,
    results: Mapping[str, Result],
    truth: Mapping[str, Any],
    about: Mapping[str, Any],
    *,
    seed: int,
    asked: Sequence[str] | None = None,
) -> tuple[list[Row], list[Path]]:
    """Write results.json, .csv and .md and the plots.

    Args:
        folder: of the study.
        results: by id, ``base/ntp`` among them.
        truth: from ``judge_truth``.
        about: label -> value, printed above the tables.
        seed: of the intervals' draws.
        asked: ids of the conditions that the plots show, those for comparison among them; ``None``: all of them, and
            where one plot cannot hold all, those that say most. Tables hold all in either case.

    Returns:
        the rows, and the paths that were written.
    """
    rows = rows_of(results, seed=seed)
    policies, tuning = policy_effects(results, seed=seed), tuning_effects(results, seed=seed)
    clips = len(next(iter(results.values())).curves["loss"])
    differing = _differing(folder, results, asked)
    document = {
        "clips": clips,
        "truth": truth,
        "rows": [row.as_dict() for row in rows],
        "horizons": {
            id_: {name: one.curve(name).mean(0).tolist() for name in one.curves} for id_, one in results.items()
        },
        "exact": {id_: {**one.plan["speculation"], "passes": one.passes} for id_, one in results.items() if one.passes},
        "rollouts": {
            id_: {"windows": one.plan["windows"], "prefill_tokens": one.plan["prefill_tokens"]}
            for id_, one in results.items()
            if "windows" in one.plan
        },
        "effects": [{"policy": factor, "value": level, "loss_more": asdict(one)} for factor, level, one in policies],
        "tuning": [asdict(one) for one in tuning],
        "differing": {id_: np.round(share, 6).tolist() for id_, share in differing.items()},
    }
    drawn = [row for row in rows if asked is None or row.id in asked]
    files = {
        "results.json": (json.dumps(document, indent=1) + "\n").encode(),
        "results.csv": csv_text(rows).encode(),
        "results.md": markdown(rows, about, policies, tuning, clips=clips).encode(),
        "quality-passes.png": quality_plot(drawn, "step"),
        "horizons.png": horizon_plot(_curves(results, asked)),
    }
    if any(row.seconds is not None and not row.id.startswith("policies/") for row in drawn):
        files["quality-time.png"] = quality_plot(drawn, "seconds")
    if any(row.id.startswith("policies/") for row in drawn):
        files["policies.png"] = policies_plot(drawn)
    if differing:
        files["differences.png"] = differences_plot(differing)
    for name, data in files.items():
        write_atomically(folder.folder / name, data)
    return rows, [folder.folder / name for name in files]


def _differing(
    folder: StudyFolder, results: Mapping[str, Result], asked: Sequence[str] | None
) -> dict[str, NDArray[np.float64]]:
    """Of some conditions the share of clips and frames in which a cell is not next-token prediction's, [rows, cols]."""
    others = None if asked is None else [id_ for id_ in asked if not id_.endswith("/ntp")]
    shares = {}
    for id_ in pictured(results, others, _MAPPED, _MOST):
        group = id_.partition("/")[0]
        theirs = folder.read_tokens(f"{BASE if group == 'policies' else group}/ntp")
        shares[id_] = (folder.read_tokens(id_) != theirs).mean((0, 1))
    return shares


def pictured(results: Mapping[str, Result], asked: Sequence[str] | None, usual: Sequence[str], most: int) -> list[str]:
    """The conditions in a picture that holds at most ``most``; ``exact`` ones look like next-token prediction.

    Args:
        results: by id.
        asked: what somebody asked for; ``None``: nothing, which gives the usual ones.
        usual: those that say most.
        most: where more are asked for, the usual ones among them are shown; without such, the first.
    """
    common = [id_ for id_ in usual if id_ in results]
    if asked is None:
        return common
    wanted = [id_ for id_ in results if id_ in asked and not is_exact(id_)]
    if len(wanted) <= most:
        return wanted
    return ([id_ for id_ in common if id_ in wanted] or wanted)[:most]


def _usual(results: Mapping[str, Result]) -> list[str]:
    """Of the base model ``_SHOWN``, and of each other its ``k=2``."""
    models = dict.fromkeys(id_.partition("/")[0] for id_ in results if not id_.startswith("policies/"))
    return [f"{BASE}/{name}" for name in _SHOWN] + [
        f"{model}/{name}" for model in models if model != BASE for name in ("ntp", "k=2")
    ]


def _curves(results: Mapping[str, Result], asked: Sequence[str] | None) -> dict[str, dict[str, list[float]]]:
    kept = {id_: results[id_] for id_ in pictured(results, asked, _usual(results), _MOST)}
    return {
        "loss": {id_: one.curve("loss").mean(0).tolist() for id_, one in kept.items()},
        "% tokens as recorded": {id_: (100 * one.curve("equal_truth").mean(0)).tolist() for id_, one in kept.items()},
        "PSNR": {id_: decibels(one.curve("error").mean(0)).tolist() for id_, one in kept.items()},
    }


def write_samples(
    study: Study,
    folder: StudyFolder,
    results: Mapping[str, Result],
    *,
    count: int,
    asked: Sequence[str] | None = None,
) -> list[Path]:
    """Write videos of the first clips, the truth and some conditions side by side.

    Args:
        study: models and clips.
        folder: of the study.
        results: by id.
        count: clips.
        asked: as for ``write_report``.

    Returns:
        the paths that were written.
    """
    material, shown = study.material, pictured(results, asked, _usual(results), _MOST_VIDEOS)
    place = folder.folder / "samples"
    make_folder(place)
    written = []
    tokens = {id_: folder.read_tokens(id_) for id_ in shown}
    for number in range(min(count, len(material.frames))):
        given = material.given_frames
        prompt, truth = material.frames[number, given - 1], material.frames[number, given:]
        first = material.tokens[number : number + 1, : material.given]
        ways = {"recorded": truth}
        ways |= {
            id_: made_frames(study.worlds[BASE], first, generated[number : number + 1])[0]
            for id_, generated in tokens.items()
        }
        titles = {id_: id_ if id_ == "recorded" else f"{id_}, {results[id_].plan['steps']} passes" for id_ in ways}
        actions: Sequence[str] = material.names[number][given - 1 :]
        blank = np.full_like(truth, 255)
        ways |= {f"empty {i}": blank for i in range(-len(ways) % 3)}  # three in a row
        titles |= {name: "" for name in ways if name.startswith("empty ")}
        path = place / f"clip-{number:03d}.mp4"
        with VideoWriter(path, fps=2) as writer:
            for at in (None, *range(len(truth))):
                writer.add(side_by_side(ways, titles, at, actions[at or 0], prompt))
        written.append(path)
    return written
