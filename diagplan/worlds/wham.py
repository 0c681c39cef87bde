"""WHAM's worlds: gameplay and a controller, one action a frame; a window slides over ten frames."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from diagplan.adapters.contract import ImageTokenizer
from diagplan.adapters.options import LoadOptions
from diagplan.backends.table import backend_named
from diagplan.planner.errors import DocumentError
from diagplan.video.files import read_frames
from diagplan.worlds.controls import wham_controls
from diagplan.worlds.frame_world import FrameWorld
from diagplan.worlds.source import Source
from diagplan.worlds.world import WorldFiles

__all__ = ["open_world"]

#: Frames a second that it was trained on.
_FPS = 10
_FILES = {"wham": "WHAM_200M.ckpt", "wham-200m": "WHAM_200M.ckpt", "wham-1.6b": "WHAM_1.6B_v1.ckpt"}


def open_world(files: WorldFiles, options: LoadOptions) -> FrameWorld:
    """A WHAM release, or what was exported of one with its image tokenizer.

    Raises:
        DocumentError: a file that is missing or broken, or of another size; the message says which, and where its
            publisher has it.
    """
    if files.folder is None:
        return _release(files, options)
    from diagplan.backends.onnx_tokenizer import load_onnx_tokenizer

    folder = files.folder
    source = Source(adapter="wham", weights=folder, tokenizer=folder / "tokenizer", options=options)
    tokenizer = load_onnx_tokenizer(folder / "tokenizer", device=options.device, threads=options.threads)
    return _world(folder.name, source, source.sizes(), tokenizer)


def _release(files: WorldFiles, options: LoadOptions) -> FrameWorld:
    from diagplan.adapters.wham import CONFIGS
    from diagplan.adapters.wham_files import PUBLISHER
    from diagplan.adapters.wham_tokenizer import load_wham_tokenizer

    model, weights, tokenizer = files.model, files.weights, files.tokenizer
    exported = backend_named(options.backend).exported
    if weights is None:
        raise DocumentError(
            f"expected the weights of {model}, {_FILES[model]}, got none. {PUBLISHER}. Give --weights FILE, or what "
            "export-onnx made of it."
        )
    if exported and tokenizer is None:
        raise DocumentError(
            f"expected the image tokenizer beside an exported transformer, got none. It is in {_FILES[model]}. "
            f"{PUBLISHER}. Give --tokenizer FILE, or export both: "
            "export-onnx --adapter wham --tokenizer FILE, then --model DIR."
        )
    vision = weights if tokenizer is None else tokenizer
    source = Source(adapter="wham", weights=weights, tokenizer=vision, options=options)
    sizes = source.sizes()
    named = CONFIGS.get(model)
    if named is not None and (sizes["n_layer"], sizes["n_embd"]) != (named.n_layer, named.n_embd):
        raise DocumentError(
            f"expected {model}, {named.n_layer} layers of width {named.n_embd}, got {sizes['n_layer']} layers of "
            f"width {sizes['n_embd']} in {weights}. Name the model that it is, or any of them: wham."
        )
    grid = {"rows": sizes["rows"], "cols": sizes["cols"]}
    pictures = load_wham_tokenizer(vision, **(grid if tokenizer is None else {}), device=options.device)
    if (pictures.config.rows, pictures.config.cols) != tuple(grid.values()):
        raise DocumentError(
            f"expected an image tokenizer of {sizes['rows']} x {sizes['cols']} tokens, got one of "
            f"{pictures.config.rows} x {pictures.config.cols} in {vision}. The files do not belong together."
        )
    return _world(model, source, sizes, pictures)


def _world(name: str, source: Source, sizes: Mapping[str, Any], tokenizer: ImageTokenizer) -> FrameWorld:
    from diagplan.adapters.wham_actions import FIRST_ACTION
    from diagplan.adapters.wham_recordings import read_actions

    def blocks(path: Path) -> NDArray[np.int64]:
        return read_actions(path) - FIRST_ACTION + int(sizes["image_codes"])

    if tokenizer.codes != sizes["image_codes"]:
        raise DocumentError(
            f"expected an image tokenizer of {sizes['image_codes']} codes, got {tokenizer.codes}. "
            "The files do not belong together."
        )
    frames = sizes["seq_len"]
    return FrameWorld(
        name=name, source=source, tokenizer=tokenizer, rows=sizes["rows"], cols=sizes["cols"],
        block=sizes["buttons"] + sizes["sticks"], context_frames=frames, fps=_FPS, read_actions=blocks,
        read_frames=_read_frames, prompt_frames=frames, keeps=frames - 1,
        controls=wham_controls(int(sizes["image_codes"])),
    )  # fmt: skip


def _read_frames(path: Path) -> Iterator[NDArray[np.uint8]]:
    """The frames of a ``.npz`` of the sample data, or of a video file."""
    from diagplan.adapters.wham_recordings import read_clip

    return iter(read_clip(path)[0]) if path.suffix.lower() == ".npz" else read_frames(path)
