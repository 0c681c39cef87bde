"""Optional libraries: which extra of diagplan brings each, and one message for those that are not installed."""

import sys
from collections.abc import Iterable, Mapping
from importlib.util import find_spec
from types import MappingProxyType
from typing import NamedTuple

from diagplan.planner.errors import MissingExtraError

__all__ = ["PACKAGES", "Package", "missing_packages", "require_packages"]


class Package(NamedTuple):
    """An optional library.

    Attributes:
        title: what people call it.
        extras: of diagplan, each of which brings it; the first is named where nothing else is missing.
    """

    title: str
    extras: tuple[str, ...]


#: By the name that is imported.
PACKAGES: Mapping[str, Package] = MappingProxyType(
    {
        "torch": Package("PyTorch", ("torch", "images")),
        "safetensors": Package("safetensors", ("torch", "onnx", "images")),
        "yaml": Package("PyYAML", ("torch",)),
        "onnx": Package("onnx", ("onnx",)),
        "onnxscript": Package("onnxscript", ("onnx",)),
        "onnxruntime": Package("onnxruntime", ("onnx",)),
        "av": Package("av", ("video",)),
        "diffusers": Package("diffusers", ("video",)),
        "skimage": Package("scikit-image", ("video",)),
        "PIL": Package("pillow", ("pictures", "video", "images")),
        "transformers": Package("transformers", ("images",)),
        "crafter": Package("crafter", ("games",)),
        "vizdoom": Package("vizdoom", ("games",)),
        "matplotlib": Package("matplotlib", ("train",)),
        "z3": Package("z3-solver", ("prove",)),
        "starlette": Package("starlette", ("play",)),
        "uvicorn": Package("uvicorn", ("play",)),
        "websockets": Package("websockets", ("play",)),
        "zstandard": Package("zstandard", ("zstd",)),
        "ray": Package("Ray", ("batch",)),
    }
)


def missing_packages(
    purpose: str, modules: Iterable[str], *, got: str = "none", instead: str = ""
) -> MissingExtraError:
    """The error that names libraries and all the extras that bring them.

    Args:
        purpose: what they are needed for.
        modules: the libraries of ``PACKAGES``, by the names that are imported.
        got: what was found instead.
        instead: what else would help, a sentence.

    >>> print(missing_packages("video files", ["av"]))  # doctest: +NORMALIZE_WHITESPACE
    expected av for video files, got none. Install it: pip install 'diagplan[video]'; in a clone of the repository:
    pip install -e '.[video]'.
    """
    packages = [PACKAGES[name] for name in modules]
    extras = [package.extras[0] for package in packages if len(package.extras) == 1]
    extras += [package.extras[0] for package in packages if not {*package.extras} & {*extras}]
    named = ",".join(sorted({*extras}))
    *others, last = (package.title for package in packages)
    listed = f"{', '.join(others)} and {last}" if others else last
    message = (
        f"expected {listed} for {purpose}, got {got}. Install {'them' if others else 'it'}: pip install "
        f"'diagplan[{named}]'; in a clone of the repository: pip install -e '.[{named}]'."
    )
    return MissingExtraError(f"{message} {instead}".rstrip())


def require_packages(purpose: str, *modules: str) -> None:
    """Say before the work which libraries are missing, all at once; imports none of them.

    Args:
        purpose: what they are needed for.
        modules: names that are imported; those that diagplan knows no extra for are left to whoever imports them.

    Raises:
        MissingExtraError: some are not installed.
    """
    missing = [name for name in dict.fromkeys(modules) if name in PACKAGES and not _is_there(name)]
    if missing:
        raise missing_packages(purpose, missing)


def _is_there(name: str) -> bool:
    if name in sys.modules:
        return sys.modules[name] is not None
    try:
        return find_spec(name) is not None
    except (ImportError, ValueError):  # an import hook that refuses it, or a package that is broken
        return False
