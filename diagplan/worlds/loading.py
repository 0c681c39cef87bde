"""From a name and files to a world model."""

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from diagplan.models.loading import Backend, DTypeName, require_torch
from diagplan.planner.errors import DocumentError, SpecError
from diagplan.worlds.cosmos import COSMOS, load_cosmos_world
from diagplan.worlds.mc_ar import SHIPPED, load_exported, load_folder, load_release
from diagplan.worlds.source import Source
from diagplan.worlds.wham import WHAM, load_exported_wham, load_wham_world
from diagplan.worlds.world import World

__all__ = ["RELEASES", "load_world"]

#: Releases, whose files the user has.
RELEASES = ("mc-ar", *COSMOS, *WHAM)


def load_world(
    model: str,
    *,
    weights: str | Path | None = None,
    tokenizer: str | Path | None = None,
    config: Any = None,
    context: Any = None,
    backend: Backend = "torch",
    dtype: DTypeName = "float32",
    device: str = "cpu",
    quantize: Literal["int8"] | None = None,
    portable: bool = False,
    threads: int | None = None,
    lazy: bool = False,
) -> World:
    """Load a world model.

    Args:
        model: ``"crafter-mini"``; the folder of a world model (one with world.json), with the backend ``"onnx"`` of an
            exported one; or a release, whose files are yours: ``"mc-ar"``, ``"cosmos-4b"``, ``"cosmos-12b"``,
            ``"cosmos-5b-v2w"``, ``"cosmos-13b-v2w"``, ``"cosmos"`` for another one by its config, ``"wham-200m"``,
            ``"wham-1.6b"``, ``"wham"`` for whatever size the file holds.
        weights: of a release: the checkpoint; for Cosmos and WHAM with the backend ``"onnx"`` the exported folder.
        tokenizer: of a release: the folder of the image tokenizer (MC-AR), the folder of ``encoder.jit`` and
            ``decoder.jit`` (Cosmos), or the checkpoint with it where that is another one (WHAM).
        config: for ``"mc-ar"`` a size or a config file, where the checkpoint has none beside it; for ``"cosmos"`` a
            config file or a ``CosmosConfig``; for WHAM a ``WhamConfig``, where the file does not tell.
        context: what a Cosmos Video2World model reads, as for ``load_model``.
        backend: as for ``load_model``.
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
    options: dict[str, Any] = {"backend": backend, "dtype": dtype, "device": device, "quantize": quantize}
    options |= {"portable": portable, "threads": threads}
    world = _opened(model, options, weights, tokenizer, config, context)
    if not lazy:
        world.load()
    return world


def _opened(model: str, options: Mapping[str, Any], weights: Any, tokenizer: Any, config: Any, context: Any) -> World:
    if context is not None and model not in COSMOS:
        raise SpecError(f"expected a text for Cosmos Video2World models only, got one with model={model[:200]!r}.")
    if options["backend"] == "onnx" and model not in (*COSMOS, *WHAM):
        return _exported(model, options, (weights, tokenizer, config))
    require_torch()
    from diagplan.adapters.mc_ar_files import require_device

    require_device(options["device"])
    if model in COSMOS:
        return load_cosmos_world(model, weights, tokenizer, config, context, options)
    if model in WHAM:
        return load_wham_world(model, weights, tokenizer, config, options)
    if model == "mc-ar":
        return load_release(weights, tokenizer, config, options)
    if weights is not None or tokenizer is not None or config is not None:
        raise SpecError(
            f"expected weights, tokenizer and config with a release only ({', '.join(RELEASES)}), got model={model!r}."
        )
    folder = SHIPPED.get(model, Path(model))
    if len(model) > 4000 or not (folder / "world.json").is_file():
        raise SpecError(
            f"expected one of {', '.join([*SHIPPED, *RELEASES])}, or a folder with world.json, got "
            f"model={model[:200]!r}."
        )
    return load_folder(folder, options)


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


def _exported(model: str, options: Mapping[str, Any], files: tuple[Any, ...]) -> World:
    """A world of ``diagplan export-onnx``, its image tokenizer included."""
    from diagplan.backends.onnx_files import read_about
    from diagplan.backends.onnx_runtime import GRAPH
    from diagplan.backends.onnx_tokenizer import load_onnx_tokenizer
    from diagplan.schemas.onnx_model import OnnxModelDocument

    folder = Path(model)
    if files != (None, None, None) or len(model) > 4000 or not folder.is_dir():
        raise SpecError(
            "expected the folder of an exported world model, and no weights, tokenizer or config beside it, with "
            f"backend='onnx', got model={model[:200]!r}. Export one: diagplan export-onnx --model crafter-mini -o DIR."
        )
    about = read_about(folder / GRAPH, OnnxModelDocument).said
    source = Source(adapter=about.family, weights=folder, tokenizer=folder / "tokenizer", options=options)
    if about.family == "cosmos":
        raise SpecError(
            "expected the folder of an exported world model, got a Cosmos transformer. Say --model cosmos --weights "
            f"{folder} --tokenizer FOLDER."
        )
    _require_companions(folder, about.companions)
    tokenizer = load_onnx_tokenizer(folder / "tokenizer", device=options["device"], threads=options["threads"])
    if about.family == "wham":
        return load_exported_wham(folder.name, source, tokenizer)
    return load_exported(folder, source, tokenizer)
