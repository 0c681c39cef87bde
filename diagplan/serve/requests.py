"""A job as it comes over the network: a JSON object that holds its files, and names none."""

import base64
import binascii
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from diagplan.batch.jobs import WrongJob, job_from
from diagplan.batch.recipe import digest_of
from diagplan.planner.errors import DiagplanError
from diagplan.planner.shown import shown
from diagplan.schemas.atomic import npy_bytes

__all__ = ["JobRequest", "RequestError", "id_of_key", "parse_job"]

_FILES = ("video", "tokens", "actions", "context")
_NPY, _ZIP = b"\x93NUMPY", b"PK\x03\x04"
#: Characters of a key and of a text, and actions of a list.
_KEY, _TEXT, _ACTIONS = 200, 16_000, 10_000


class RequestError(DiagplanError):
    """A request that is none; its text says what is wrong.

    Attributes:
        status: of the answer.
    """

    def __init__(self, text: str, status: int = 400) -> None:
        super().__init__(text)
        self.status = status


@dataclass(frozen=True, slots=True, kw_only=True)
class JobRequest:
    """A job that somebody asks for.

    Attributes:
        entry: what a line of ``diagplan batch`` has, without files and id.
        id: that it names; ``None``: none.
        files: key -> ending of the file, and its bytes.
        layout: jobs with the same are worth passing together.
        digest: of all that it asks for, id apart.
    """

    entry: Mapping[str, Any]
    id: str | None
    files: Mapping[str, tuple[str, bytes]]
    layout: str
    digest: str


def parse_job(body: bytes) -> JobRequest:
    """The job of a request's body.

    Raises:
        RequestError: it is none.

    >>> parse_job(b'{"tokens": [[[1, 2]]], "seed": 7}').entry
    {'seed': 7}
    """
    try:
        content = json.loads(body)
    except (ValueError, RecursionError):
        content = None
    if not isinstance(content, dict):
        raise RequestError('expected a job as JSON, such as {"video": "...", "actions": [...]}, got another body.')
    held = {name: value for name, value in content.items() if value is not None}
    files = {name: _file(name, held.pop(name)) for name in _FILES if name in held}
    named = {name: f"{name}{ending}" for name, (ending, _) in files.items()}
    checked = job_from({**held, **named}, 1, Path())
    if isinstance(checked, WrongJob):
        raise RequestError(checked.message)
    if len(checked.text or "") > _TEXT:
        raise RequestError(f"expected a text of at most {_TEXT} characters, got {len(checked.text or '')}. Shorten it.")
    name = held.pop("id", None)
    digests = {key: hashlib.sha256(data).hexdigest() for key, (_, data) in files.items()}
    return JobRequest(
        entry=held, id=name, files=files, layout=_layout(held, files, digests),
        digest=digest_of({"entry": held, "files": digests}),
    )  # fmt: skip


def id_of_key(key: str) -> str:
    """The id of the job that an Idempotency-Key asks for: the same wherever and whenever it is asked.

    Raises:
        RequestError: no key.

    >>> id_of_key("order 17") == id_of_key("order 17")
    True
    """
    if not 0 < len(key) <= _KEY or not key.isascii() or not key.isprintable():
        raise RequestError(f"expected an Idempotency-Key of 1 to {_KEY} printable characters, got another one.")
    return hashlib.sha256(f"key {key}".encode()).hexdigest()[:32]


def _layout(entry: Mapping[str, Any], files: Mapping[str, tuple[str, bytes]], digests: Mapping[str, str]) -> str:
    """What decides about a clip's plan and text, as far as it can be told without the model."""
    actions = files.get("actions", ("", b""))[1]
    frames = entry.get("frames")
    text = None if entry.get("text") is None else digest_of(entry["text"])
    return json.dumps([frames, None if frames else actions.count(b"\n"), text, digests.get("context")])


def _file(name: str, value: Any) -> tuple[str, bytes]:
    """Ending and bytes of a file in a request.

    Raises:
        RequestError: it is none.
    """
    if name == "actions" and isinstance(value, list):
        return ".jsonl", _lines(value)
    if name == "tokens" and isinstance(value, list):
        return ".npy", _tokens(value)
    also = {"actions": " or a list of actions", "tokens": " or lists of numbers"}.get(name, "")
    if not isinstance(value, str) or not value:
        raise RequestError(f"expected {name} as base64{also}, got {name}={shown(value)}. Send the file itself.")
    try:
        data = base64.b64decode(value, validate=True)
    except (binascii.Error, ValueError):
        raise RequestError(
            f"expected {name} as base64{also}, got {name}={shown(value)}. No file of the server is read: send yours."
        ) from None
    return _ending(name, data), data


def _ending(name: str, data: bytes) -> str:
    """The ending that tells a reader what a file is."""
    if name == "video":
        return ".npz" if data.startswith(_ZIP) else ".mp4"
    if name == "tokens":
        if not data.startswith(_NPY):
            raise RequestError("expected tokens as a .npy file in base64 or lists of numbers, got another file.")
        return ".npy"
    if data.startswith(_NPY):
        return ".npy"
    if name == "context":
        return ".safetensors"
    return ".npz" if data.startswith(_ZIP) else ".jsonl"


def _lines(actions: list[Any]) -> bytes:
    if len(actions) > _ACTIONS:
        raise RequestError(f"expected at most {_ACTIONS} actions in a list, got {len(actions)}. Send their file.")
    try:
        return "".join(f"{json.dumps(one)}\n" for one in actions).encode()
    except RecursionError:
        raise RequestError("expected actions as an actions file has them, got lists in lists.") from None


def _tokens(value: list[Any]) -> bytes:
    try:
        array = np.array(value)
    except (ValueError, OverflowError, RecursionError):
        array = np.zeros(0)
    if array.dtype != np.int64 or array.ndim != 3:
        raise RequestError("expected tokens as whole numbers [frames, rows, columns], got other lists.")
    return npy_bytes(array)
