"""A study of pictures by one call, on a tiny Janus-Pro."""

import json
import re
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("transformers")
pytest.importorskip("matplotlib")

import diagplan.study.image_whole
from diagplan import LoadOptions
from diagplan.images.comparing import compare_images
from diagplan.planner.errors import DocumentError, SpecError
from diagplan.study.image_whole import study_images
from tests.support.clip_folder import write_clip
from tests.support.image_folders import folder_of

TEXTS = ["a cat", "dog", "a red bicycle"]


def test_its_figures_are_those_of_a_comparison(tmp_path: Path) -> None:
    out = tmp_path / "study"
    told: list[tuple[str, int, int]] = []
    report = study_images(
        folder_of("janus-pro"), TEXTS, out, plans="k=6, k=2,exact=8", num=2, seed=1, batch=4, samples=2,
        on_progress=lambda *what: told.append(what),
    )  # fmt: skip
    assert (report.family, report.prompts, report.plans, report.done_before, report.run_now) == (
        "janus-pro", 3, 4, 0, 4,
    )  # fmt: skip
    rows = {row.name: row for row in report.rows}
    assert list(rows) == ["ntp", "k=6", "k=2", "exact=8"]
    same = compare_images(folder_of("janus-pro"), TEXTS, "ntp,k=2", num=2, seed=1, batch=4)
    assert (rows["ntp"].passes, rows["k=2"].passes) == (36, same.rows[1].passes)
    assert rows["k=2"].figures["loss"].mean == pytest.approx(same.rows[1].loss.mean(), rel=1e-5)
    assert rows["k=2"].figures["equal_ntp"].mean == pytest.approx(same.rows[1].same.mean(), rel=1e-5)
    # A delay of the whole width, and speculation, are next-token prediction.
    for name in ("ntp", "k=6", "exact=8"):
        assert rows[name].figures["equal_ntp"].mean == 1
        assert rows[name].figures["loss_more"].mean == 0
    low, high = rows["k=2"].figures["loss"].low, rows["k=2"].figures["loss"].high
    assert low is not None
    assert high is not None
    by_prompt = same.rows[1].loss.reshape(3, 2).mean(1)
    assert by_prompt.min() * 0.9999 <= low < high <= by_prompt.max() * 1.0001
    lines = [json.loads(line) for line in (out / "prompts.jsonl").read_text().splitlines()]
    assert [line["prompt"] for line in lines] == [text for text in TEXTS for _ in range(2)]
    assert [line["plans"]["k=2"]["loss"] for line in lines] == pytest.approx(same.rows[1].loss.tolist(), rel=1e-5)
    assert {path.name for path in report.written} == {
        "results.json", "results.csv", "results.md", "prompts.jsonl", "loss-passes.png", "sheet.png",
    }  # fmt: skip
    for name in ("loss-passes.png", "sheet.png"):
        assert (out / name).read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"
    assert "| `k=2` | 16 |" in (out / "results.md").read_text()
    assert (out / "results.csv").read_text().splitlines()[1].startswith("ntp,36,")
    assert any(what == "k=2" and done == of > 0 for what, done, of in told)


