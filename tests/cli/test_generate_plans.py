"""`diagplan generate`: schedules, policies and sampling from options, and what is said of the prompt."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("av")
pytest.importorskip("diffusers")

from diagplan import BUNDLES, Diagonal, NextToken, Policies, ZipAR, write_plan  # noqa: E402
from diagplan.models.sampling import sampler_for  # noqa: E402
from diagplan.video.files import VideoWriter, read_video  # noqa: E402
from diagplan.worlds import SHIPPED, World, load_world  # noqa: E402
from diagplan.worlds.generation import compile_for, generate  # noqa: E402
from tests.support.cli import run, run_json  # noqa: E402
from tests.support.shallow import shallow_folder  # noqa: E402

CLIP = SHIPPED["crafter-mini"] / "clip.mp4"
ACTIONS = CLIP.with_suffix(".jsonl")


@pytest.fixture(scope="module")
def world() -> World:
    """A quick one: which plan options make does not depend on how good it is."""
    return load_world(str(shallow_folder()))


def command(folder: Path, *more: object, video: Path = CLIP) -> list[object]:
    files = (
        "--model",
        shallow_folder(),
        "--video",
        video,
        "--actions",
        ACTIONS,
        "-o",
        folder / "out.mp4",
        "--tokens",
        folder / "t.npy",
    )
    return ["generate", *files, "--frames", 1, *more]


@pytest.mark.parametrize(
    ("options", "schedule", "policies"),
    [
        ((), NextToken(), Policies()),
        (("--schedule", "next-token"), NextToken(), Policies()),
        (("--schedule", "diagonal", "--k", 3), Diagonal(k=3), Policies()),
        (("--window", 4), ZipAR(window=4), Policies()),
        (("--schedule", "zipar", "--k", 4), ZipAR(window=4), Policies()),
        (("--schedule", "zipar-llamagen", "--window", 4), ZipAR(window=4, variant="llamagen"), Policies()),
        (
            ("--policies", "zipar-llamagen", "--window", 4),
            ZipAR(window=4, variant="llamagen"),
            BUNDLES["zipar-llamagen"],
        ),
        (("--policies", "mineworld-video", "--k", 2), Diagonal(k=2, d=18), BUNDLES["mineworld-video"]),
        (("--k", 2, "--proxy", "above"), Diagonal(k=2), Policies(proxy="above")),
        (
            ("--k", 2, "--row-end", "keep", "--proxy-kv", "visible"),
            Diagonal(k=2),
            Policies(row_end="keep", proxy_kv="visible"),
        ),
        (("--k", 2, "--visibility", "causal"), Diagonal(k=2), Policies(visibility="causal")),
    ],
)
def test_the_plan_is_that_of_compile(
    world: World, options: tuple[object, ...], schedule: Any, policies: Policies, tmp_path: Path
) -> None:
    said = run_json(*command(tmp_path, *options))
    plan = compile_for(world, 1, schedule, policies=policies)
    assert said["passes"] == plan.steps
    want = generate(plan, world, read_video(CLIP, limit=1), world.read_actions(ACTIONS)).tokens
    np.testing.assert_array_equal(np.load(tmp_path / "t.npy"), want)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--proxy", "below"), "proxy"),
        (("--policies", "none"), "expected --policies to be one of default"),
        (("--window", 3, "--d", 2), "expected no --d with the schedule zipar, got --d 2"),
        (("--schedule", "next-token", "--k", 2), "expected no --k with the schedule next-token"),
        (("--schedule", "zipar"), "expected --window for the schedule zipar, got none"),
        (("--plan", "p.json"), "expected --plan or --frames, got both."),
        (("--greedy", "--top-k", 3), "expected --greedy or --top-k, got both"),
        (("--top-p", 2), "expected 0 < --top-p <= 1, got --top-p 2.0."),
    ],
)
def test_options_that_contradict(options: tuple[object, ...], words: str, tmp_path: Path) -> None:
    code, _, err = run(*command(tmp_path, *options))
    assert (code, err.count("\n")) == (2, 1)
    assert words in err
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["proxy", "row-end", "proxy-kv", "visibility", "window", "k", "schedule", "keep"])
def test_a_plan_file_says_all_of_these(name: str, tmp_path: Path) -> None:
    values = {"proxy": "above", "row-end": "keep", "proxy-kv": "hidden", "visibility": "causal", "schedule": "zipar"}
    code, _, err = run(
        *("generate", "--video", CLIP, "--actions", ACTIONS, "-o", tmp_path / "out.mp4", "--plan", "plan.json"),
        *(f"--{name}", values.get(name, 2)),
    )
    assert code == 2
    assert f"expected --plan or --{name}, got both." in err


def test_greedy_is_the_default_and_temperature_0(tmp_path: Path) -> None:
    kept = []
    for options in ((), ("--greedy",), ("--temperature", 0), ("--temperature", 0, "--top-k", 5), ("--temperature", 5)):
        assert run(*command(tmp_path, "--k", 1, *options))[0] == 0
        kept.append((tmp_path / "t.npy").read_bytes())
    assert kept[0] == kept[1] == kept[2] == kept[3] != kept[4]


def test_a_sampler_by_the_rules_of_the_family(world: World, tmp_path: Path) -> None:
    run_json(*command(tmp_path, "--k", 1, "--temperature", 3, "--top-p", 0.9, "--seed", 2))
    plan = compile_for(world, 1, Diagonal(k=1))
    sampler = sampler_for("mc-ar", temperature=3.0, top_p=0.9)
    prompt, blocks = read_video(CLIP, limit=1), world.read_actions(ACTIONS)
    want = generate(plan, world, prompt, blocks, sampler=sampler, seed=2).tokens
    np.testing.assert_array_equal(np.load(tmp_path / "t.npy"), want)


# What the image tokenizer makes of the prompt


def test_a_prompt_of_its_own_game_is_told(tmp_path: Path) -> None:
    code, out, err = run(*command(tmp_path, "--k", 1))
    assert (code, err) == (0, "")
    (line,) = [line for line in out.splitlines() if line.startswith("prompt psnr")]
    assert float(line.split()[-1]) > 33


def test_a_prompt_unlike_its_own_game_is_warned_of(tmp_path: Path) -> None:
    video = tmp_path / "ramp.mp4"
    with VideoWriter(video, exact=True) as writer:
        writer.add(np.broadcast_to(np.linspace(0, 255, 192)[None, :, None], (144, 192, 3)).astype(np.uint8))
    code, _, err = run(*command(tmp_path, "--k", 1, video=video))
    assert code == 0
    assert err.count("\n") == 1
    assert "warning: the image tokenizer gives the prompt back with 13." in err
    assert "dB only, below 25: crafter-mini was trained on other pictures" in err
    said = run_json(*command(tmp_path, "--k", 1, video=video))  # with --json the figure, and nothing on stderr
    assert 12 < said["prompt_psnr"] < 15
    assert said["threads"] == torch.get_num_threads()


def test_a_plan_file_with_sampling(tmp_path: Path, world: World) -> None:
    write_plan(compile_for(world, 1, Diagonal(k=1)), tmp_path / "plan.json")
    files = ("--model", shallow_folder(), "--video", CLIP, "--actions", ACTIONS, "-o", tmp_path / "out.mp4")
    code, out, _ = run("generate", *files, "--plan", tmp_path / "plan.json", "--greedy", "--json")
    assert (code, json.loads(out)["frames"]) == (0, 1)
