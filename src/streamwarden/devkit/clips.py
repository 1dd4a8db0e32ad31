"""Clips that are encoded as real cameras encode, to be looped into the media server."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from streamwarden.devkit.video_source import LoopedClip

FPS: Final = 10
_ENCODED_WITHIN_S: Final = 60
_SMALL, _LARGER = "160x120", "320x240"


@dataclass(frozen=True, slots=True, kw_only=True)
class ClipKind:
    """The encoding of a clip. Several ``sizes`` follow one another within one stream."""

    video: tuple[str, ...]
    audio: tuple[str, ...] = ()
    key_frame_every_s: int = 1
    seconds: int = 6
    sizes: tuple[str, ...] = (_SMALL,)


_X264: Final = ("-c:v", "libx264", "-preset", "ultrafast", "-pix_fmt", "yuv420p", "-threads", "1")
_H264: Final = (*_X264, "-profile:v", "baseline")
_B_FRAMES: Final = (*_X264, "-profile:v", "main", "-bf", "2", "-b_strategy", "0")
_H265: Final = ("-c:v", "libx265", "-preset", "ultrafast", "-pix_fmt", "yuv420p",
                "-x265-params", "log-level=error:pools=1:frame-threads=1:bframes=0")  # fmt: skip
# RTP carries JPEG with the standard's own tables only (RFC 2435, section 3.1.8 and appendix A).
_MJPEG: Final = ("-c:v", "mjpeg", "-pix_fmt", "yuvj420p", "-huffman", "default",
                 "-force_duplicated_matrix", "1", "-q:v", "8")  # fmt: skip
_VP8: Final = ("-c:v", "libvpx", "-deadline", "realtime", "-cpu-used", "8", "-b:v", "200k")
_AAC: Final = ("-c:a", "aac", "-b:a", "32k", "-ar", "16000")
_G711: Final = ("-c:a", "pcm_alaw", "-ar", "8000", "-ac", "1")

KINDS: Final[Mapping[str, ClipKind]] = {
    "H.264, no sound": ClipKind(video=_H264),
    "H.264 with B-frames, AAC": ClipKind(video=_B_FRAMES, audio=_AAC),
    "H.264, G.711": ClipKind(video=_H264, audio=_G711),
    "H.264, a key frame in 10 s": ClipKind(video=_H264, key_frame_every_s=10, seconds=20),
    "H.264 that changes its size": ClipKind(video=_H264, seconds=4, sizes=(_SMALL, _LARGER)),
    "H.265, AAC": ClipKind(video=_H265, audio=_AAC),
    "MJPEG": ClipKind(video=_MJPEG),
    "VP8": ClipKind(video=_VP8),
}
"""The kinds by name."""


def make_clip(ffmpeg: str, kind: ClipKind, folder: Path) -> LoopedClip:
    """Encode a clip of ``kind`` into ``folder``; raise CalledProcessError if FFmpeg cannot."""
    parts = [_encode(ffmpeg, kind, size, folder) for size in kind.sizes]
    return LoopedClip(parts[0] if len(parts) == 1 else _joined(ffmpeg, parts, folder))


def _encode(ffmpeg: str, kind: ClipKind, size: str, folder: Path) -> Path:
    distance = str(FPS * kind.key_frame_every_s)
    graph = f"testsrc2=size={size}:rate={FPS}[out0]" + (";sine[out1]" if kind.audio else "")
    # Concatenated as bytes, which only the Annex B format (H.264, annex B) permits.
    path = folder / (f"{size}.h264" if len(kind.sizes) > 1 else "clip.mkv")
    _run([ffmpeg, "-f", "lavfi", "-i", graph, "-t", str(kind.seconds), *kind.video,
          "-g", distance, "-keyint_min", distance, *kind.audio, str(path)])  # fmt: skip
    return path


def _joined(ffmpeg: str, parts: list[Path], folder: Path) -> Path:
    both, path = folder / "both.h264", folder / "clip.ts"
    both.write_bytes(b"".join(part.read_bytes() for part in parts))
    _run([ffmpeg, "-framerate", str(FPS), "-i", str(both), "-c", "copy", str(path)])
    return path


def _run(argv: list[str]) -> None:
    quiet = [argv[0], "-hide_banner", "-nostdin", "-y", "-loglevel", "error", *argv[1:]]
    subprocess.run(quiet, check=True, capture_output=True, timeout=_ENCODED_WITHIN_S)  # noqa: S603  # our FFmpeg
