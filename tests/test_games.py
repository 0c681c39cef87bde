"""Games play the same in every process, clips come back as they were, hostile files are one clear error."""

import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from itertools import groupby, pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

pytest.importorskip("av")

from diagplan.cli import app
from diagplan.evaluation.pictures import psnr
from diagplan.games.clips import FPS, Clip, list_clips, read_actions, read_clip, write_clip
from diagplan.games.explorer import Explorer
from diagplan.games.game import Game, open_game
from diagplan.games.recorder import SPLITS, Recording, play, read_recording, record
from diagplan.planner.errors import DocumentError, MissingExtraError, SpecError

GAMES = ("crafter", "vizdoom")
TINY: dict[str, Any] = {"rows": 6, "cols": 6, "frames": 4}


def game_or_skip(name: str) -> Game:
    pytest.importorskip(name)
    return open_game(name, rows=6, cols=6)


class Corridor:
    """A game of one picture: three moves, nothing happens."""

    name = "corridor"
    actions: tuple[str, ...] = ("noop", "do", "move_left", "move_right", "move_up")
    moves: tuple[str, ...] = actions[2:]
    height = width = 16
    map_rows: int | None = None

    def reset(self, seed: int) -> Any: ...
    def step(self, action: str) -> Any: ...
    def close(self) -> None: ...


def clip_of(frames: int = 5, *, seed: int = 0) -> Clip:
    random = np.random.default_rng(seed)
    small = random.integers(0, 256, (frames, 2, 3, 3), dtype=np.uint8)
    return Clip(
        frames=small.repeat(16, axis=1).repeat(16, axis=2),
        actions=tuple(str(name) for name in random.choice(["noop", "do", "move_left"], frames - 1)),
        moved=tuple((int(x), 0) if x else None for x in random.integers(-1, 2, frames - 1)),
    )


def digest(clip: Clip) -> str:
    return hashlib.sha256(clip.frames.tobytes() + repr((clip.actions, clip.moved)).encode()).hexdigest()


# Games


@pytest.mark.parametrize("name", GAMES)
def test_a_seed_gives_the_same_clip_in_any_process(name: str) -> None:
    game_or_skip(name).close()
    what = Recording(game=name, rows=6, cols=6, frames=40)
    code = (
        f"from tests.test_games import *\nprint(digest(play(Recording(game={name!r}, rows=6, cols=6, frames=40), 7)))"
    )
    env = os.environ | {"PYTHONHASHSEED": "5", "PYTHONPATH": str(Path(__file__).parents[1])}
    there = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=True)
    here = play(what, 7)
    assert there.stdout.strip() == digest(here)
    assert digest(here) != digest(play(what, 8))


@pytest.mark.parametrize("name", GAMES)
def test_the_protocol(name: str) -> None:
    game = game_or_skip(name)
    try:
        first = game.reset(3)
        assert (game.height, game.width) == (96, 96)
        assert first.shape == (96, 96, 3)
        assert first.dtype == np.uint8
        assert set(game.moves) < set(game.actions)
        assert "noop" in game.actions
        for action in game.moves * 2:
            step = game.step(action)
            assert step.frame.shape == first.shape
            assert (step.moved is None) is (name == "vizdoom")
        with pytest.raises(SpecError, match="got action='fly'"):
            game.step("fly")
        np.testing.assert_array_equal(game.reset(3), first)
    finally:
        game.close()


def test_crafter_says_how_far_the_player_moved() -> None:
    game = game_or_skip("crafter")
    way = {"move_left": (-1, 0), "move_right": (1, 0), "move_up": (0, -1), "move_down": (0, 1)}
    game.reset(0)
    seen = {action: {game.step(action).moved for _ in range(3)} for action in way}
    assert all(steps <= {way[action], (0, 0)} for action, steps in seen.items())
    assert any(way[action] in steps for action, steps in seen.items())
    assert game.step("noop").moved == (0, 0)


def test_crafter_begins_a_world_anew() -> None:
    pytest.importorskip("crafter")
    game = open_game("crafter", rows=14, cols=16)
    first = game.reset(3)
    assert (game.reset(4) != first).any()
    np.testing.assert_array_equal(game.reset(3), first)


