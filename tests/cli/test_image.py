"""diagplan image from a prompt to a picture, on tiny models of all families, and what it refuses."""

import io
import json
import re
import shutil
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest

pytest.importorskip("transformers")
Image = pytest.importorskip("PIL.Image")

from diagplan import read_chain, read_plan, verify  # noqa: E402
from diagplan.backends.promise import Grade  # noqa: E402
from tests.support.checkpoints import write_safetensors  # noqa: E402
from tests.support.cli import run, run_json  # noqa: E402
from tests.support.image_folders import CODES, folder_of, vqgan  # noqa: E402


def pixels(path: Path) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(path.read_bytes())))


def files(family: str, tmp_path: Path) -> tuple[Any, ...]:
    """The options that name a family's files."""
    place = folder_of("llamagen" if family.startswith("llamagen") else family)
    if family in ("chameleon", "raster-llama"):
        return "--model", place, "--vq", write_safetensors(vqgan(), tmp_path / "vqgan.safetensors")
    if not family.startswith("llamagen"):
        return "--model", place
    kind = family.removeprefix("llamagen-")
    more = ("--features", place / "text-0.npy") if kind == "t2i" else ()
    return (
        "--model", place / f"{kind}.safetensors", "--config", place / f"{kind}.json", "--vq", place / "vq.safetensors",
        "--size", "8x8", *more,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("family", "shape", "passes"),
    [
        ("janus-pro", (12, 12), 16),
        ("emu3", (32, 40), 11),
        ("glm-pipeline", (64, 96), 0),
        ("chameleon", (32, 32), 22),
        ("raster-llama", (16, 20), 11),
        ("llamagen-c2i", (8, 8), 10),
        ("llamagen-t2i", (8, 8), 10),
    ],
)
def test_from_a_prompt_to_a_picture(family: str, shape: tuple[int, int], passes: int, tmp_path: Path) -> None:
    sizes = {"emu3": ("--size", "40x32"), "glm-pipeline": ("--size", "96x64")}.get(family, ())
    prompt, out, tokens, plan = "3", tmp_path / "a.png", tmp_path / "a.npy", tmp_path / "a.json"
    figures = run_json(
        "image", *files(family, tmp_path), *sizes, prompt, "--k", 2, "--seed", 1, "-o", out, "--tokens-out", tokens,
        "--plan-out", plan,
    )  # fmt: skip
    assert pixels(out).shape == (*shape, 3)
    assert len(np.unique(pixels(out))) > 8
    ids = np.load(tokens)
    written = read_chain(plan).plans if family == "glm-pipeline" else (read_plan(plan),)
    assert ids.shape == (1, written[-1].layout.rows, written[-1].layout.cols)
    assert all(verify(one).ok for one in written)
    assert figures["passes"] == passes or family == "glm-pipeline"
    assert figures["shape"] == [1, *shape, 3]
    assert figures["written"] == [str(out), str(tokens), str(plan)]
    assert figures["seconds"] > 0
    assert figures["sampling"]


def test_figures_for_people(tmp_path: Path) -> None:
    code, out, err = run(
        "image", "--model", folder_of("emu3"), "a cat", "--size", "16x16", "--negative", "", "-o", tmp_path / "a.png"
    )
    assert code == 0, err
    lines = [" ".join(line.split()) for line in out.splitlines()]
    assert {"family emu3", "passes 4", "tokens 4", "guidance 3.0"} <= {*lines}
    expected = (
        "sampling: temperature 1, top-k 2048 (as baaivision/Emu3 samples; generation_config.json has no do_sample,"
    )
    assert any(line.startswith(expected) for line in lines)
    assert lines[-1] == f"wrote {tmp_path / 'a.png'}"


