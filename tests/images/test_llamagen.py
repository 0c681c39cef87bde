from pathlib import Path
from typing import Any

import numpy as np
import pytest

from diagplan import Diagonal, LoadOptions, compile_plan, load_model, replay
from diagplan.adapters.samplers import Greedy
from diagplan.images import llamagen
from diagplan.images.defaults import Choice
from diagplan.images.folder import open_folder
from diagplan.images.job import ImageJob
from diagplan.images.paint import draw_image
from diagplan.images.prompts import Request
from diagplan.planner.errors import DocumentError, SpecError
from tests.support.image_folders import folder_of

torch = pytest.importorskip("torch")


def job(kind: str, request: Request, **options: Any) -> ImageJob:
    place = folder_of("llamagen")
    return ImageJob(
        place / f"{kind}.safetensors", request, options=LoadOptions(config=place / f"{kind}.json"),
        vq=place / "vq.safetensors", choice=lambda _: Choice(Greedy(), "as asked"), **options,
    )  # fmt: skip


def test_classes_are_ids_after_the_codes_and_the_null_class_is_the_last() -> None:
    ours = job("c2i", Request(texts=("3", "0"), size=(8, 8)))
    assert [branch.ids.tolist() for branch in ours.prompted.branches] == [[[51], [48]], [[53], [53]]]
    assert (ours.prompted.layouts[0].rows, ours.prompted.layouts[0].lead) == (4, 1)
    assert ours.guidance == 4.0


def test_pictures_of_classes_are_those_of_replay() -> None:
    place = folder_of("llamagen")
    ours = job("c2i", Request(texts=("3", "0"), size=(8, 8)))
    (plan,) = ours.compile(Diagonal(k=2))
    tokens = ours.decode((plan,)).tokens
    model = load_model("llamagen", place / "c2i.safetensors", config=place / "c2i.json")
    given = np.array([[model.class_id(3)], [model.class_id(0)]])  # type: ignore[attr-defined]
    null = np.array([model.class_id(None)])  # type: ignore[attr-defined]
    expected = replay(plan, model, given=given, guidance=4.0, unconditional=null)
    assert np.array_equal(tokens, expected[:, 0])
    assert not np.array_equal(tokens[0], tokens[1])


def test_pictures_of_texts_are_those_of_replay_with_their_embeddings() -> None:
    place = folder_of("llamagen")
    files = (place / "text-0.npy", place / "text-1.npy")
    ours = job("t2i", Request(texts=("a", "b"), size=(8, 8), features=files))
    assert ours.guidance == 7.5
    assert ours.prompted.pad.tolist() == [2, 4, 2, 4]
    (plan,) = ours.compile(Diagonal(k=2))
    tokens = ours.decode((plan,)).tokens
    model: Any = load_model("llamagen", place / "t2i.safetensors", config=place / "t2i.json")
    for number, path in enumerate(files):
        lead, pad = model.text_lead(torch.from_numpy(np.load(path))[None])
        expected = replay(
            compile_plan(ours.prompted.layouts[0], Diagonal(k=2)), model, given=np.array(model.lead_ids), pad=pad,
            lead=torch.cat([lead, model.null_lead()]), guidance=7.5, unconditional=np.array(model.lead_ids),
        )  # fmt: skip
        assert np.array_equal(tokens[number], expected[0, 0])
    assert not np.array_equal(tokens[0], tokens[1])


def test_pixels_are_those_of_its_own_decoder() -> None:
    from diagplan.adapters.vq_decoder import load_vq

    place = folder_of("llamagen")
    drawn = draw_image(
        place / "c2i.safetensors", ["3"], size=(8, 8), vq=place / "vq.safetensors",
        options=LoadOptions(config=place / "c2i.json"),
    )  # fmt: skip
    assert drawn.pictures is not None
    assert np.array_equal(drawn.pictures, load_vq(place / "vq.safetensors").decode(drawn.tokens))
    assert drawn.choice.source == "as FoundationVision/LlamaGen samples"
    assert "llamagen" in drawn.family


@pytest.mark.slow
def test_an_exported_token_model_draws_the_same(tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    from diagplan.models.exporting import export_onnx

    place = folder_of("llamagen")
    options = LoadOptions(config=place / "c2i.json")
    portable = load_model("llamagen", place / "c2i.safetensors", config=options.config, portable=True)
    export_onnx(portable, tmp_path / "out")
    common: dict[str, Any] = {
        "size": (8, 8), "options": options, "vq": place / "vq.safetensors", "pixels": False,
        "sampling": {"greedy": True},
    }  # fmt: skip
    ours = draw_image(place / "c2i.safetensors", ["3", "1"], **common)
    exported = draw_image(place / "c2i.safetensors", ["3", "1"], weights=tmp_path / "out", **common)
    assert np.array_equal(exported.tokens, ours.tokens)


def test_what_it_does_not_know_is_refused() -> None:
    place = folder_of("llamagen")
    for texts, size, wrong in (
        (("cat",), (8, 8), r"expected the number of a class, 0 to 4, got 'cat'"),
        (("5",), (8, 8), r"expected the number of a class, 0 to 4, got '5'"),
        (("3",), None, r"expected a size for LlamaGen"),
        (("3",), (8, 10), r"expected a square of at most 24 pixels in multiples of 2, got size=8x10"),
        (("3",), (26, 26), r"expected a square of at most 24 pixels"),
    ):
        with pytest.raises(SpecError, match=wrong):
            job("c2i", Request(texts=texts, size=size))
    with pytest.raises(SpecError, match="expected no negative prompt and no suffix"):
        job("c2i", Request(texts=("3",), size=(8, 8), negative="4"))
    with pytest.raises(SpecError, match=r"a file of features for each of 1 prompt\(s\), got 0"):
        job("t2i", Request(texts=("a",), size=(8, 8)))
    folder = open_folder(place / "c2i.safetensors", None, place / "c2i.json")
    with pytest.raises(DocumentError, match=r"expected a file of the image decoder for .*c2i\.safetensors"):
        llamagen.require_file(folder)


def test_features_are_read_as_they_are_saved(tmp_path: Path) -> None:
    from safetensors.numpy import save_file

    values = np.random.default_rng(0).normal(size=(4, 20)).astype(np.float32)
    np.save(tmp_path / "a.npy", values)
    np.save(tmp_path / "b.npy", values[None])
    save_file({"features": values}, tmp_path / "c.safetensors")
    for name in ("a.npy", "b.npy", "c.safetensors"):
        assert np.array_equal(llamagen.read_features(tmp_path / name, 7, 20), values)
    for wrong in (values[:, :3], np.zeros((8, 20), np.float32), np.zeros((4, 20), np.int64), np.zeros((0, 20))):
        np.save(tmp_path / "wrong.npy", wrong)
        with pytest.raises(DocumentError, match=r"expected features of 1 to 7 tokens x 20 in .*wrong\.npy"):
            llamagen.read_features(tmp_path / "wrong.npy", 7, 20)
    np.save(tmp_path / "wrong.npy", np.full((4, 20), np.nan))
    with pytest.raises(DocumentError, match="expected finite features"):
        llamagen.read_features(tmp_path / "wrong.npy", 7, 20)