def test_creatures_are_visited_in_the_order_of_their_places(monkeypatch: pytest.MonkeyPatch) -> None:
    """The package walks a set, whose order depends on addresses in memory."""
    game = game_or_skip("crafter")
    seen: list[list[tuple[int, int]]] = []
    crafter: Any = sys.modules["crafter"]
    monkeypatch.setattr(crafter.Env, "_balance_chunk", lambda _, __, objs: seen.append([tuple(o.pos) for o in objs]))
    game.reset(0)
    for _ in range(20):
        game.step("noop")
    assert max(map(len, seen)) > 2
    assert all(places == sorted(places) for places in seen)


def test_vizdoom_ends_and_leaves_no_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    game = game_or_skip("vizdoom")
    try:
        game.reset(0)
        steps = [game.step("noop") for _ in range(540)]  # the scenario ends after 2,100 tics
    finally:
        game.close()
    first = next(number for number, step in enumerate(steps) if step.over)
    assert 500 < first < 530
    assert all(step.over for step in steps[first:])
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(SpecError, match="Call reset first"):
        game.step("noop")


@pytest.mark.parametrize("name", GAMES)
def test_a_game_that_is_not_installed(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(MissingExtraError, match=rf"expected the package {name}, got none.*diagplan\[games\]"):
        open_game(name, rows=6, cols=6)


def test_sizes_and_names_that_are_none() -> None:
    for name in GAMES:
        game_or_skip(name).close()
        with pytest.raises(SpecError, match="rows=0"):
            open_game(name, rows=0, cols=12)
    with pytest.raises(SpecError, match=r"rows=5, cols=6\. The inventory takes 3"):
        open_game("crafter", rows=5, cols=6)
    with pytest.raises(SpecError, match="got game='chess'"):
        open_game("chess", rows=9, cols=12)


# The explorer


def test_the_explorer_keeps_moving_and_rests_now_and_then() -> None:
    explorer = Explorer(Corridor(), seed=1)
    chosen = [explorer.choose() for _ in range(6000)]
    assert chosen != [Explorer(Corridor(), seed=2).choose() for _ in range(6000)]
    rests = Counter(name for name in chosen if name not in Corridor.moves)
    assert set(rests) == {"noop", "do"}
    assert 0.12 < sum(rests.values()) / len(chosen) < 0.18
    runs = [(name, len(list(group))) for name, group in groupby(name for name in chosen if name in Corridor.moves)]
    assert {name for name, _ in runs} == set(Corridor.moves)
    assert {length for _, length in runs[:-1]} == set(range(2, 9))


def test_the_explorer_turns_where_the_way_is_blocked() -> None:
    lengths = []
    for moved in ((0, 0), (1, 0), None):
        explorer = Explorer(Corridor(), seed=1, rest=0.0)
        runs = [len(list(group)) for _, group in groupby(explorer.choose(moved) for _ in range(2000))]
        lengths.append(sum(runs) / len(runs))
    assert lengths[0] < 2.5 < 4 < lengths[1]
    assert lengths[1] == lengths[2]


# Recordings


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("crafter")
    folder = tmp_path_factory.mktemp("recorded")
    record(Recording(**TINY, train=2, validation=1, test=1), folder)
    return folder


def files_of(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.glob("*/*"))}


def test_the_splits_have_other_worlds(recorded: Path) -> None:
    worlds = {name: {path.stem for path in list_clips(recorded / name)} for name in SPLITS}
    assert worlds == {
        "train": {"0000000", "0000001"}, "validation": {"1000000"}, "test": {"2000000"},
    }  # fmt: skip
    assert len({path.read_bytes() for path in recorded.glob("*/*.mp4")}) == 4


def test_the_splits_cannot_meet() -> None:
    firsts = sorted(SPLITS.values())
    assert min(b - a for a, b in pairwise(firsts)) > 900_000
    Recording(train=900_000)
    Recording(train=1, validation=0, test=0, seed=899_999)
    for wrong in ({"train": 900_001}, {"seed": 900_000}, {"seed": -1}, {"test": -1}):
        with pytest.raises(SpecError, match="must not meet"):
            Recording(**wrong)  # type: ignore[arg-type]
    for wrong in ({"frames": 1}, {"rows": 0}, {"cols": 0}):
        with pytest.raises(SpecError, match="at least 2 frames and a grid"):
            Recording(**wrong)  # type: ignore[arg-type]


def test_what_is_on_disk_is_what_was_played(recorded: Path) -> None:
    played = play(Recording(**TINY), 1)
    read = read_clip(recorded / "train" / "0000001.mp4")
    assert read.actions == played.actions
    assert read.moved == played.moved
    assert psnr(played.frames, read.frames) > 40