def test_several_pictures_make_a_sheet_and_files_of_their_own(tmp_path: Path) -> None:
    prompts = tmp_path / "prompts.jsonl"
    prompts.write_text('{"prompt": "dog"}\n')
    figures = run_json(
        "image", "--model", folder_of("janus-pro"), "a cat", "--prompts", prompts, "--num", 2, "--batch", 3,
        "-o", tmp_path / "sheet.png", "--pictures-dir", tmp_path / "each", "--tokens-out", tmp_path / "a.npy",
    )  # fmt: skip
    assert figures["pictures"] == 4
    each = [pixels(path) for path in sorted((tmp_path / "each").iterdir())]
    assert [path.name for path in sorted((tmp_path / "each").iterdir())] == [f"000{number}.png" for number in range(4)]
    assert all(picture.shape == (12, 12, 3) for picture in each)
    assert pixels(tmp_path / "sheet.png").shape[1] > 2 * 256
    alone = run_json(
        "image", "--model", folder_of("janus-pro"), "a cat", "--tokens-out", tmp_path / "b.npy", "--num", 2
    )
    assert alone["shape"] is None
    assert np.array_equal(np.load(tmp_path / "a.npy")[:2], np.load(tmp_path / "b.npy"))


def test_greedy_and_sampled_by_options(tmp_path: Path) -> None:
    common = ("image", "--model", folder_of("janus-pro"), "a cat", "--tokens-out", tmp_path / "a.npy")
    greedy = run_json(*common, "--greedy", "--seed", 1)
    first = np.load(tmp_path / "a.npy")
    run_json(*common, "--temperature", 0, "--seed", 2)
    assert np.array_equal(np.load(tmp_path / "a.npy"), first)
    assert greedy["sampling"] == "greedy (as asked)"
    sampled = run_json(*common, "--top-k", 5, "--guidance", 1)
    assert sampled["sampling"].startswith("temperature 1, top-k 5 (top_k as asked, the rest: ")
    assert sampled["guidance"] is None


def test_the_same_picture_in_fewer_passes(tmp_path: Path) -> None:
    common = ("image", "--model", folder_of("janus-pro"), "a cat", "--greedy", "--tokens-out", tmp_path / "a.npy")
    whole = run_json(*common)
    tokens = np.load(tmp_path / "a.npy")
    fast = run_json(*common, "--speculate", 12, "--draft", "above")
    assert np.array_equal(np.load(tmp_path / "a.npy"), tokens)
    assert whole["passes"] == 36
    assert fast["passes"] < 36
    assert (fast["window"], fast["draft"]) == (12, "above")
    assert fast["promise"]["grade"] in get_args(Grade)
    assert not {"window", "draft", "promise"} & whole.keys()
    code, out, _ = run(*common, "--exact")
    assert code == 0
    assert re.search("promise +(bit-exact|exact up to near-ties)", out)


def test_plans_side_by_side_on_one_sheet(tmp_path: Path) -> None:
    common = ("image", "--model", folder_of("janus-pro"), "a cat", "dog", "-o", tmp_path / "a.png")
    compared = run_json(*common, "--compare", "ntp,k=2,k=1", "--tokens-out", tmp_path / "a.npy")
    assert [row["plan"] for row in compared["plans"]] == ["ntp", "k=2", "k=1"]
    assert [row["passes"] for row in compared["plans"]] == [36, 16, 11]
    assert compared["plans"][0]["same"] == [1.0, 1.0]
    assert all(len(row["loss"]) == 2 for row in compared["plans"])
    assert np.load(tmp_path / "a.npy").shape == (3, 2, 6, 6)
    assert pixels(tmp_path / "a.png").shape[1] > 3 * 256
    code, out, _ = run(*common, "--compare", "ntp,k=2")
    assert code == 0
    assert "same as ntp" in out
    assert f"wrote {tmp_path / 'a.png'}" in out


def test_a_prompt_beyond_the_context_names_the_file(tmp_path: Path) -> None:
    place = folder_of("janus-pro")
    error = run_json("image", "--model", place, "x" * 600, "-o", tmp_path / "a.png", code=1)["error"]
    assert f"the max_position_embeddings of {place / 'config.json'}, got 6" in error
    assert not (tmp_path / "a.png").exists()


def damaged(family: str, place: Path) -> Path:
    shutil.copytree(folder_of(family), place)
    return place


