"""The service over HTTP through starlette's test client, with workers without a model."""

import base64
import io
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("fcntl")
pytest.importorskip("starlette")
pytest.importorskip("httpx2")

from starlette.testclient import TestClient

from diagplan.serve.app import make_app
from diagplan.serve.service import Service
from diagplan.serve.settings import Settings
from diagplan.serve.spool import FullDiskError, Spool
from tests.packaging.test_layering import ROOT
from tests.support.batch import worker_pids
from tests.support.serve import RECIPE, STUB, TOKENS, job, stub_tokens, wait_for

HERE, TOKEN = "http://127.0.0.1:8000", "abcdefgh12345678"
KIND = {"content-type": "application/json"}


@pytest.fixture(scope="module")
def web(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    patch = pytest.MonkeyPatch()
    patch.syspath_prepend(str(ROOT))
    with client(tmp_path_factory.mktemp("app") / "spool") as opened:
        wait_for(lambda: opened.get("/health").status_code == 200)
        yield opened
    patch.undo()
    assert worker_pids() == []


def client(folder: Path, base: str = HERE, **settings: Any) -> TestClient:
    service = Service(RECIPE, Spool(folder), Settings(**settings), opener=STUB)
    return TestClient(make_app(service), base_url=base)


def service_of(web: TestClient) -> Service:
    app: Any = web.app
    service: Service = app.state.handlers.service
    return service


def sent(web: TestClient, body: bytes, **headers: str) -> Any:
    return web.post("/jobs", content=body, headers={**KIND, **{k.replace("_", "-"): v for k, v in headers.items()}})


def done(web: TestClient, name: str) -> dict[str, Any]:
    def there() -> Any:
        document = web.get(f"/jobs/{name}").json()
        return document if document["state"] not in ("queued", "running") else None

    document: dict[str, Any] = wait_for(there)
    return document


def events(text: str) -> list[tuple[str, str | None]]:
    parts = [dict(line.split(": ", 1) for line in part.splitlines() if line[:1] != ":") for part in text.split("\n\n")]
    return [(part["event"], part.get("id")) for part in parts if "event" in part]


def test_from_a_job_to_its_results(web: TestClient) -> None:
    answer = sent(web, job())
    assert answer.status_code == 202
    name = answer.json()["id"]
    assert answer.headers["location"] == f"/jobs/{name}"
    assert answer.json()["state"] in ("queued", "running", "done")
    document = done(web, name)
    assert (document["state"], document["frames"], document["seed"]) == ("done", 2, 5)
    tokens = web.get(document["links"]["npy"])
    assert tokens.headers["content-type"] == "application/octet-stream"
    assert np.load(io.BytesIO(tokens.content)).tolist() == stub_tokens(5)
    record = web.get(f"/jobs/{name}/result")
    assert record.json()["id"] == name
    assert record.content == web.get(f"/jobs/{name}/result.json").content
    assert web.get(f"/jobs/{name}/frames/2").content == b"\x89PNG 2"
    service_of(web).spool.frame(name, 3).write_bytes(b"of a run that was given up")
    assert web.get(f"/jobs/{name}/frames/3").status_code == 404
    assert web.head(f"/jobs/{name}/result.npy").status_code == 200
    assert web.get(f"/jobs/{name}/result.npy", headers={"range": "bytes=0-5"}).content == b"\x93NUMPY"
    assert record.headers["cache-control"] == "no-store"


def test_the_same_key_is_the_same_job(web: TestClient) -> None:
    first = sent(web, job(seed=8), idempotency_key="order 17")
    again = sent(web, job(seed=8), idempotency_key="order 17")
    assert (first.status_code, again.status_code) == (202, 200)
    assert first.headers["location"] == again.headers["location"]
    other = sent(web, job(seed=9), idempotency_key="order 17")
    assert (other.status_code, other.json()["error"][:40]) == (422, "expected a new Idempotency-Key for a new")


def test_events_and_where_they_go_on(web: TestClient) -> None:
    name = sent(web, job(text="slow", frames=4)).json()["id"]
    answer = web.get(f"/jobs/{name}/events")
    assert answer.headers["content-type"].startswith("text/event-stream")
    listed = events(answer.text)
    assert [one for one in listed if one[0] != "progress"] == [
        *(("frame", str(number)) for number in range(1, 5)), ("done", "end")
    ]  # fmt: skip
    rest = web.get(f"/jobs/{name}/events?frames=base64", headers={"last-event-id": "3"})
    assert events(rest.text) == [("frame", "4"), ("done", "end")]
    assert base64.b64encode(b"\x89PNG 4").decode() in rest.text
    assert web.get(f"/jobs/{name}/events", headers={"last-event-id": "end"}).status_code == 204
    assert web.get(f"/jobs/{name}/events", headers={"last-event-id": "x"}).status_code == 400
    assert web.head(f"/jobs/{name}/events").status_code == 200


def test_a_job_that_is_wrong(web: TestClient) -> None:
    name = sent(web, job(text="wrong")).json()["id"]
    document = done(web, name)
    assert (document["state"], document["error"]) == ("wrong", "expected a clip in tokens.")
    answer = web.get(f"/jobs/{name}/result.npy")
    assert answer.status_code == 410
    assert "expected a clip in tokens." in answer.json()["error"]
    assert events(web.get(f"/jobs/{name}/events").text) == [("wrong", "end")]


def test_cancelling(web: TestClient) -> None:
    folder = service_of(web).spool.folder
    blocked = [sent(web, job(text="block", seed=n)).json()["id"] for n in range(3)]
    wait_for(lambda: web.get(f"/jobs/{blocked[0]}").json()["state"] == "running")
    waiting = sent(web, job()).json()["id"]
    assert web.get(f"/jobs/{waiting}").json()["place"] >= 1
    answer = web.get(f"/jobs/{waiting}/result.npy")
    assert (answer.status_code, "got one that is queued" in answer.json()["error"]) == (409, True)
    assert web.delete(f"/jobs/{waiting}").json()["state"] == "cancelled"
    assert web.get(f"/jobs/{waiting}/result.mp4").status_code == 410
    assert web.delete(f"/jobs/{waiting}").status_code == 204
    assert web.get(f"/jobs/{waiting}").status_code == 404
    assert web.delete(f"/jobs/{blocked[0]}").json()["state"] == "cancelled"
    (folder / "release").touch()
    assert {done(web, name)["state"] for name in blocked[1:]} == {"done"}
    (folder / "release").unlink()


def test_health_and_metrics(web: TestClient) -> None:
    answer = web.get("/health", headers={"host": "anything.example"})  # a balancer asks by whatever name
    assert (answer.status_code, answer.json()["state"], answer.json()["workers"]) == (200, "ready", 1)
    name = sent(web, job()).json()["id"]
    done(web, name)
    answer = web.get("/metrics")
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    held = dict(line.rsplit(" ", 1) for line in answer.text.splitlines() if not line.startswith("#"))
    assert float(held['diagplan_jobs{state="done"}']) >= 1
    assert float(held["diagplan_workers_ready"]) == 1
    assert float(held['diagplan_http_responses_total{code="202"}']) >= 1


def test_paths_that_are_none(web: TestClient) -> None:
    name = sent(web, job()).json()["id"]
    done(web, name)
    for path in (
        "/", "/jobs/", "/jobs/none", "/jobs/..%2F..%2Fspool.json", "/jobs/%2e%2e/result.json",
        f"/jobs/{name}/result.exe",
        f"/jobs/{name}/result.npy/../../../spool.json", f"/jobs/{name}/frames/0", f"/jobs/{name}/frames/3",
        f"/jobs/{name}/frames/-1", f"/jobs/{name}/frames/1.png", f"/jobs/{name}/frames/%E0", "/jobs/a%00b",
        f"/jobs/{name}/result.mp4", "/jobs/x%0d%0aset-cookie:a=b",
    ):  # fmt: skip
        answer = web.get(path)
        assert answer.status_code in (404, 405), path
        assert answer.json()["error"].startswith("expected "), path
        assert "set-cookie" not in answer.headers
    for method, path in (("PUT", "/jobs"), ("POST", "/health"), ("DELETE", "/jobs"), ("GET", "/jobs")):
        answer = web.request(method, path)
        assert answer.status_code == 405
        assert answer.json() == {"error": "expected a method of docs/serve.md, got another one."}


def test_requests_that_are_none(web: TestClient) -> None:
    assert sent(web, b"{").status_code == 400
    assert web.post("/jobs", content=job(), headers={"content-type": "text/plain"}).status_code == 415
    assert web.post("/jobs", data={"tokens": "1"}).status_code == 415
    assert sent(web, job(video="/etc/passwd", tokens=None)).json()["error"].startswith("expected video as base64")
    assert sent(web, job(), idempotency_key="x" * 300).status_code == 400
    assert sent(web, job(), origin="http://evil.example").status_code == 403
    assert sent(web, job(), origin="null").status_code == 403
    assert sent(web, job(), origin=HERE).status_code == 202
    assert sent(web, job(), host="evil.example").status_code == 403
    assert sent(web, job(), host="[").status_code == 400
    assert sent(web, job(), x_large="x" * 20_000).status_code == 431


def test_large_bodies(tmp_path: Path) -> None:
    with client(tmp_path, max_body=4096) as web:
        assert sent(web, job(text="x" * 5000)).status_code == 413
        assert sent(web, job(), content_length="9" * 30).status_code in (202, 413)

        def endless() -> Iterator[bytes]:
            for _ in range(100):
                yield b"[" * 100

        assert web.post("/jobs", content=endless(), headers=KIND).status_code == 413
        assert sent(web, job()).status_code == 202
        handlers: Any = web.app.state.handlers  # type: ignore[attr-defined]
        assert handlers._bytes == 0
        held = list[int]()
        accept = handlers.service.accept

        def accepting(body: bytes, key: str | None) -> Any:
            held.append(handlers._bytes)
            return accept(body, key)

        handlers.service.accept = accepting
        assert sent(web, job()).status_code == 202
        assert held == [len(job())]  # until it is on the disk
        handlers._bytes = handlers._most
        assert sent(web, job()).status_code == 429


def test_links_below_a_prefix(tmp_path: Path) -> None:
    service = Service(RECIPE, Spool(tmp_path), Settings(), opener=STUB)
    with TestClient(make_app(service), base_url=HERE, root_path="/3") as web:
        answer = sent(web, job(id="a"))
        assert answer.headers["location"] == answer.json()["links"]["self"] == "/3/jobs/a"
        assert done(web, "a")["links"]["npy"] == "/3/jobs/a/result.npy"
        assert '"link": "/3/jobs/a/frames/1"' in web.get("/jobs/a/events").text


def test_who_may_ask(tmp_path: Path) -> None:
    with client(tmp_path, base="http://studio.example", token=TOKEN) as web:
        for given in (None, TOKEN, f"Bearer {TOKEN}x", "Bearer é", f"Basic {TOKEN}"):
            answer = web.get("/metrics", headers={} if given is None else {b"authorization": given.encode()})
            assert answer.status_code == 401
            assert answer.headers["www-authenticate"] == "Bearer"
        assert web.get("/health").status_code in (200, 503)
        assert web.get("/metrics", headers={"authorization": f"Bearer {TOKEN}"}).status_code == 200
        assert sent(web, job(), authorization=f"bearer {TOKEN}").status_code == 202
        for method, path in (("GET", "/jobs/a"), ("DELETE", "/jobs/a"), ("GET", "/jobs/a/events")):
            assert web.request(method, path).status_code == 401


def test_a_full_queue_and_a_rate(tmp_path: Path) -> None:
    with client(tmp_path / "a", queue=2) as web:
        answers = [sent(web, job(text="block", seed=n)) for n in range(9)]
        refused = [answer for answer in answers if answer.status_code == 429]
        assert 9 - 3 - 2 <= len(refused) <= 7
        assert all(int(answer.headers["retry-after"]) >= 1 for answer in refused)
        (tmp_path / "a" / "release").touch()
    with client(tmp_path / "b", rate=0.001) as web:
        assert [sent(web, job()).status_code for _ in range(2)] == [202, 429]


TEXT = st.text(st.characters(codec="latin-1", exclude_characters="\r\n\0"), max_size=30)


@given(
    path=st.lists(st.sampled_from(["jobs", "..", "a", "%2f", "events", "result.npy", "frames", "1", "é", "%00"])),
    headers=st.dictionaries(st.sampled_from(["host", "origin", "last-event-id", "range", "content-type"]), TEXT),
    method=st.sampled_from(["GET", "POST", "DELETE", "HEAD", "OPTIONS"]),
    body=st.binary(max_size=60),
)
def test_whatever_is_asked_is_answered_in_one_sentence(
    web: TestClient, path: list[str], headers: dict[str, str], method: str, body: bytes
) -> None:
    coded = {name.encode(): value.encode("latin-1") for name, value in headers.items()}
    answer = web.request(method, "/" + "/".join(path), content=body, headers=coded)
    assert 400 <= answer.status_code < 500
    if method != "HEAD":
        assert re.fullmatch(r"expected [^\n]+", answer.json()["error"])


def test_numbers_come_back_as_they_were(web: TestClient) -> None:
    tokens = (np.array(TOKENS) * 1000).tolist()
    name = sent(web, json.dumps({"tokens": tokens, "frames": 1, "id": "own.name"}).encode()).json()["id"]
    assert name == "own.name"
    document = done(web, name)
    content = web.get(document["links"]["npy"]).content
    assert np.load(io.BytesIO(content)).tolist() == stub_tokens(document["seed"], tokens)


def test_old_results_go_and_a_full_disk_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with client(tmp_path, keep_results=2) as web:
        names = []
        for seed in range(4):
            names.append(sent(web, job(seed=seed)).json()["id"])
            wait_for(lambda: web.get(f"/jobs/{names[-1]}").json()["state"] == "done")
        wait_for(lambda: web.get(f"/jobs/{names[1]}").status_code == 404)
        assert [web.get(f"/jobs/{name}").status_code for name in names] == [404, 404, 200, 200]
        assert web.get(f"/jobs/{names[3]}/result.npy").status_code == 200

        def full(*_: Any) -> None:
            raise FullDiskError("expected room on the disk of the service, got none.")

        monkeypatch.setattr(Spool, "_write", full)
        answer = sent(web, job(seed=9))
        assert (answer.status_code, answer.headers["retry-after"]) == (507, "30")
        health = web.get("/health")
        assert (health.status_code, health.json()["state"]) == (503, "failing")
        monkeypatch.undo()
        service_of(web)._probed = 0.0
        assert web.get("/health").status_code == 200
        assert sent(web, job(seed=9)).status_code == 202