def test_the_card(recorded: Path) -> None:
    said = read_recording(recorded)
    assert (said["game"], said["rows"], said["cols"], said["frames"]) == ("crafter", 6, 6, 4)
    assert said["daylight"] == "noon"
    assert said["first_seeds"] == dict(SPLITS)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"game": 3, "rows": 6, "cols": 6, "frames": 4}', None])
def test_a_card_that_is_none(tmp_path: Path, text: str | None) -> None:
    if text is not None:
        (tmp_path / "recording.json").write_text(text)
    with pytest.raises(DocumentError, match=r"recording\.json"):
        read_recording(tmp_path)


def test_several_processes_record_the_same(recorded: Path, tmp_path: Path) -> None:
    seen: list[int] = []
    record(Recording(**TINY, train=2, validation=1, test=1), tmp_path, workers=2, on_clip=seen.append)
    assert files_of(tmp_path) == files_of(recorded)
    assert seen == [0, 1, 2, 3, 4]


def test_a_second_call_adds_what_is_missing(recorded: Path, tmp_path: Path) -> None:
    record(Recording(**TINY, train=1, validation=0, test=0), tmp_path)
    before = (tmp_path / "train" / "0000000.mp4").stat().st_mtime_ns
    seen: list[int] = []
    record(Recording(**TINY, train=2, validation=0, test=0), tmp_path, on_clip=seen.append)
    assert seen == [1, 2]
    assert (tmp_path / "train" / "0000000.mp4").stat().st_mtime_ns == before
    with pytest.raises(DocumentError, match="with other seed"):
        record(Recording(**TINY, seed=1), tmp_path)


def test_folders_that_cannot_be_used(tmp_path: Path) -> None:
    pytest.importorskip("crafter")
    (tmp_path / "file").touch()
    with pytest.raises(DocumentError, match="cannot make the folder"):
        record(Recording(**TINY), tmp_path / "file" / "clips")
    with pytest.raises(DocumentError, match="Record some: diagplan record"):
        list_clips(tmp_path)
    with pytest.raises(SpecError, match="workers=0"):
        record(Recording(**TINY), tmp_path, workers=0)


# Clips


def test_a_clip_comes_back(tmp_path: Path) -> None:
    clip = clip_of()
    write_clip(tmp_path / "a.mp4", clip)
    back = read_clip(tmp_path / "a.mp4")
    assert (back.actions, back.moved) == (clip.actions, clip.moved)
    assert psnr(clip.frames, back.frames) > 45
    lines = [json.loads(line) for line in (tmp_path / "a.jsonl").read_text().splitlines()]
    assert [line["action"] for line in lines] == list(clip.actions)
    assert FPS == 6


def test_an_interrupted_clip_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    for place in ("diagplan.video.files.VideoWriter.close", "diagplan.games.clips.write_atomically"):
        with monkeypatch.context() as patch:
            patch.setattr(place, interrupt)
            with pytest.raises(KeyboardInterrupt):
                write_clip(tmp_path / "a.mp4", clip_of())
        assert list(tmp_path.iterdir()) == []


