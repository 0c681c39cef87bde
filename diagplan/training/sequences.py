"""Clips as token sequences: frame 0 | begin, action, end | frame 1 | ..."""

import hashlib
import io
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from diagplan.adapters.image_tokenizer import ImageTokenizer, tokenizer_files
from diagplan.games.clips import list_clips, read_clip
from diagplan.planner.errors import DocumentError
from diagplan.schemas.atomic import make_folder, write_atomically
from diagplan.schemas.npz import read_npz

__all__ = ["TokenClips", "clips_key", "kept_tokens", "read_tokens", "tokenize_clips", "tokens_key", "write_tokens"]


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenClips:
    """Some clips of one length, as tokens.

    Attributes:
        frames: int [clips, T, rows, cols], image tokens.
        actions: int [clips, T - 1], ids of actions.
        moved: int [clips, T - 1, 2], cells (columns right, rows down); 0 where unknown.
    """

    frames: NDArray[np.int64]
    actions: NDArray[np.int64]
    moved: NDArray[np.int64]

    def windows(self, clip: NDArray[np.int64], first: NDArray[np.int64], length: int) -> "TokenClips":
        """Windows of ``length`` frames, number i from frame ``first[i]`` of clip ``clip[i]``."""
        at = first[:, None] + np.arange(length)
        return TokenClips(
            frames=self.frames[clip[:, None], at],
            actions=self.actions[clip[:, None], at[:, :-1]],
            moved=self.moved[clip[:, None], at[:, :-1]],
        )

    def sequences(self, begin: int, end: int) -> NDArray[np.int64]:
        """The sequences, int [clips, T rows cols + (T - 1) 3]."""
        n, t = self.frames.shape[:2]
        cells = self.frames.reshape(n, t, -1)
        ends = np.full((n, t - 1, 1), end)
        between = np.concatenate([np.full_like(ends, begin), self.actions[..., None], ends], axis=2)
        lead = np.concatenate([cells[:, :-1], between], axis=2).reshape(n, -1)
        return np.concatenate([lead, cells[:, -1]], axis=1)


def tokenize_clips(
    paths: Sequence[Path],
    tokenizer: ImageTokenizer,
    action_ids: Mapping[str, int],
    *,
    on_clip: Callable[[int], None] | None = None,
) -> TokenClips:
    """Read and tokenize clips; all must be of one length and size.

    Raises:
        DocumentError: a clip that cannot be read, of another size, or with an action that has no id.
    """
    frames, actions, moved = [], [], []
    for number, path in enumerate(paths, start=1):
        clip = read_clip(path)
        unknown = sorted(set(clip.actions) - set(action_ids))
        if unknown:
            raise DocumentError(f"expected actions of {', '.join(action_ids)}, got {', '.join(unknown)} in {path}.")
        frames.append(tokenizer.encode(clip.frames))
        if frames[-1].shape != frames[0].shape:
            raise DocumentError(f"expected clips of one length and size, got {path} with another than {paths[0]}.")
        actions.append([action_ids[name] for name in clip.actions])
        moved.append([(0, 0) if cells is None else cells for cells in clip.moved])
        if on_clip is not None:
            on_clip(number)
    return TokenClips(frames=np.stack(frames), actions=np.array(actions), moved=np.array(moved))


def clips_key(paths: Sequence[Path]) -> str:
    """A hash of clips' names and sizes.

    Raises:
        DocumentError: a file cannot be read.
    """
    return _key(map(_name_and_size, paths))


def tokens_key(paths: Sequence[Path], tokenizer_files: Sequence[Path], action_ids: Mapping[str, int]) -> str:
    """A hash of what tokens come from: the tokenizer's files, clips' names, sizes and actions, ids of actions.

    Raises:
        DocumentError: a file cannot be read.
    """
    ids = [repr(sorted(action_ids.items())).encode()]
    files = (path.read_bytes() for path in tokenizer_files)
    clips = (part for path in paths for part in (_name_and_size(path), path.with_suffix(".jsonl").read_bytes()))
    return _key(chain(ids, files, clips))


def _name_and_size(path: Path) -> bytes:
    return f"{path.name} {path.stat().st_size}\n".encode()


def _key(parts: Iterable[bytes]) -> str:
    digest = hashlib.sha256()
    try:
        for part in parts:
            digest.update(part)
    except OSError as error:
        raise DocumentError(f"cannot read {error.filename}: {error.strerror}.") from None
    return digest.hexdigest()


#: Arrays of a file of tokens, and their axes.
_ARRAYS = {"frames": 4, "actions": 2, "moved": 3}


def write_tokens(path: str | Path, clips: TokenClips, key: str) -> None:
    """Write tokens with their key, compressed, as a .npz file.

    Raises:
        DocumentError: the file cannot be written.
    """
    data = io.BytesIO()
    np.savez_compressed(
        data,
        key=np.array(key),
        frames=clips.frames.astype(np.int32),
        actions=clips.actions.astype(np.int32),
        moved=clips.moved.astype(np.int16),
    )
    write_atomically(path, data.getvalue())


def read_tokens(path: str | Path, key: str) -> TokenClips | None:
    """The tokens that were written with this key; ``None`` where there are no such tokens."""
    try:
        if read_npz(path, ["key"])["key"].tolist() != key:
            return None
        held = read_npz(path, list(_ARRAYS))
    except (DocumentError, ValueError):  # ValueError: a key that is no text
        return None
    whole = all((array.dtype.kind, array.ndim) == ("i", _ARRAYS[name]) for name, array in held.items())
    return TokenClips(**{name: array.astype(np.int64) for name, array in held.items()}) if whole else None


def kept_tokens(
    clips: str | Path,
    tokenizer: str | Path,
    codec: ImageTokenizer,
    action_ids: Mapping[str, int],
    folder: str | Path,
    *,
    on_clip: Callable[[int, int], None] | None = None,
) -> TokenClips:
    """The clips of one split as tokens: from the run's ``folder`` where they were written before, else written there.

    Args:
        clips: a folder of clips, such as a recording's ``train``; its name is the split's.
        tokenizer: the folder of the image tokenizer.
        codec: the same, loaded.
        action_ids: action -> id.
        folder: of the run.
        on_clip: called with the number of clips that are tokens, and of how many.

    Raises:
        DocumentError: clips that cannot be read, or a run that has begun with other tokens.
    """
    paths = list_clips(Path(clips))
    key = tokens_key(paths, tokenizer_files(tokenizer), action_ids)
    store = Path(folder) / f"tokens-{Path(clips).name}.npz"
    held = read_tokens(store, key)
    if held is not None:
        return held
    if (Path(folder) / "checkpoint.pt").is_file():
        raise DocumentError(
            f"expected the clips and the tokenizer that the run in {folder} began with, got others in {clips} "
            f"or {tokenizer}. Give another folder, or the same files to go on."
        )

    def count(done: int) -> None:
        if on_clip is not None:
            on_clip(done, len(paths))

    sequences = tokenize_clips(paths, codec, action_ids, on_clip=count)
    make_folder(folder)
    write_tokens(store, sequences, key)
    return sequences
