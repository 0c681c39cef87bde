"""MC-AR's worlds: a folder with world.json, the files of a MineWorld release, or what was exported of either."""

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from diagplan.adapters.contract import ImageTokenizer
from diagplan.adapters.options import LoadOptions
from diagplan.backends.table import backend_named
from diagplan.planner.errors import DocumentError, SpecError
from diagplan.worlds.controls import mc_ar_controls, word_controls
from diagplan.worlds.frame_world import FrameWorld
from diagplan.worlds.source import Source
from diagplan.worlds.world import WorldFiles

if TYPE_CHECKING:
    from diagplan.schemas.world import WorldDocument

__all__ = ["open_world"]

_POSITIONS = "max_position_embeddings"
_PUBLISHER = "Its publisher is microsoft/mineworld on Hugging Face, which has taken the files down for now"


def open_world(files: WorldFiles, options: LoadOptions) -> FrameWorld:
    """A world model of a folder, a release, or what was exported of one of them.

    Raises:
        DocumentError: a file that is missing or broken; the message says which, and who publishes it.
        SpecError: a release that is to run on a backend of exported models, but was not exported.
    """
    exported = backend_named(options.backend).exported
    if files.folder is None:
        if exported:
            raise SpecError(
                "expected the folder of an exported world model, and no weights, tokenizer or config beside it, with "
                f"backend='onnx', got model={files.model!r}. Export one: diagplan export-onnx --model crafter-mini -o "
                "DIR."
            )
        return _release(files, options)
    return _exported(files.folder, options) if exported else _folder(files.folder, options)


def _release(files: WorldFiles, options: LoadOptions) -> FrameWorld:
    """A release of MineWorld."""
    from diagplan.adapters.image_tokenizer import load_image_tokenizer

    weights, tokenizer = files.weights, files.tokenizer
    if weights is None or not Path(weights).exists():
        raise DocumentError(
            f"expected the checkpoint of a release, such as 300M_16f.ckpt, got weights={_shown(weights)}. "
            f"{_PUBLISHER}. Give --weights FILE."
        )
    if tokenizer is None or not Path(tokenizer).is_dir():
        raise DocumentError(
            "expected the folder of the release's image tokenizer (config.json and vae.ckpt), "
            f"got tokenizer={_shown(tokenizer)}. {_PUBLISHER}. Give --tokenizer FOLDER."
        )
    pictures = load_image_tokenizer(tokenizer, device=options.device)
    return _of_release(Source(adapter="mc-ar", weights=weights, tokenizer=tokenizer, options=options), pictures)


def _folder(folder: Path, options: LoadOptions) -> FrameWorld:
    """The world model of a folder with world.json."""
    from diagplan.adapters.image_tokenizer import load_image_tokenizer
    from diagplan.schemas.world import read_world_document

    tokenizer = load_image_tokenizer(folder / "tokenizer", device=options.device)
    document = read_world_document(folder / "world.json")
    source = Source(
        adapter="mc-ar",
        weights=folder / "model.safetensors",
        tokenizer=folder / "tokenizer",
        options=options.replaced(config=folder / "config.json"),
    )
    return _of_document(document, folder, source, tokenizer)


def _exported(folder: Path, options: LoadOptions) -> FrameWorld:
    """The world of an exported model, whose step graph says the sizes, and of its image tokenizer."""
    from diagplan.backends.onnx_tokenizer import load_onnx_tokenizer
    from diagplan.schemas.world import read_world_document

    source = Source(adapter="mc-ar", weights=folder, tokenizer=folder / "tokenizer", options=options)
    tokenizer = load_onnx_tokenizer(folder / "tokenizer", device=options.device, threads=options.threads)
    about = source.about()
    if not {"rows", "cols", "action_tokens", "image_vocab", "vocab_size", _POSITIONS} <= set(about.config):
        raise DocumentError(f"expected the sizes of an mc-ar model in {folder}, got others. Export it again.")
    if "world.json" in about.companions:
        return _of_document(read_world_document(folder / "world.json"), folder, source, tokenizer)
    return _of_release(source, tokenizer)


def _shown(path: object) -> str:
    return "none" if path is None else repr(str(path))


def _of_document(document: "WorldDocument", folder: Path, source: Source, tokenizer: ImageTokenizer) -> FrameWorld:
    """A world whose world.json says how actions become tokens."""
    from diagplan.games.clips import read_actions

    words, sizes = document.actions, source.sizes()
    image_ids = sizes["image_vocab"] or sizes["vocab_size"]
    every = (words.begin, words.end, *words.ids.values())
    fits = {
        "rows and cols": (document.rows, document.cols) == (sizes["rows"], sizes["cols"]),
        "tokens of an action": sizes["action_tokens"] == 3,
        "codes of the tokenizer": tokenizer.codes == image_ids,
        "ids of actions": image_ids <= min(every) and max(every) < sizes["vocab_size"],
        "frames of context": document.context_frames * (document.rows * document.cols + 3) - 3 <= sizes[_POSITIONS],
    }
    wrong = [name for name, fine in fits.items() if not fine]
    if wrong:
        raise DocumentError(
            f"expected world.json, config.json and tokenizer of one model, got {folder} whose {wrong[0]} differ. "
            "The files do not belong together."
        )

    def blocks(path: Path) -> NDArray[np.int64]:
        names = [line["action"] for line in read_actions(path)]
        unknown = sorted(set(names) - set(words.ids))
        if unknown:
            raise DocumentError(f"expected actions of {', '.join(words.ids)}, got {', '.join(unknown[:4])} in {path}.")
        return np.array([[words.begin, words.ids[name], words.end] for name in names], np.int64).reshape(-1, 3)

    return FrameWorld(
        name=document.name, source=source, tokenizer=tokenizer, rows=document.rows, cols=document.cols, block=3,
        context_frames=document.context_frames, fps=document.fps, read_actions=blocks, words=words,
        map_rows=document.map_rows, controls=word_controls(words),
    )  # fmt: skip


def _of_release(source: Source, tokenizer: ImageTokenizer) -> FrameWorld:
    """A world with MineWorld's actions."""
    from diagplan.adapters.mc_ar_actions import BLOCK, encode_actions

    sizes = source.sizes()
    rows, cols = sizes["rows"], sizes["cols"]
    image_ids = sizes["image_vocab"] or sizes["vocab_size"]
    if sizes["action_tokens"] != BLOCK:
        raise DocumentError(
            f"expected a MineWorld model, whose actions are {BLOCK} tokens, got action_tokens="
            f"{sizes['action_tokens']}. A world model of another game is a folder with world.json."
        )
    if tokenizer.codes > image_ids:
        raise DocumentError(
            f"expected an image tokenizer of at most {image_ids} codes, got {tokenizer.codes}. "
            "The files do not belong together."
        )
    return FrameWorld(
        name="mc-ar", source=source, tokenizer=tokenizer, rows=rows, cols=cols, block=BLOCK,
        context_frames=(sizes[_POSITIONS] + BLOCK) // (rows * cols + BLOCK), fps=6, read_actions=encode_actions,
        controls=mc_ar_controls(),
    )  # fmt: skip
