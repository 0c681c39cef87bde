"""The extras that a command needs, asked for before it does or writes anything: all that are missing, in one line."""

from collections.abc import Mapping
from importlib.util import find_spec

from diagplan.planner.errors import MissingExtraError

__all__ = ["EXTRAS", "require_extras"]

#: Extra -> the modules that a command asks it for.
EXTRAS: Mapping[str, tuple[str, ...]] = {
    "torch": ("torch", "safetensors"),
    "onnx": ("onnx", "onnxruntime"),
    "prove": ("z3",),
    "pictures": ("PIL",),
    "video": ("av", "diffusers", "PIL", "skimage"),
    "games": ("crafter",),
    "train": ("matplotlib",),
}


def require_extras(*extras: str) -> None:
    """Raise ``MissingExtraError`` unless every module of these extras is there; it names all that are not."""
    missing = {extra: [name for name in EXTRAS[extra] if not _is_there(name)] for extra in extras}
    lacking = [extra for extra, names in missing.items() if names]
    if lacking:
        modules = ", ".join(dict.fromkeys(name for names in missing.values() for name in names))
        wanted = ",".join(lacking)
        raise MissingExtraError(
            f"expected the packages of the extra{'s' * (len(lacking) > 1)} {', '.join(lacking)}, got no {modules}. "
            f"Install them: pip install 'diagplan[{wanted}]', or in a clone pip install -e '.[{wanted}]'."
        )


def _is_there(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except ValueError:  # a module without a spec, which somebody has put there
        return True
    except ImportError:
        return False
