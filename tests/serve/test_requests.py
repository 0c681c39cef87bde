"""Jobs as they come over the network: what is one, what is none, and that nothing else happens."""

import base64
import io
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from diagplan.serve import requests
from diagplan.serve.requests import RequestError, id_of_key, parse_job


def body(**entry: Any) -> bytes:
    return json.dumps(entry).encode()


def coded(data: bytes) -> str:
    return base64.b64encode(data).decode()


def npy(array: Any) -> bytes:
    file = io.BytesIO()
    np.save(file, np.array(array))
    return file.getvalue()


def test_files_come_in_the_request() -> None:
    actions = [{"action": "left"}, {"action": "noop"}]
    asked = parse_job(body(video=coded(b"a video"), actions=actions, seed=7, frames=2, id="a", text=None))
    assert (asked.entry, asked.id) == ({"seed": 7, "frames": 2}, "a")
    assert asked.files["video"] == (".mp4", b"a video")
    assert asked.files["actions"] == (".jsonl", b'{"action": "left"}\n{"action": "noop"}\n')
    lists = parse_job(body(tokens=[[[1, 2], [3, 4]]]))
    assert lists.files["tokens"] == (".npy", npy([[[1, 2], [3, 4]]]))
    assert parse_job(body(tokens=coded(npy([[[1, 2], [3, 4]]])))).digest == lists.digest


@pytest.mark.parametrize(
    ("name", "data", "ending"),
    [
        ("video", b"PK\x03\x04", ".npz"), ("actions", b"PK\x03\x04", ".npz"), ("actions", b"\x93NUMPY", ".npy"),
        ("actions", b"{}", ".jsonl"), ("context", b"\x93NUMPY", ".npy"), ("context", b"any", ".safetensors"),
    ],
)  # fmt: skip
def test_endings_tell_readers_what_a_file_is(name: str, data: bytes, ending: str) -> None:
    entry = {"tokens": [[[1]]]} if name != "video" else {}
    assert parse_job(body(**entry, **{name: coded(data)})).files[name] == (ending, data)


def test_what_passes_together_and_what_is_the_same() -> None:
    first, longer = body(tokens=[[[1]]], seed=1, frames=2), body(tokens=[[[1]]], seed=1, frames=3)
    other = body(tokens=[[[9]]], seed=2, frames=2, id="b")
    assert parse_job(first).layout == parse_job(other).layout != parse_job(longer).layout
    assert parse_job(first).digest != parse_job(other).digest
    assert parse_job(first).digest == parse_job(body(frames=2, seed=1, tokens=[[[1]]], id="x")).digest
    texts = [parse_job(body(tokens=[[[1]]], frames=2, text=text)).layout for text in ("é" * 16_000, "a", "a")]
    assert texts[0] != texts[1] == texts[2]
    assert len(texts[0]) < 200
    actions = [{"action": "left"}]
    assert (
        parse_job(body(tokens=[[[1]]], actions=actions)).layout
        != parse_job(body(tokens=[[[1]]], actions=actions * 2)).layout
    )


