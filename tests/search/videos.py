"""Damaged videos: boxes and bytes, containers that name other files, large frames in small files."""

import io
import json
import tempfile
from functools import cache
from pathlib import Path
from random import Random
from typing import Any

import av
import numpy as np

from diagplan.games.clips import Clip, read_clip, write_clip
from diagplan.video.files import frame_rate, read_frames, read_video
from diagplan.video.frames import gif
from tests.search.damage import INTEGERS, hurt_bytes, hurt_json
from tests.search.guard import Based, Different

__all__ = ["videos"]

_SIDE, _FRAMES = 32, 5


@cache
def _bases() -> dict[str, bytes]:
    """A dark video in some containers."""
    rng = np.random.default_rng(0)
    frames = rng.integers(0, 90, (_FRAMES, _SIDE, _SIDE, 3), np.uint8)
    bases = {"gif": gif(list(frames), 6)}
    for kind, codec in (("mp4", "libx264"), ("matroska", "libx264"), ("avi", "mjpeg"), ("mpegts", "mpeg2video")):
        data = io.BytesIO()
        with av.open(data, "w", format=kind) as container:
            stream: Any = container.add_stream(codec, rate=25)
            stream.width = stream.height = _SIDE
            stream.pix_fmt = "yuvj420p" if codec == "mjpeg" else "yuv420p"
            for frame in frames:
                container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
            container.mux(stream.encode())
        bases[kind] = data.getvalue()
    return bases


@cache
def _secret() -> bytes:
    """A white clip, which no damaged file may show."""
    white = np.full((3, _SIDE, _SIDE, 3), 255, np.uint8)
    with tempfile.TemporaryDirectory() as folder:
        write_clip(Path(folder) / "x.mp4", Clip(frames=white, actions=("noop",) * 2, moved=(None,) * 2))
        return (Path(folder) / "x.mp4").read_bytes()


def _playlist(rng: Random, secret: Path) -> bytes:
    """A text that a player takes for a list of files."""
    place = rng.choice(
        (secret.name, str(secret), f"file:{secret}", f"concat:{secret}", f"subfile,,start,0,end,0,,:{secret}")
    )
    texts = (
        f"#EXTM3U\n#EXT-X-VERSION:3\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\n{place}\n#EXT-X-ENDLIST\n",
        f"ffconcat version 1.0\nfile '{place}'\n",
        f"v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\na={place}\nm=video 9 RTP/AVP 96\n",
        f"<?xml version='1.0'?><MPD><Period><BaseURL>{place}</BaseURL></Period></MPD>",
        f"[playlist]\nFile1={place}\n",
        f"RTSPtext\nrtsp://127.0.0.1:9/{place}",
        ";FFMETADATA1\ntitle=x\n",
        f"<smil><body><video src='{place}'/></body></smil>",
    )
    return rng.choice(texts).encode()


def _boxes(data: bytes, start: int, end: int, depth: int = 0) -> list[tuple[int, int]]:
    """Where the boxes of an mp4 begin, and how long they are; those within those that hold others too."""
    found = []
    while start + 8 <= end:
        size = int.from_bytes(data[start : start + 4], "big")
        if size < 8 or start + size > end:
            break
        found.append((start, size))
        if data[start + 4 : start + 8] in (b"moov", b"trak", b"mdia", b"minf", b"stbl", b"dinf", b"edts") and depth < 9:
            found += _boxes(data, start + 8, start + size, depth + 1)
        start += size
    return found


def _hurt_boxes(rng: Random, data: bytes) -> bytes:
    """A box of an mp4 renamed, resized, repeated, left out, or a number in it changed."""
    for _ in range(rng.choice((1, 1, 2))):
        at, size = rng.choice(_boxes(data, 0, len(data)) or [(0, len(data))])
        box = data[at : at + size]
        match rng.randrange(6):
            case 0:
                new = (rng.choice(INTEGERS) % (1 << 32)).to_bytes(4, "big") + box[4:]
            case 1:
                new = (
                    box[:4]
                    + rng.choice((b"free", b"moov", b"rmra", b"dref", b"url ", b"alis", b"stsd", b"cmov"))
                    + box[8:]
                )
            case 2:
                new = b""
            case 3:
                new = box * 2
            case _:
                place = 8 + 4 * rng.randrange(max(1, (size - 8) // 4))
                new = box[:place] + (rng.choice(INTEGERS) % (1 << 32)).to_bytes(4, "big") + box[place + 4 :]
        data = data[:at] + new + data[at + size :]
    return data


def _large(rng: Random) -> bytes:
    """A GIF of few bytes that says that it is large, and has many frames of a few pixels."""
    data = _bases()["gif"]
    side = rng.choice((2000, 5000, 8192, 65_535)).to_bytes(2, "little")
    begin = data.index(b"\x21\xf9")
    return data[:6] + side * 2 + data[10:begin] + data[begin:-1] * rng.choice((1, 40)) + b";"


def _prepare() -> None:
    _bases()
    _secret()


def _videos(rng: Random, folder: Path) -> tuple[int, int]:
    """A video: what is read of it is its own pictures."""
    (folder / "secret.mp4").write_bytes(_secret())
    path = folder / rng.choice(("x.mp4", "x.gif", "x.m3u8", "x.txt"))
    kind = rng.choice(("mp4", "mp4", *_bases()))
    data = _bases()[kind]
    match rng.randrange(12):
        case 0:
            data = _playlist(rng, folder / "secret.mp4")
        case 1:
            data = _playlist(rng, folder / "secret.mp4") + data
        case 2 if rng.random() < 0.3:
            data = _large(rng)
        case 3 | 4 | 5 | 6:
            data = _hurt_boxes(rng, _bases()["mp4"])
        case _:
            data = hurt_bytes(rng, data)
    path.write_bytes(data)
    if rng.random() < 0.3:
        line = {"action": "noop", "moved": [0, 1]}
        lines = [json.dumps(line).encode()] * (_FRAMES - 2)
        path.with_suffix(".jsonl").write_bytes(b"\n".join([*lines, hurt_json(rng, line)]))
        frames = read_clip(path).frames
    elif rng.random() < 0.2:
        if not frame_rate(path) > 0:
            raise Different("a rate that is none")
        frames = np.stack(list(next(read_frames(path), np.zeros((1, 1, 3), np.uint8))[None]))
    else:
        frames = read_video(path)
    if frames.dtype != np.uint8 or frames.ndim != 4 or frames.shape[3] != 3:
        raise Different(f"frames {frames.dtype} {frames.shape}")
    if (frames[0] > 250).all():
        raise Different("frames of another file")
    return 1, 1


videos = Based(_prepare, _videos)
