"""`diagplan serve`: what is refused before anything is loaded, and the shipped model over HTTP."""

import base64
import io
import json
import signal
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("av")
pytest.importorskip("diffusers")
pytest.importorskip("starlette")
pytest.importorskip("uvicorn")
pytest.importorskip("websockets")
pytest.importorskip("fcntl")

from diagplan.serve.spool import Spool
from diagplan.video.files import read_video
from diagplan.worlds import SHIPPED
from tests.support.cli import run
from tests.support.serve import running

CLIP = SHIPPED["crafter-mini"] / "clip.mp4"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--host", "0.0.0.0"], "expected a token with --host 0.0.0.0"),
        (["--token", "short"], "expected a token of 16 letters"),
        (["--greedy", "--temperature", "1"], "greedy"),
        (["--rate", "0"], "expected rate > 0, got rate=0"),
        (["--keep-hours", "-1"], "expected keep_hours > 0"),
        (["--plan", "p.json", "--k", "2"], "expected --plan or --k, got both"),
        (["--model", "nope"], "or a folder with world.json, got model='nope'"),
    ],
)
def test_what_is_refused(arguments: list[str], message: str, tmp_path: Path) -> None:
    code, out, err = run("serve", "-o", tmp_path / "spool", *arguments)
    assert (code in (1, 2), out) == (True, "")
    assert message in " ".join(err.split())
    assert not (tmp_path / "spool").exists()


def test_a_token_of_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DIAGPLAN_TOKEN", "short")
    code, _, err = run("serve", "-o", tmp_path / "spool", "--host", "0.0.0.0")
    assert (code, "expected a token of 16 letters" in " ".join(err.split())) == (2, True)


def test_folders_that_are_refused(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("words")
    code, _, err = run("serve", "-o", tmp_path)
    assert (code, "expected an empty folder or a spool" in " ".join(err.split())) == (2, True)
    with closing(Spool(tmp_path / "mine")):
        code, _, err = run("serve", "-o", tmp_path / "mine", "--port", "0")
    assert (code, "expected a spool that no other service uses" in " ".join(err.split())) == (2, True)
    code, _, err = run("serve", "-o", tmp_path / "thesis.txt")
    assert code == 1
    assert "expected -o to name a folder" in " ".join(err.split())


def test_a_model_that_is_not_there_ends_it(tmp_path: Path) -> None:
    code, _, err = run("serve", "-o", tmp_path, "--model", "nowhere", "--port", "0")
    assert code in (1, 2)
    assert "nowhere" in err


def test_a_clip_over_http_is_what_generate_makes_of_it(tmp_path: Path) -> None:
    actions = [json.loads(line) for line in CLIP.with_suffix(".jsonl").read_text().splitlines()]
    entry = {"video": base64.b64encode(CLIP.read_bytes()).decode(), "actions": actions, "frames": 1}
    bodies = [json.dumps(entry | {"seed": seed}).encode() for seed in (3, 4)]
    options = ("--k", "1", "--temperature", "1.5", "--port", "0", "--json", "--threads", "1")
    command = ("-m", "diagplan", "serve", *options)
    with running(tmp_path / "spool", command=command) as server:
        names = [server.post(body, f"key {n}")[1]["id"] for n, body in enumerate(bodies)]
        assert server.get("/health")["state"] == "loading"
        document = server.until(names[0], "done", "wrong")
        assert document["state"] == "done", document
        events = server.ask("GET", f"/jobs/{names[0]}/events")[2].decode()
        assert "event: frame\n" in events
        assert server.ask("GET", f"/jobs/{names[0]}/frames/1")[2].startswith(b"\x89PNG")
        video = tmp_path / "video.mp4"
        video.write_bytes(server.ask("GET", f"/jobs/{names[0]}/result.mp4")[2])
        assert read_video(video).shape == (2, 144, 192, 3)
        server.until(names[1], "done")
        served = [np.load(io.BytesIO(server.ask("GET", f"/jobs/{name}/result.npy")[2])) for name in names]
        assert server.end(signal.SIGTERM) == 0
    code, _, err = run(
        "generate", "--video", CLIP, "--actions", CLIP.with_suffix(".jsonl"), "--frames", 1, "--k", 1,
        "--temperature", 1.5, "--seed", 3, "--threads", 1, "-o", tmp_path / "g.mp4", "--tokens", tmp_path / "g.npy",
    )  # fmt: skip
    assert code == 0, err
    assert np.array_equal(np.load(tmp_path / "g.npy"), served[0])
    assert not np.array_equal(served[0], served[1])