@pytest.mark.parametrize("family", ["janus-pro", "emu3", "chameleon", "raster-llama"])
def test_no_tokenizer_names_the_folder(family: str, tmp_path: Path) -> None:
    place = damaged(family, tmp_path / "folder")
    for path in place.glob("tokenizer*"):
        path.unlink()
    error = run_json("image", "--model", place, "a", "--tokens-out", tmp_path / "a.npy", code=1)["error"]
    assert f"expected a tokenizer, got {place} without tokenizer.json" in error


@pytest.mark.parametrize("family", ["janus-pro", "emu3"])
def test_missing_vq_names_the_folder(family: str, tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    place = damaged(family, tmp_path / "folder")
    file = place / "model.safetensors"
    save_file({name: t for name, t in load_file(file).items() if "vqmodel" not in name}, file)
    size = ("--size", "16x16", "--negative", "") if family == "emu3" else ()
    error = run_json("image", "--model", place, "a", *size, "-o", tmp_path / "a.png", code=1)["error"]
    assert f"expected the image decoder's tensors (vqmodel.decoder.*) in {place}" in error


def test_missing_decoders_name_their_folder(tmp_path: Path) -> None:
    for family, words in (("chameleon", "vqgan.ckpt"), ("glm-image", "model_index.json"), ("raster-llama", "--vq")):
        size = ("--size", "64x64") if family == "glm-image" else ()
        error = run_json("image", "--model", folder_of(family), *size, "a", "-o", tmp_path / "a.png", code=1)["error"]
        assert words in error
        assert family == "raster-llama" or str(folder_of(family)) in error


def test_other_models_folders_name_the_file_that_tells(tmp_path: Path) -> None:
    for name, file, held in (
        ("diffusion", "model_index.json", {"_class_name": "StableDiffusionXLPipeline"}),
        ("text", "config.json", {"model_type": "llama"}),
        ("original", "config.json", {"model_type": "multi_modality"}),
    ):
        place = tmp_path / name
        place.mkdir()
        (place / file).write_text(json.dumps(held))
        code, out, err = run("image", "--model", place, "a", "-o", tmp_path / "a.png")
        assert code in (1, 2)
        assert out == ""
        assert err.count("\n") == 1
        assert str(place / file) in err


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ((), "expected -o, --pictures-dir or --tokens-out, got none"),
        (("a", "--compare", "ntp", "--tokens-out", "a.npy"), "--compare needs -o"),
        (("a", "-o", "a.png", "--compare", "ntp", "--k", "2"), "expected --compare or --k, got both"),
        (("a", "-o", "a.png", "--compare", "ntp", "--speculation", "s.json"), "expected --compare or --speculation"),
        (("a", "-o", "a.jpg"), "expected a name ending in .png for -o"),
        (("-o", "a.png"), "expected a prompt, got none"),
        (("a", "-o", "a.png", "--size", "12"), "expected size as width and height"),
        (("a", "-o", "a.png", "--size", "12x12", "--ratio", "1:1"), "expected size or ratio, got both"),
        (("a", "-o", "a.png", "--size", "720x720"), "expected pictures of 12x12"),
        (("a", "-o", "a.png", "--k", "0"), "expected k >= 1"),
        (("a", "-o", "a.png", "--schedule", "zipar"), "expected --window for the schedule zipar"),
        (("a", "-o", "a.png", "--greedy", "--top-k", "3"), "expected greedy or top_k, got both"),
        (("a", "-o", "a.png", "--compare", "ntp,d=2"), "expected a plan out of ntp, exact=N, k=N"),
        (("a", "-o", "a.png", "--negative", "b"), "expected no negative prompt"),
    ],
)
def test_wrong_usage_is_one_line(options: tuple[str, ...], message: str, tmp_path: Path) -> None:
    placed = [str(tmp_path / one) if re.fullmatch(r"a\.\w+", one) else one for one in options]
    code, out, err = run("image", "--model", folder_of("janus-pro"), *placed)
    assert code == 2, out + err
    assert message in err
    assert err.count("\n") == 1
    assert not any(tmp_path.iterdir())


def test_codes_of_the_decoder_are_those_of_the_model() -> None:
    assert vqgan()["quantize.embedding.weight"].shape[0] == CODES
