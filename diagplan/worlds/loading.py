"""From a name and files to a world model."""

import hashlib
from collections.abc import Mapping
from pathlib import Path, PurePath
from types import MappingProxyType
from typing import Any, Literal

from diagplan.adapters.devices import DTypeName, Quantize, require_device, require_torch
from diagplan.adapters.families import FAMILIES, Family, family_named, family_of_release
from diagplan.adapters.options import LoadOptions
from diagplan.adapters.plugins import resolve
from diagplan.backends.table import backend_named, options_for
from diagplan.backends.threads import begin_with_one
from diagplan.planner.arguments import is_file, is_folder, require_kind
from diagplan.planner.errors import DocumentError, SpecError
from diagplan.worlds.world import World, WorldFiles, WorldOpener

__all__ = ["SHIPPED", "folder_of", "load_world", "open_world", "release_names", "require_known"]

#: The world models that come with the package.
SHIPPED: Mapping[str, Path] = MappingProxyType(
    {"crafter-mini": Path(__file__).resolve().parent.parent / "models" / "crafter-mini"}
)


def folder_of(model: str | Path) -> Path:
    """Where a world model lies that is named by its folder, or comes with the package; it need not be there."""
    return SHIPPED.get(str(model), Path(model))


def release_names() -> tuple[str, ...]:
    """Releases, whose files the user has."""
    return tuple(name for family in FAMILIES.records() for name in family.releases)


def load_world(
    model: str | Path,
    *,
    weights: str | Path | None = None,
    tokenizer: str | Path | None = None,
    config: Any = None,
    context: Any = None,
    backend: str = "torch",
    dtype: DTypeName = "float32",
    device: str = "cpu",
    quantize: Quantize | None = None,
    portable: bool = False,
    threads: int | Literal["auto"] | None = None,
    lazy: bool = False,
) -> World:
    """Load a world model.

    Args:
        model: ``"crafter-mini"``; the folder of a world model (one with world.json), or of an exported one; or a
            release, whose files are yours: ``"mc-ar"``, ``"cosmos-4b"``, ``"cosmos-12b"``,
            ``"cosmos-5b-v2w"``, ``"cosmos-13b-v2w"``, ``"cosmos"`` for another one by its config, ``"wham-200m"``,
            ``"wham-1.6b"``, ``"wham"`` for whatever size the file holds.
        weights: of a release: the checkpoint; for Cosmos and WHAM the folder of an exported transformer will do.
        tokenizer: of a release: the folder of the image tokenizer (MC-AR), the folder of ``encoder.jit`` and
            ``decoder.jit`` (Cosmos), or the checkpoint with it where that is another one (WHAM).
        config: for ``"mc-ar"`` a size or a config file, where the checkpoint has none beside it; for ``"cosmos"`` a
            config file or a ``CosmosConfig``; for WHAM a JSON file or a ``WhamConfig``, where the weights do not tell.
        context: what a Cosmos Video2World model reads, as for ``load_model``.
        backend: as for ``load_model``; an exported model's folder is known as one, and needs none.
        dtype: as for ``load_model``; of the transformer.
        device: as for ``load_model``.
        quantize: as for ``load_model``.
        portable: as for ``load_model``.
        threads: as for ``load_model``.
        lazy: of the transformer read the headers only, which tell its sizes; it is loaded when ``world.model`` is first
            asked for.

    Raises:
        SpecError: no such model, or an option that it does not take.
        DocumentError: files that are missing or broken; the message says which, and where their publisher has them.
        MismatchError: an exported model of another family.
        MissingExtraError: torch, diffusers or onnxruntime is not installed.
    """
    options = LoadOptions(
        backend=backend, config=config, dtype=dtype, device=device, quantize=quantize, portable=portable,
        threads=threads, context=context,
    )  # fmt: skip
    world = open_world(model, options, weights=weights, tokenizer=tokenizer)
    if not lazy:
        world.load()
    return world