def test_a_second_call_goes_on_and_adds_clip_scores(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out, model = tmp_path / "study", folder_of("janus-pro")
    first = study_images(model, TEXTS, out, plans="ntp,k=2", samples=0)
    assert not first.clip
    kept = {path: path.read_bytes() for path in (out / "conditions").rglob("*.json")}
    assert len(kept) == 2
    more = study_images(model, TEXTS, out, plans="k=3", samples=0)
    assert (more.done_before, more.run_now, len(more.rows)) == (1, 1, 3)
    assert all(path.read_bytes() == data for path, data in kept.items())

    def not_again(*_: object) -> None:
        raise AssertionError

    monkeypatch.setattr("diagplan.images.job.ImageJob.load", not_again)
    clip = write_clip(tmp_path / "clip")
    scored = study_images(model, TEXTS, out, plans="k=2", samples=0, clip=clip, pictures=True)
    assert (scored.run_now, scored.clip) == (0, True)
    for row in scored.rows:
        value = row.figures["clip"].mean
        assert value is not None
        assert 0 <= value <= 100
    assert [one.figures["clip_more"].mean for one in scored.rows if one.name == "ntp"] == [0]
    assert len(list((out / "pictures" / "k=2").glob("*.png"))) == 3
    assert "CLIP score" in (out / "results.md").read_text()
    monkeypatch.setattr("diagplan.evaluation.clip_score.ClipScorer.scores", not_again)
    again = study_images(model, TEXTS, out, plans="k=2", samples=0, clip=clip)
    assert [row.figures["clip"] for row in again.rows] == [row.figures["clip"] for row in scored.rows]


def test_another_study_is_refused(tmp_path: Path) -> None:
    model = folder_of("janus-pro")
    study_images(model, TEXTS[:1], tmp_path, plans="ntp", samples=0)
    with pytest.raises(DocumentError, match=r"expected the folder of the same study, got .* with other seed\."):
        study_images(model, TEXTS[:1], tmp_path, plans="ntp", samples=0, seed=1)
    with pytest.raises(DocumentError, match="with other count, prompts"):
        study_images(model, TEXTS[:2], tmp_path, plans="ntp", samples=0, batch=1)
    path = tmp_path / "conditions" / "images" / "ntp.json"
    document = json.loads(path.read_text())
    path.write_text(json.dumps({**document, "curves": {"loss": [[1.0]]}}))
    with pytest.raises(DocumentError, match="expected the result of a study of pictures"):
        study_images(model, TEXTS[:1], tmp_path, plans="ntp", samples=0)


def test_interrupted_says_what_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(diagplan.study.image_whole, "run_images", interrupt)
    with pytest.raises(KeyboardInterrupt, match=re.escape("holds 0 of 2 plans. Run the same again to go on.")):
        study_images(folder_of("janus-pro"), "a", tmp_path / "study", plans="k=2", samples=0)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"plans": "ntp,nonsense"}, "expected a plan out of ntp, exact=N"),
        ({"plans": "k=2,k=2"}, "expected different plans, got 'k=2' twice"),
        ({"options": LoadOptions(backend="onnx")}, "expected the backend torch for a study"),
        ({"samples": -1}, "samples"),
    ],
)
def test_bad_options(options: dict[str, object], message: str, tmp_path: Path) -> None:
    with pytest.raises(SpecError, match=message):
        study_images(folder_of("janus-pro"), "a", tmp_path / "study", **options)  # type: ignore[arg-type]
    assert not (tmp_path / "study").exists()


def test_a_chain_takes_no_speculation_and_is_studied(tmp_path: Path) -> None:
    model = folder_of("glm-image")
    with pytest.raises(SpecError, match="expected no speculation for GLM-Image"):
        study_images(model, "a", tmp_path / "study", plans="exact=4", size="96x64", samples=0)
    report = study_images(model, ["a", "bc"], tmp_path / "study", plans="k=2", size="96x64", samples=0)
    assert [row.name for row in report.rows] == ["ntp", "k=2"]
    assert report.rows[0].passes > report.rows[1].passes
    for row in report.rows:
        loss = row.figures["loss"].mean
        assert loss is not None
        assert np.isfinite(loss)


def test_texts_by_their_features(tmp_path: Path) -> None:
    """LlamaGen of texts reads embeddings in the place of ids, its judge too."""
    place = folder_of("llamagen")
    features = [place / "text-0.npy", place / "text-1.npy"]
    options = LoadOptions(config=str(place / "t2i.json"))
    report = study_images(
        place / "t2i.safetensors", ["a", "b"], tmp_path / "study", plans="k=2,exact=4", size="8x8", samples=0,
        vq=place / "vq.safetensors", features=features, options=options,
    )  # fmt: skip
    ntp, two, exact = report.rows
    assert (ntp.passes, two.passes) == (16, 10)
    assert exact.figures["loss"] == ntp.figures["loss"]
    assert two.figures["equal_ntp"].mean != 1
