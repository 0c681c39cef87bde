"""World models: a model, its image tokenizer and how its actions become tokens, loaded by name or from files."""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from diagplan.planner.errors import DocumentError, SpecError
from diagplan.planner.layout import Layout
from diagplan.runtime import Backend, DTypeName, load_model, require_torch

if TYPE_CHECKING:
    from diagplan.adapters.contract import Model
    from diagplan.adapters.frame_tokenizer import FrameTokenizer
    from diagplan.schemas.world import ActionWords, WorldDocument

__all__ = ["SHIPPED", "World", "load_world"]

#: The world models that come with the package.
SHIPPED: Mapping[str, Path] = MappingProxyType(
    {"crafter-mini": Path(__file__).resolve().parent / "models" / "crafter-mini"}
)
_PUBLISHER = "Its publisher is microsoft/mineworld on Hugging Face, which has taken the files down for now"


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """All that ``generate`` needs of one world model.

    Attributes:
        name: for people.
        model: the transformer.
        tokenizer: frames to tokens and back.
        rows, cols: tokens of a frame.
        block: tokens of one action.
        context_frames: most frames of one sequence, prompt included.
        fps: of videos.
        read_actions: action blocks int64 [n, block] of an actions file.
        words: ids of the actions, where an action is one word.
        map_rows: rows of tokens, from the top, that move with the player.
    """

    name: str
    model: "Model"
    tokenizer: "FrameTokenizer"
    rows: int
    cols: int
    block: int
    context_frames: int
    fps: int
    read_actions: Callable[[Path], NDArray[np.int64]]
    words: "ActionWords | None" = None
    map_rows: int | None = None

    @property
    def height(self) -> int:
        """Pixels of a frame."""
        return self.rows * self.tokenizer.factor

    @property
    def width(self) -> int:
        """Pixels of a frame."""
        return self.cols * self.tokenizer.factor

    def layout(self, frames: int, prompt_frames: int = 1) -> Layout:
        """The layout of ``frames`` generated frames after ``prompt_frames`` given ones.

        Raises:
            SpecError: more frames than the model's context.
        """
        if frames + prompt_frames > self.context_frames:
            raise SpecError(
                f"expected at most {self.context_frames} frames, prompt included, got {prompt_frames} + {frames}. "
                f"{self.name} was trained on that many. Ask for fewer: --frames {self.context_frames - prompt_frames}."
            )
        return Layout(
            frames=frames,
            rows=self.rows,
            cols=self.cols,
            prompt_frames=prompt_frames,
            between_frames=self.block,
        )


def load_world(
    model: str,
    *,
    weights: str | Path | None = None,
    tokenizer: str | Path | None = None,
    config: Any = None,
    backend: Backend = "torch",
    dtype: DTypeName = "float32",
    device: str = "cpu",
    quantize: Literal["int8"] | None = None,
    portable: bool = False,
    threads: int | None = None,
) -> World:
    """Load a world model.

    Args:
        model: ``"crafter-mini"``, the folder of a world model (one with world.json), or ``"mc-ar"`` for the release's
            files; for the backend ``"onnx"`` the folder of an exported world model.
        weights: for ``"mc-ar"``: the checkpoint.
        tokenizer: for ``"mc-ar"``: the folder of the image tokenizer.
        config: for ``"mc-ar"``: a size or a config file, where the checkpoint has none beside it.
        backend: as for ``load_model``.
        dtype: as for ``load_model``.
        device: as for ``load_model``.
        quantize: as for ``load_model``.
        portable: as for ``load_model``.
        threads: as for ``load_model``.

    Raises:
        SpecError: no such model, or an option that it does not take.
        DocumentError: files that are missing or broken; the message says which, and where their publisher has them.
        MissingExtraError: torch or diffusers is not installed.
    """
    options: dict[str, Any] = {"dtype": dtype, "device": device, "quantize": quantize}
    if backend == "onnx":
        return _exported(
            model, options | {"backend": backend, "threads": threads}, (weights, tokenizer, config), portable=portable
        )
    require_torch()
    from diagplan.adapters.image_tokenizer import load_image_tokenizer
    from diagplan.adapters.mc_ar_files import require_device

    require_device(device)
    options["portable"] = portable
    if model == "mc-ar":
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
        return _release(weights, load_image_tokenizer(tokenizer, device=device), config, options)
    if weights is not None or tokenizer is not None or config is not None:
        raise SpecError(f"expected weights, tokenizer and config with model='mc-ar' only, got model={model!r}.")
    folder = SHIPPED.get(model, Path(model))
    if len(model) > 4000 or not (folder / "world.json").is_file():
        raise SpecError(
            f"expected one of {', '.join([*SHIPPED, 'mc-ar'])}, or a folder with world.json, got model={model[:200]!r}."
        )
    return _from_folder(folder, load_image_tokenizer(folder / "tokenizer", device=device), options)