def open_world(
    model: str | Path, options: LoadOptions, *, weights: str | Path | None = None, tokenizer: str | Path | None = None
) -> World:
    """``load_world`` with its options as one value; the transformer is loaded when it is first asked for."""
    if isinstance(model, PurePath):
        model = str(model)
    require_kind("model", model, str, "Give a name or a folder, such as 'crafter-mini'.", what="text")
    backend_named(options.backend)
    family = family_of_release(model)
    if options.context is not None and not (family and family.reads_text):
        raise SpecError(f"expected a text for Cosmos Video2World models only, got one with model={model[:200]!r}.")
    if family is not None:
        options = options if weights is None else options_for(weights, options)
        files = WorldFiles(model=model, weights=weights, tokenizer=tokenizer)
        return _opener(family)(files, _checked(options))
    folder = folder_of(model)
    options = options_for(folder, options)
    if backend_named(options.backend).exported:
        return _exported(model, options, (weights, tokenizer))
    if weights is not None or tokenizer is not None or options.config is not None:
        raise SpecError(
            f"expected weights, tokenizer and config with a release only ({', '.join(release_names())}), got "
            f"model={model!r}."
        )
    marked = _family_there(model, folder)
    return _opener(marked)(WorldFiles(model=model, folder=folder), _checked(options))


def require_known(model: str, backend: str) -> None:
    """Check that there is such a world model, by its name or its folder: no weights are read, torch is not loaded.

    Args:
        model: as for ``load_world``.
        backend: as for ``load_world``.

    Raises:
        SpecError: there is none.
    """
    folder = folder_of(model)
    if family_of_release(model) is not None:
        return
    if backend_named(options_for(folder, LoadOptions(backend=backend)).backend).exported:
        _exported_folder(model)
    else:
        _family_there(model, folder)


def _checked(options: LoadOptions) -> LoadOptions:
    if not backend_named(options.backend).exported:
        require_torch()
        require_device(options.device)
        if options.device == "cpu":
            begin_with_one(options.threads)
    return options


def _opener(family: Family) -> WorldOpener:
    if family.world is None:
        raise SpecError(
            f"expected a family with world models, got {family.name}, which has none. Replay its plans with "
            "diagplan.replay or `diagplan run`."
        )
    opener: WorldOpener = resolve(family.world)
    return opener


def _family_there(model: str, folder: Path) -> Family:
    """Whose world model a folder holds."""
    for family in FAMILIES.records():
        if family.folder_file is not None and is_file(folder / family.folder_file):
            return family
    raise SpecError(
        f"expected one of {', '.join([*SHIPPED, *release_names()])}, or a folder with world.json, got "
        f"model={model[:200]!r}."
    )


def _exported(model: str, options: LoadOptions, files: tuple[Any, ...]) -> World:
    """A world of ``diagplan export-onnx``, its image tokenizer included."""
    from diagplan.backends.onnx_backend import read_exported_model

    folder = _exported_folder(model, alone=(*files, options.config) == (None, None, None))
    document = read_exported_model(None, folder, options)
    family = family_named(document.family)
    no_export = None if family.pictures is None else family.pictures.no_export
    if no_export is not None:
        raise SpecError(
            f"expected the folder of an exported world model, got a {family.name} transformer alone: its "
            f"tokenizer is not exported. Say --model {family.releases[0]} --weights {folder} --tokenizer FOLDER."
        )
    _require_companions(folder, document.companions)
    return _opener(family)(WorldFiles(model=model, folder=folder), options)


def _exported_folder(model: str, *, alone: bool = True) -> Path:
    if not alone or not is_folder(model):
        raise SpecError(
            "expected the folder of an exported world model, and no weights, tokenizer or config beside it, with "
            f"backend='onnx', got model={model[:200]!r}. Export one: diagplan export-onnx --model crafter-mini -o DIR."
        )
    return Path(model)


def _require_companions(folder: Path, companions: Mapping[str, str]) -> None:
    """The files that were exported with a step graph, and no others of other exports."""
    if not companions:
        raise DocumentError(
            f"expected an exported world model in {folder}, got a transformer without image tokenizer. "
            "Export it with --model, or with --tokenizer."
        )
    for name, digest in companions.items():
        path = folder / name
        if not path.is_file() or hashlib.sha256(path.read_bytes()).hexdigest() != digest:
            raise DocumentError(
                f"expected {name} as it was exported with {folder / 'model.onnx'}, got "
                f"{'another file' if path.is_file() else 'none'}. Export it again: diagplan export-onnx."
            )
