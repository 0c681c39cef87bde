"""From JSON text that anyone may have written to a validated document, with bounded work and one kind of error."""

import gc
import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

from diagplan.planner.errors import DocumentError
from diagplan.planner.shown import shown
from diagplan.schemas.limits import MAX_KEYS, require_affordable

if TYPE_CHECKING:
    from pydantic import BaseModel, ValidationError

__all__ = ["parse_document", "parsed", "validated"]

_Document = TypeVar("_Document", bound="BaseModel")
_LONGEST_KEY = 60


def parse_document(
    kind: type[_Document], text: str | bytes, *, name: str, what: str, form: str, version: int, again: str, shorter: str
) -> _Document:
    """Parse and validate a document.

    Args:
        kind: the pydantic model of the document, with the keys ``format`` and ``version``.
        text: JSON text, UTF-8 where bytes.
        name: what to call it in messages.
        what: the kind of document in words, such as ``plan document``.
        form: what ``format`` must say.
        version: what ``version`` must say.
        again: how to get a document of this version, for the message.
        shorter: what to do about one that is too long.

    Raises:
        DocumentError: not JSON, a repeated key, beyond the limits, or not such a document; the message lists what is
            wrong.
    """
    with parsed(text, name, what, shorter) as value:
        return validated(kind, value, form, name, what, version=version, again=again)


@contextmanager
def parsed(text: str | bytes, name: str, what: str, shorter: str) -> Iterator[Any]:
    """The value of a JSON text that is within the limits, and a context in which to validate it.

    Args:
        text: JSON text, UTF-8 where bytes.
        name: what to call it in messages.
        what: the kind of document in words, such as ``plan document``.
        shorter: what to do about one that is too long.

    Raises:
        DocumentError: not JSON, a repeated key, or beyond the limits.
    """
    require_affordable(text, name, shorter)
    with _collector_paused():
        try:
            value = json.loads(text, object_pairs_hook=_unique_keys, parse_constant=_refuse_constant)
        except RecursionError:
            raise DocumentError(f"expected a {what} in {name}, got JSON nested too deeply.") from None
        except UnicodeDecodeError:
            raise DocumentError(f"expected JSON in {name}, got what is no text.") from None
        except ValueError as error:
            raise DocumentError(f"expected JSON in {name}, got a text that is not: {error}.") from None
        yield value


def validated(
    kind: type[_Document], value: Any, form: str, name: str, what: str, *, version: int, again: str
) -> _Document:
    """A JSON value as a document.

    Args:
        kind: the pydantic model of the document.
        value: from ``parsed``.
        form: what ``format`` must say.
        name: what to call it in messages.
        what: the kind of document in words.
        version: what ``version`` must say.
        again: how to get a document of this version, for the message.

    Raises:
        DocumentError: another format or version, or what the model refuses.
    """
    from pydantic import ValidationError

    if not isinstance(value, dict) or value.get("format") != form:
        raise DocumentError(f'expected a {what} in {name}, got JSON without "format": "{form}".')
    if value.get("version") != version:
        raise DocumentError(
            f"expected version {version} in {name}, got version={shown(value.get('version'))}. "
            f"This diagplan reads version {version}. Install the diagplan that wrote it, or {again}."
        )
    try:
        return kind.model_validate(value)
    except ValidationError as error:
        raise DocumentError(f"expected a valid {what} in {name}, got {_summary(error)}") from None


def _summary(error: "ValidationError") -> str:
    problems = error.errors(include_url=False, include_context=False, include_input=False)
    first = [f"{'.'.join(map(_key, problem['loc'])) or 'document'}: {problem['msg']}" for problem in problems[:3]]
    rest = f"; and {len(problems) - 3} more" if len(problems) > 3 else ""
    return f"{len(problems)} problem(s): {'; '.join(first)}{rest}."


def _key(key: int | str) -> str:
    """A key, which may be anything that the file's author thought of, in a message."""
    text = str(key)
    return text if len(text) <= _LONGEST_KEY and text.isprintable() else shown(text)


@contextmanager
def _collector_paused() -> Iterator[None]:
    """Parsing makes millions of objects and no circles: looking for circles all the while would triple its time."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def _unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len(pairs) > MAX_KEYS:
        raise ValueError(f"an object has {len(pairs)} keys")
    value = dict(pairs)
    if len(value) != len(pairs):
        raise ValueError("an object has a repeated key")
    return value


def _refuse_constant(constant: str) -> None:
    raise ValueError(f"{constant} is not JSON")