def _shown(path: object) -> str:
    return "none" if path is None else repr(str(path))


def _from_folder(folder: Path, tokenizer: "FrameTokenizer", options: dict[str, Any]) -> World:
    from diagplan.schemas.world import read_world_document

    said = read_world_document(folder / "world.json")
    loaded: Any = load_model("mc-ar", folder / "model.safetensors", config=folder / "config.json", **options)
    return _of_document(said, folder, loaded, asdict(loaded.config), tokenizer)


def _of_document(
    said: "WorldDocument", folder: Path, loaded: "Model", sizes: Mapping[str, Any], tokenizer: "FrameTokenizer"
) -> World:
    """A world whose world.json says how actions become tokens."""
    from diagplan.games.clips import read_actions

    words = said.actions
    image_ids = sizes["image_vocab"] or loaded.vocab_size
    every = (words.begin, words.end, *words.ids.values())
    fits = {
        "rows and cols": (said.rows, said.cols) == (sizes["rows"], sizes["cols"]),
        "tokens of an action": sizes["action_tokens"] == 3,
        "codes of the tokenizer": tokenizer.codes == image_ids,
        "ids of actions": image_ids <= min(every) and max(every) < loaded.vocab_size,
        "frames of context": said.context_frames * (said.rows * said.cols + 3) - 3 <= loaded.positions,
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
        name=said.name, model=loaded, tokenizer=tokenizer, rows=said.rows, cols=said.cols, block=3,
        context_frames=said.context_frames, fps=said.fps, read_actions=blocks, words=words, map_rows=said.map_rows,
    )  # fmt: skip


def _release(weights: str | Path, tokenizer: "FrameTokenizer", config: Any, options: dict[str, Any]) -> World:
    loaded: Any = load_model("mc-ar", weights, config=config, **options)
    return _of_release(loaded, asdict(loaded.config), tokenizer)


def _of_release(loaded: "Model", sizes: Mapping[str, Any], tokenizer: "FrameTokenizer") -> World:
    """A world with MineWorld's actions."""
    from diagplan.adapters.mc_ar_actions import BLOCK, encode_actions

    rows, cols = sizes["rows"], sizes["cols"]
    image_ids = sizes["image_vocab"] or loaded.vocab_size
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
        name="mc-ar", model=loaded, tokenizer=tokenizer, rows=rows, cols=cols, block=BLOCK,
        context_frames=(loaded.positions + BLOCK) // (rows * cols + BLOCK), fps=6, read_actions=encode_actions,
    )  # fmt: skip


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


def _exported(model: str, options: dict[str, Any], files: tuple[Any, ...], *, portable: bool) -> World:
    """A world of ``diagplan export-onnx``; its step graph says the sizes."""
    from diagplan.backends.onnx_tokenizer import load_onnx_tokenizer
    from diagplan.schemas.world import read_world_document

    folder = Path(model)
    if files != (None, None, None) or len(model) > 4000 or not folder.is_dir():
        raise SpecError(
            "expected the folder of an exported world model, and no weights, tokenizer or config beside it, with "
            f"backend='onnx', got model={model[:200]!r}. Export one: diagplan export-onnx --model crafter-mini -o DIR."
        )
    if portable:
        raise SpecError("expected no portable with backend='onnx', got it. It is for models that are to be exported.")
    loaded: Any = load_model("mc-ar", folder, **options)
    sizes = loaded.document.config
    _require_companions(folder, loaded.document.companions)
    tokenizer = load_onnx_tokenizer(folder / "tokenizer", device=options["device"], threads=options["threads"])
    if not {"rows", "cols", "action_tokens", "image_vocab"} <= set(sizes):
        raise DocumentError(f"expected the sizes of an mc-ar model in {folder}, got others. Export it again.")
    if "world.json" in loaded.document.companions:
        return _of_document(read_world_document(folder / "world.json"), folder, loaded, sizes, tokenizer)
    return _of_release(loaded, sizes, tokenizer)