HOSTILE = {
    "not JSON": ("{", "line 1"),
    "no object": ("[1]", "line 1"),
    "no action": ('{"moved": [0, 0]}', "line 1"),
    "action of another kind": ('{"action": 3}', "line 1"),
    "unknown key": ('{"action": "do"}\n{"action": "do", "reward": 1}', "line 2"),
    "moved of another kind": ('{"action": "do", "moved": [0.5, 0]}', r'"moved": \[COLUMNS, ROWS\]'),
    "moved is true": ('{"action": "do", "moved": [true, 0]}', r'"moved": \[COLUMNS, ROWS\]'),
    "moved too short": ('{"action": "do", "moved": [1]}', r'"moved": \[COLUMNS, ROWS\]'),
    "moved too far": ('{"action": "do", "moved": [1e400, 0]}', r'"moved": \[COLUMNS, ROWS\]'),
    "moved beyond int64": ('{"action": "do", "moved": [9999999999999999999, 0]}', "at most 4096 cells"),
    "a number of 5,000 digits": ('{"action": "do", "moved": [' + "1" * 5000 + ", 0]}", "line 1"),
    "nested deeply": ("[" * 100_000, "line 1"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_actions(tmp_path: Path, name: str) -> None:
    text, words = HOSTILE[name]
    (tmp_path / "a.jsonl").write_text(text)
    with pytest.raises(DocumentError, match=words) as caught:
        read_actions(tmp_path / "a.jsonl")
    assert len(str(caught.value)) < 600


def test_actions_that_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_bytes(b"\xff\xfe{}")
    with pytest.raises(DocumentError, match="not UTF-8"):
        read_actions(tmp_path / "a.jsonl")
    for name in ("none.jsonl", "."):
        with pytest.raises(DocumentError, match="cannot read the actions"):
            read_actions(tmp_path / name)
    with (tmp_path / "a.jsonl").open("wb") as file:
        file.truncate((64 << 20) + 1)
    with pytest.raises(DocumentError, match="at most 64 MiB"):
        read_actions(tmp_path / "a.jsonl")


def test_lines_end_at_newlines_alone(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"action": "a\u2028b"}\r\n\n{"action": "do"}')
    assert read_actions(tmp_path / "a.jsonl") == [{"action": "a\u2028b"}, {"action": "do"}]


def test_too_few_actions_and_a_truncated_video(tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    write_clip(path, clip_of(frames=5))
    lines = path.with_suffix(".jsonl").read_text().splitlines(keepends=True)
    path.with_suffix(".jsonl").write_text("".join([*lines, lines[0]]))
    assert len(read_clip(path).actions) == 4  # a line more is fine
    path.with_suffix(".jsonl").write_text("".join(lines[:3]))
    with pytest.raises(DocumentError, match=r"expected 4 actions for the 5 frames of .*a\.mp4, got 3"):
        read_clip(path)
    path.write_bytes(path.read_bytes()[:-50])
    with pytest.raises(DocumentError, match="cannot read the video"):
        read_clip(path)


# The command line


def test_the_command_line(tmp_path: Path) -> None:
    pytest.importorskip("crafter")
    arguments = ["record", "-o", str(tmp_path / "clips"), "--rows", "6", "--cols", "6", "--frames", "3"]
    arguments += ["--train", "1", "--validation", "1", "--test", "0", "--workers", "1"]
    result = CliRunner().invoke(app, [*arguments, "--json"])
    assert (result.exit_code, result.stderr) == (0, "")
    said = json.loads(result.stdout)
    assert (said["clips"], said["recorded_now"], said["frames"], said["height"]) == (2, 2, 6, 96)
    again = CliRunner().invoke(app, arguments)
    assert (again.exit_code, again.stderr) == (0, "")
    assert "recorded now        0" in again.stdout


@pytest.mark.parametrize(
    ("more", "code", "words"),
    [
        (["--workers", "0"], 2, "workers=0"),
        (["--frames", "1"], 2, "frames=1"),
        (["--rows", "2"], 2, "rows=2"),
        (["--seed", "-1"], 2, "seed=-1"),
        (["--train", "-1"], 2, "'train': -1"),
    ],
)
def test_wrong_usage(tmp_path: Path, more: list[str], code: int, words: str) -> None:
    pytest.importorskip("crafter")
    result = CliRunner().invoke(app, ["record", "-o", str(tmp_path / "clips"), *more])
    assert (result.exit_code, result.stdout) == (code, "")
    assert words in result.stderr
    assert result.stderr.count("\n") == 1
    assert not (tmp_path / "clips").exists()


def group_lives(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


def test_ctrl_c_leaves_whole_clips_and_no_process(tmp_path: Path) -> None:
    pytest.importorskip("crafter")
    arguments = ["--rows", "6", "--cols", "6", "--frames", "4", "--train", "999", "--workers", "2"]
    command = [sys.executable, "-m", "diagplan", "record", "-o", str(tmp_path), *arguments]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    deadline = time.monotonic() + 60
    while not list(tmp_path.glob("train/*.jsonl")) and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.02)
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does: to every process of the group
    out, err = process.communicate(timeout=30)
    assert process.returncode == 130
    assert out == ""
    assert err.startswith("diagplan: interrupted; the clips that are there are whole")
    assert err.count("\n") == 1
    while group_lives(process.pid) and time.monotonic() < deadline:  # multiprocessing's own tracker ends a little later
        time.sleep(0.02)
    assert not group_lives(process.pid)
    left = {path.name for path in tmp_path.glob("*/*")} | {path.name for path in tmp_path.glob("*/.*")}
    assert left == {f"{path.stem}{end}" for path in list_clips(tmp_path / "train") for end in (".mp4", ".jsonl")}
    assert len(read_clip(list_clips(tmp_path / "train")[0]).frames) == 4
