"""Texts of single clips: features bound to one transformer, which is loaded once."""

from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("av")
pytest.importorskip("safetensors")

from diagplan.adapters.options import LoadOptions  # noqa: E402
from diagplan.batch.clips import ClipWork, open_clips  # noqa: E402
from diagplan.batch.jobs import Job  # noqa: E402
from diagplan.batch.recipe import Recipe  # noqa: E402
from diagplan.video.files import read_video  # noqa: E402
from diagplan.worlds.generation import generate  # noqa: E402
from diagplan.worlds.plans import plan_for  # noqa: E402
from tests.support.batch import outputs  # noqa: E402
from tests.support.cosmos_world import cosmos_world, write_cosmos_world  # noqa: E402


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = write_cosmos_world(tmp_path_factory.mktemp("cosmos"))
    np.save(place / "other.npy", np.random.default_rng(1).normal(size=(4, 24)).astype(np.float32))
    return place


def work(files: Path, out: Path, model: str = "text", **options: str) -> ClipWork:
    loaded = LoadOptions(config=str(files / f"{model}.json"), **options)  # type: ignore[arg-type]
    weights, tokenizer = files / f"{model}.safetensors", files / "tokenizer"
    return open_clips(Recipe(model="cosmos", weights=weights, tokenizer=tokenizer, options=loaded, batch=2), out)


def job(files: Path, number: int, context: str | None = None, text: str | None = None) -> Job:
    led = None if context is None else files / context
    return Job(number=number, id=f"j{number}", video=files / "video.mp4", context=led, text=text)


def test_each_clip_is_led_by_its_own_text(files: Path, tmp_path: Path) -> None:
    texts = ("text.npy", "other.npy", "text.npy")
    todo = [job(files, number, context) for number, context in enumerate(texts)]
    outcomes = work(files, tmp_path).do(todo)
    assert {one.state for one in outcomes} == {"done"}
    frames = read_video(files / "video.mp4", limit=9)
    for number, context in enumerate(texts):
        world = cosmos_world(files, "text", context=files / context)
        want = generate(plan_for(world), world, frames).tokens
        np.testing.assert_array_equal(np.load(next(tmp_path.rglob(f"j{number}.npy"))), want)
    assert outputs(tmp_path)["j0.npy"] == outputs(tmp_path)["j2.npy"] != outputs(tmp_path)["j1.npy"]


def test_texts_that_do_not_fit_the_model(files: Path, tmp_path: Path) -> None:
    none, encoder, missing = work(files, tmp_path).do(
        [job(files, 1), job(files, 2, text="a cat"), job(files, 3, "none.npy")]
    )
    assert "expected a text or a context in each job" in none.message
    assert "expected --text-encoder for a job with a text" in encoder.message
    assert "cannot read" in missing.message
    (unread,) = work(files, tmp_path, "base").do([job(files, 4, "text.npy")])
    assert "expected no text in a job for cosmos" in unread.message
    (twice,) = work(files, tmp_path, context=str(files / "text.npy")).do([job(files, 5, "text.npy")])
    assert "expected no text in a job" in twice.message
