"""Video files: what is written is whole or not there, what is read is whole or one error."""

import errno
import http.server
import os
import stat
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("av")

from diagplan.evaluation.pictures import psnr
from diagplan.planner.errors import DocumentError, MissingExtraError, SpecError
from diagplan.video.files import VideoError, VideoWriter, frame_rate, read_frames, read_video
from diagplan.video.frames import gif


def tiles(count: int, *, height: int = 32, width: int = 48, seed: int = 0) -> Any:
    """Frames of 16-pixel squares, each of one colour: what a codec keeps."""
    random = np.random.default_rng(seed)
    small = random.integers(0, 256, (count, -(-height // 16), -(-width // 16), 3), dtype=np.uint8)
    return small.repeat(16, axis=1).repeat(16, axis=2)[:, :height, :width]


def write(path: Path, frames: Any, **options: Any) -> None:
    with VideoWriter(path, **options) as video:
        for frame in frames:
            video.add(frame)


def write_and_raise(path: Path, frames: int, error: BaseException) -> None:
    with VideoWriter(path) as video:
        for frame in tiles(frames):
            video.add(frame)
        raise error


def faststart(source: Path, target: Path) -> None:
    """The same video with its index in front: a player can begin before it has all."""
    import av

    with av.open(str(source)) as old, av.open(str(target), "w", options={"movflags": "faststart"}) as new:
        stream = new.add_stream_from_template(old.streams.video[0])
        for packet in old.demux(video=0):
            if packet.dts is not None:
                packet.stream = stream
                new.mux(packet)


def test_a_codec_that_nobody_knows(tmp_path: Path) -> None:
    write(tmp_path / "v.mp4", tiles(2))
    whole = (tmp_path / "v.mp4").read_bytes()
    assert b"avc1" in whole
    (tmp_path / "v.mp4").write_bytes(whole.replace(b"avc1", b"zzzz"))
    with pytest.raises(DocumentError, match=r"expected a video in a codec that FFmpeg knows, got .*v\.mp4 in another"):
        read_video(tmp_path / "v.mp4")


@pytest.mark.parametrize(("exact", "least"), [(True, 45.0), (False, 25.0)])
def test_round_trip(tmp_path: Path, exact: bool, least: float) -> None:
    frames = tiles(9, height=30, width=34)
    write(tmp_path / "v.mp4", frames, exact=exact)
    back = read_video(tmp_path / "v.mp4")
    assert back.dtype == np.uint8
    assert back.shape == frames.shape
    assert psnr(frames, back) > least
    assert len(read_video(tmp_path / "v.mp4", limit=4)) == 4
    assert [path.name for path in tmp_path.iterdir()] == ["v.mp4"]


def test_the_same_frames_give_the_same_bytes(tmp_path: Path) -> None:
    """With x264's macroblock tree they did not: a moving picture with noise shows it within a few tries."""
    random = np.random.default_rng(0)
    picture = np.cumsum(random.normal(0, 6, (120, 160, 3)), axis=1) + 128
    moving = [picture[i : i + 96, 2 * i : 2 * i + 96] + random.normal(0, 3, (96, 96, 3)) for i in range(8)]
    frames = np.clip(moving, 0, 255).astype(np.uint8)
    made = set()
    for _ in range(16):
        write(tmp_path / "v.mp4", frames, exact=True)
        made.add((tmp_path / "v.mp4").read_bytes())
    assert len(made) == 1


def test_the_file_appears_when_it_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "v.mp4"
    path.write_bytes(b"old")
    with VideoWriter(path) as video:
        for frame in tiles(3):
            video.add(frame)
        assert path.read_bytes() == b"old"
    assert len(read_video(path)) == 3


def test_what_a_killed_process_has_left_is_removed_by_the_next(tmp_path: Path) -> None:
    left = tmp_path / ".diagplan-0123456789ab-1-1-0123456789ab.tmp"
    left.touch()
    os.utime(left, (0, 0))
    write(tmp_path / "v.mp4", tiles(2))
    assert [path.name for path in tmp_path.iterdir()] == ["v.mp4"]


def test_ctrl_c_leaves_what_was_finished(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        write_and_raise(tmp_path / "v.mp4", 3, KeyboardInterrupt())
    assert len(read_video(tmp_path / "v.mp4")) == 3
    assert [path.name for path in tmp_path.iterdir()] == ["v.mp4"]


@pytest.mark.parametrize("frames", [0, 3])
def test_an_error_leaves_nothing(tmp_path: Path, frames: int) -> None:
    with pytest.raises(RuntimeError):
        write_and_raise(tmp_path / "v.mp4", frames, RuntimeError())
    assert list(tmp_path.iterdir()) == []


def test_a_video_without_frames_is_no_file(tmp_path: Path) -> None:
    with VideoWriter(tmp_path / "v.mp4"):
        pass
    assert list(tmp_path.iterdir()) == []


def test_permissions_follow_the_umask_or_the_old_file(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        write(tmp_path / "new.mp4", tiles(2))
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "new.mp4").stat().st_mode) == 0o640
    (tmp_path / "new.mp4").chmod(0o600)
    write(tmp_path / "new.mp4", tiles(2))
    assert stat.S_IMODE((tmp_path / "new.mp4").stat().st_mode) == 0o600


def test_a_link_stays_a_link(tmp_path: Path) -> None:
    (tmp_path / "link.mp4").symlink_to(tmp_path / "real.mp4")
    write(tmp_path / "link.mp4", tiles(2))
    assert (tmp_path / "link.mp4").is_symlink()
    assert len(read_video(tmp_path / "real.mp4")) == 2


@pytest.mark.parametrize(
    ("place", "words"),
    [("missing/v.mp4", "No such file"), ("file/v.mp4", "Not a directory"), (".", "Is a directory"), ("a\0b", "null")],
)
def test_places_that_cannot_be_written(tmp_path: Path, place: str, words: str) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(VideoError, match=f"^cannot write .*{words}"):
        VideoWriter(f"{tmp_path}/{place}")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_a_read_only_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if os.geteuid() == 0:  # root may write anywhere: say what the system says to others

        def refuse(*_: object) -> int:
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

        monkeypatch.setattr(os, "open", refuse)
    tmp_path.chmod(0o500)
    try:
        with pytest.raises(VideoError, match="Permission denied"):
            VideoWriter(tmp_path / "v.mp4")
    finally:
        tmp_path.chmod(0o700)


@pytest.mark.parametrize(
    ("frame", "error", "words"),
    [
        (np.zeros((33, 48, 3), np.uint8), SpecError, "expected frames with even sides, got 33 x 48 pixels"),
        (np.zeros((32, 47, 3), np.uint8), SpecError, "even sides"),
        (np.zeros((0, 48, 3), np.uint8), SpecError, "even sides"),
        (np.zeros((32, 48), np.uint8), SpecError, r"expected a frame uint8 \[height, width, 3\]"),
        (np.zeros((32, 48, 3), np.float32), SpecError, "got float32"),
    ],
)
def test_what_is_no_frame(tmp_path: Path, frame: Any, error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words), VideoWriter(tmp_path / "v.mp4") as video:
        video.add(frame)
    assert list(tmp_path.iterdir()) == []


def test_frames_of_different_sizes(tmp_path: Path) -> None:
    with pytest.raises(VideoError, match=r"got \(32, 32, 3\) at frame 1"):
        write(tmp_path / "v.mp4", [*tiles(1), *tiles(1, width=32)])
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("index_first", [False, True])
@pytest.mark.parametrize("kept", [0, 20, 0.5, -40, -1])
def test_a_truncated_file(tmp_path: Path, index_first: bool, kept: float) -> None:
    frames = np.random.default_rng(0).integers(0, 256, (12, 32, 48, 3), dtype=np.uint8)
    write(tmp_path / "whole.mp4", frames)
    if index_first:
        faststart(tmp_path / "whole.mp4", tmp_path / "v.mp4")
    else:
        (tmp_path / "whole.mp4").rename(tmp_path / "v.mp4")
    data = (tmp_path / "v.mp4").read_bytes()
    assert len(read_video(tmp_path / "v.mp4")) == 12
    (tmp_path / "v.mp4").write_bytes(data[: int(kept * len(data) if kept == 0.5 else kept)])
    with pytest.raises(DocumentError, match=r"cannot read the video"):
        read_video(tmp_path / "v.mp4")


@pytest.mark.parametrize("seed", [0, 2, 3])  # FFmpeg stops at the first and hides the damage of the others
def test_a_damaged_file(tmp_path: Path, seed: int) -> None:
    write(tmp_path / "v.mp4", tiles(30), exact=True)
    data = bytearray((tmp_path / "v.mp4").read_bytes())
    for place in np.random.default_rng(seed).integers(data.find(b"mdat") + 800, data.find(b"moov") - 4, 10):
        data[place] ^= 0xFF
    (tmp_path / "v.mp4").write_bytes(data)
    with pytest.raises(DocumentError, match="cannot read the video"):
        read_video(tmp_path / "v.mp4")


@pytest.mark.parametrize("data", [b"", b"hello", b"\0" * 4000, b"#EXTM3U\nhttp://localhost:1/a.ts\n"])
def test_what_is_no_video(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "v.mp4").write_bytes(data)
    with pytest.raises(DocumentError, match=r"^cannot read the video .*v\.mp4"):
        read_video(tmp_path / "v.mp4")


def test_sound_alone_is_no_video(tmp_path: Path) -> None:
    import wave

    with wave.open(str(tmp_path / "v.wav"), "wb") as sound:
        sound.setnchannels(1)
        sound.setsampwidth(2)
        sound.setframerate(8000)
        sound.writeframes(b"\0" * 1600)
    with pytest.raises(DocumentError, match=r"^expected a video, got .* without a video stream"):
        read_video(tmp_path / "v.wav")


@pytest.mark.parametrize("name", ["none.mp4", ".", "a\0b"])
def test_no_such_file(tmp_path: Path, name: str) -> None:
    with pytest.raises(DocumentError, match="cannot read the video"):
        next(read_frames(f"{tmp_path}/{name}"))


def test_addresses_are_names_of_files() -> None:
    with pytest.raises(DocumentError, match="No such file"):
        read_video("http://127.0.0.1:9/v.mp4")


def test_without_pyav(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(MissingExtraError, match=r"diagplan\[video\]"):
        VideoWriter(tmp_path / "v.mp4")


def test_a_device_is_not_replaced() -> None:
    with pytest.raises(VideoError, match="what is written needs a file of its own"):
        VideoWriter("/dev/null")
    assert not Path("/dev/null").is_file()


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.m3u8", "#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\n{url}\n#EXT-X-ENDLIST\n"),
        ("a.mp4", "#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\n{url}\n#EXT-X-ENDLIST\n"),
        ("a.mp4", "ffconcat version 1.0\nfile {sibling}\n"),
        ("a.mp4", "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=video {port} RTP/AVP 96\n"),
        ("a.mpd", '<?xml version="1.0"?><MPD><Period><BaseURL>{url}</BaseURL></Period></MPD>'),
    ],
    ids=["hls", "hls named mp4", "concat", "sdp", "dash"],
)
def test_nothing_but_the_file_is_read(tmp_path: Path, name: str, text: str) -> None:
    """Playlists and descriptions lead to other files and to the network: a server here must see nothing."""
    seen: list[str] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            seen.append(self.path)
            self.send_error(404)

        def log_message(self, *_: object) -> None:
            pass

    write(tmp_path / "sibling.mp4", tiles(3))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        port = server.server_address[1]
        filled = text.format(url=f"http://127.0.0.1:{port}/a.ts", sibling="sibling.mp4", port=port)
        (tmp_path / name).write_text(filled)
        begin = time.monotonic()
        for read in (read_video, frame_rate):
            with pytest.raises(DocumentError, match="cannot read the video"):
                read(tmp_path / name)
        assert time.monotonic() - begin < 5
        server.shutdown()
    assert seen == []


def gif_of(side: int, frames: int) -> bytes:
    """A GIF of few bytes that says that it is large, and has frames of a few pixels."""
    data = gif([np.full((2, 2, 3), 40 * number, np.uint8) for number in range(3)], 6)
    begin = data.index(b"\x21\xf9")
    return data[:6] + side.to_bytes(2, "little") * 2 + data[10:begin] + data[begin:-1] * -(-frames // 3) + b";"


def test_a_small_file_of_large_frames_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "large.gif"
    path.write_bytes(gif_of(8192, 1))
    with pytest.raises(DocumentError, match=r"and 33,554,432 in all, got .* with 8192 x 8192\.$"):
        read_video(path)
    path.write_bytes(gif_of(300, 60))
    assert read_video(path).shape == (60, 300, 300, 3)
    monkeypatch.setattr("diagplan.video.files._MAX_BYTES", 10 << 20)
    monkeypatch.setattr("diagplan.video.files._EXPANSION", 1)
    with pytest.raises(DocumentError, match=r"take at most 10 MiB, got .* with more\. Cut it into shorter ones\.$"):
        read_video(path)
    assert len(read_video(path, limit=20)) == 20
