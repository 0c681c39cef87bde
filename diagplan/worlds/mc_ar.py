"""MC-AR's worlds: a folder with world.json, the files of a MineWorld release, or what was exported of either."""

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from diagplan.planner.errors import DocumentError
from diagplan.worlds.source import Source
from diagplan.worlds.world import World

if TYPE_CHECKING:
    from diagplan.adapters.frame_tokenizer import FrameTokenizer
    from diagplan.schemas.world import WorldDocument

__all__ = ["SHIPPED", "load_exported", "load_folder", "load_release"]

#: The world models that come with the package.
SHIPPED: Mapping[str, Path] = MappingProxyType(
    {"crafter-mini": Path(__file__).resolve().parent.parent / "models" / "crafter-mini"}
)
_POSITIONS = "max_position_embeddings"
_PUBLISHER = "Its publisher is microsoft/mineworld on Hugging Face, which has taken the files down for now"


def load_release(
    weights: str | Path | None, tokenizer: str | Path | None, config: Any, options: Mapping[str, Any]
) -> World:
    """A release of MineWorld; ``options`` are ``load_model``'s.

    Raises:
        DocumentError: a file that is missing or broken; the message says which.
    """
    from diagplan.adapters.image_tokenizer import load_image_tokenizer

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
    pictures = load_image_tokenizer(tokenizer, device=options["device"])
    return _of_release(
        Source(adapter="mc-ar", weights=weights, tokenizer=tokenizer, config=config, options=options), pictures
    )


def load_folder(folder: Path, options: Mapping[str, Any]) -> World:
    """The world model of a folder with world.json; ``options`` are ``load_model``'s.

    Raises:
        DocumentError: a file that is missing or broken; the message says which.
    """
    from diagplan.adapters.image_tokenizer import load_image_tokenizer
    from diagplan.schemas.world import read_world_document

    tokenizer = load_image_tokenizer(folder / "tokenizer", device=options["device"])
    said = read_world_document(folder / "world.json")
    source = Source(
        adapter="mc-ar",
        weights=folder / "model.safetensors",
        tokenizer=folder / "tokenizer",
        config=folder / "config.json",
        options=options,
    )
    return _of_document(said, folder, source, tokenizer)


def load_exported(folder: Path, source: Source, tokenizer: "FrameTokenizer") -> World:
    """The world of an exported model, whose step graph says the sizes, and of its image tokenizer.

    Raises:
        DocumentError: files that do not belong together.
    """
    from diagplan.schemas.world import read_world_document

    about = source.about()
    if not {"rows", "cols", "action_tokens", "image_vocab", "vocab_size", _POSITIONS} <= set(about.config):
        raise DocumentError(f"expected the sizes of an mc-ar model in {folder}, got others. Export it again.")
    if "world.json" in about.companions:
        return _of_document(read_world_document(folder / "world.json"), folder, source, tokenizer)
    return _of_release(source, tokenizer)


def _shown(path: object) -> str:
    return "none" if path is None else repr(str(path))


def _of_document(said: "WorldDocument", folder: Path, source: Source, tokenizer: "FrameTokenizer") -> World:
    """A world whose world.json says how actions become tokens."""
    from diagplan.games.clips import read_actions

    words, sizes = said.actions, source.sizes()
    image_ids = sizes["image_vocab"] or sizes["vocab_size"]
    every = (words.begin, words.end, *words.ids.values())
    fits = {
        "rows and cols": (said.rows, said.cols) == (sizes["rows"], sizes["cols"]),
        "tokens of an action": sizes["action_tokens"] == 3,
        "codes of the tokenizer": tokenizer.codes == image_ids,
        "ids of actions": image_ids <= min(every) and max(every) < sizes["vocab_size"],
        "frames of context": said.context_frames * (said.rows * said.cols + 3) - 3 <= sizes[_POSITIONS],
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

    return World(
        name=said.name, source=source, tokenizer=tokenizer, rows=said.rows, cols=said.cols, block=3,
        context_frames=said.context_frames, fps=said.fps, read_actions=blocks, words=words, map_rows=said.map_rows,
    )  # fmt: skip


def _of_release(source: Source, tokenizer: "FrameTokenizer") -> World:
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
    return World(
        name="mc-ar", source=source, tokenizer=tokenizer, rows=rows, cols=cols, block=BLOCK,
        context_frames=(sizes[_POSITIONS] + BLOCK) // (rows * cols + BLOCK), fps=6, read_actions=encode_actions,
    )  # fmt: skip