@pytest.mark.parametrize(
    ("sent", "message"),
    [
        (b"", "expected a job as JSON"),
        (b"\xff", "expected a job as JSON"),
        (b"[" * 100_000, "expected a job as JSON"),
        (b"[]", "expected a job as JSON"),
        (b'{"seed": ' + b"9" * 5000 + b"}", "expected a job as JSON"),
        (body(), "expected video or tokens in a job, got neither"),
        (body(tokens=[[[1]]], video="eA=="), "got both"),
        (body(video="clips/000.mp4"), "No file of the server is read: send yours."),
        (body(video="/etc/passwd"), "No file of the server is read"),
        (body(video=["eA=="]), "expected video as base64, got video=a list of 1"),
        (body(video=""), "expected video as base64, got video=''"),
        (body(tokens="eA=="), "expected tokens as a .npy file in base64 or lists of numbers"),
        (body(tokens=[[1]]), "expected tokens as whole numbers [frames, rows, columns]"),
        (body(tokens=[[[1.5]]]), "expected tokens as whole numbers"),
        (body(tokens=[[[True]]]), "expected tokens as whole numbers"),
        (body(tokens=[[[1], [2, 3]]]), "expected tokens as whole numbers"),
        (body(tokens=[[[1 << 70]]]), "expected tokens as whole numbers"),
        (body(tokens=[[["x"]]]), "expected tokens as whole numbers"),
        (body(tokens=[[[1]]], id="../x"), "expected an id of letters"),
        (body(tokens=[[[1]]], id="a/b"), "expected an id of letters"),
        (body(tokens=[[[1]]], id=".."), "expected an id of letters"),
        (body(tokens=[[[1]]], id=7), "expected id to be text"),
        (body(tokens=[[[1]]], seed=-1), "expected seed to be a whole number"),
        (body(tokens=[[[1]]], frames=0), "expected frames to be a whole number from 1"),
        (body(tokens=[[[1]]], frames=True), "expected frames to be a whole number"),
        (body(tokens=[[[1]]], path="x"), "expected the keys id, video"),
        (body(tokens=[[[1]]], text="t", context="eA=="), "expected context or text"),
        (body(tokens=[[[1]]], text="é" * 16_001), "expected a text of at most 16000 characters, got 16001."),
    ],
)
def test_what_is_none(sent: bytes, message: str) -> None:
    with pytest.raises(RequestError, match=re.escape(message)) as caught:
        parse_job(sent)
    assert caught.value.status == 400
    assert "\n" not in str(caught.value)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.sampled_from(["eA==", "a/b"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=8,
)
KEYS = st.sampled_from(["id", "video", "tokens", "actions", "context", "text", "seed", "frames", "other"])


@given(st.dictionaries(KEYS, JSON, max_size=5).map(lambda entry: json.dumps(entry).encode()) | st.binary(max_size=40))
@example(b'{"tokens": [[[1]]], "text": "\\ud800"}')
@example(b'{"tokens": [[[1]]], "text": "\\u0000"}')
@example(b'{"tokens": [[[NaN]]]}')
def test_whatever_is_sent_is_a_job_or_refused(sent: bytes) -> None:
    try:
        asked = parse_job(sent)
    except RequestError as error:
        if not str(error).startswith("expected "):
            raise
        return
    assert {"video", "tokens"} & set(asked.files)
    assert all(Path(f"x{ending}").suffix == ending for ending, _ in asked.files.values())
    json.dumps(asked.entry)


@pytest.mark.parametrize("depth", [10, 500, *range(900, 1000, 7), 5000])
def test_lists_in_lists(depth: int) -> None:
    sent = b'{"tokens": [[[1]]], "actions": [' + b"[" * depth + b"]" * depth + b"]}"
    try:
        assert parse_job(sent).files["actions"][1].startswith(b"[")
    except RequestError as error:
        if not re.match("expected (a job as JSON|actions as)", str(error)):
            raise


def test_very_many_actions_and_very_deep_ones() -> None:
    deep: list[Any] = []
    for _ in range(5000):
        deep = [deep]
    with pytest.raises(RequestError, match="expected actions as an actions file has them, got lists in lists"):
        requests._lines([deep])
    with pytest.raises(RequestError, match="expected at most 10000 actions in a list, got 10001"):
        parse_job(body(tokens=[[[1]]], actions=[0] * 10_001))


def test_keys() -> None:
    assert re.fullmatch(r"[0-9a-f]{32}", id_of_key("order 17"))
    assert id_of_key("a") != id_of_key("b")
    for key in ("", "x" * 201, "line\nend", "é"):
        with pytest.raises(RequestError, match="expected an Idempotency-Key of 1 to 200 printable characters"):
            id_of_key(key)
