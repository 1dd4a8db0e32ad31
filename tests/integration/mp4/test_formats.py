"""What FFmpeg's own files say of their format, in the header and before their key frames."""

from __future__ import annotations

import subprocess
from pathlib import Path

import imageio_ffmpeg  # type: ignore[import-untyped]  # it ships no types
import pytest

from streamwarden.devkit.odd_camera import StreamLibrary
from streamwarden.ffmpeg.command import find_ffmpeg
from streamwarden.mp4.boxes import BoxReader
from streamwarden.mp4.formats import FormatAtEnd, format_at_end, format_of
from streamwarden.mp4.structure import read_structure

FFMPEGS = sorted({str(find_ffmpeg(None)), str(imageio_ffmpeg.get_ffmpeg_exe())})
FRAGMENTED = ("-movflags", "+frag_keyframe+empty_moov+default_base_moof")


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> StreamLibrary:
    return StreamLibrary(FFMPEGS[0], tmp_path_factory.mktemp("streams"))


@pytest.fixture(params=FFMPEGS)
def ffmpeg(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def file_with(ffmpeg: str, folder: Path, library: StreamLibrary, *names: str) -> Path:
    """Make a file as a recorder does of a camera that shows these streams one after the other."""
    raw, target = folder / "raw", folder / "file.mp4"
    parts = [library.encoded(f"{name}.{library.stream(name).codec}", ()) for name in names]
    raw.write_bytes(b"".join(part.read_bytes() for part in parts))
    kind = "hevc" if library.stream(names[0]).codec == "h265" else "h264"
    run(ffmpeg, "-f", kind, "-framerate", "10", "-i", str(raw), "-c", "copy", *FRAGMENTED, target)
    return target


def ends_of(path: Path) -> FormatAtEnd:
    with path.open("rb") as opened:
        file = BoxReader(opened.fileno())
        return format_at_end(file, read_structure(file, path.stat().st_size))


def run(ffmpeg: str, *arguments: str | Path) -> None:
    command = [ffmpeg, "-hide_banner", "-nostdin", "-v", "error", "-y", *map(str, arguments)]
    subprocess.run(command, check=True, capture_output=True, timeout=60)


@pytest.mark.parametrize("codec", ["h264", "h265"])
def test_a_new_size_is_seen_before_the_last_key_frame_and_not_in_the_header(
    ffmpeg: str, tmp_path: Path, library: StreamLibrary, codec: str
) -> None:
    ending = "_h265" if codec == "h265" else ""
    small, large = f"small{ending}", f"large{ending}"
    path = file_with(ffmpeg, tmp_path, library, small)
    header, seen = format_of(path), ends_of(path).sets
    assert (header.codec, header.width, header.height, header.sound) == (codec, 320, 240, None)
    assert header.sets == frozenset(library.stream(small).parameter_sets)
    assert seen is not None
    assert seen.in_header
    changed = ends_of(file_with(ffmpeg, tmp_path, library, small, large)).sets
    assert changed is not None
    assert (changed.in_header, changed.fingerprint == seen.fingerprint) == (False, False)
    back = ends_of(file_with(ffmpeg, tmp_path, library, small, large, small)).sets
    assert back == seen


def test_a_file_without_sets_before_its_key_frames_says_nothing(
    ffmpeg: str, tmp_path: Path, library: StreamLibrary
) -> None:
    path = file_with(ffmpeg, tmp_path, library, "small")
    bare = tmp_path / "bare.mp4"
    run(
        ffmpeg,
        "-i",
        path,
        "-c",
        "copy",
        "-bsf:v",
        "filter_units=remove_types=7-8",
        *FRAGMENTED,
        bare,
    )
    assert format_of(bare).sets == format_of(path).sets
    assert ends_of(bare).sets is None


def test_sound_is_told_apart_by_codec_and_configuration_and_not_by_its_bit_rate(
    ffmpeg: str, tmp_path: Path
) -> None:
    def sound(*encoder: str) -> object:
        target = tmp_path / "sound.mp4"
        graph = "testsrc2=size=64x64:rate=5[out0];sine=sample_rate=48000[out1]"
        run(
            ffmpeg,
            "-f",
            "lavfi",
            "-i",
            graph,
            "-t",
            "2",
            "-c:v",
            "libx264",
            *encoder,
            *FRAGMENTED,
            target,
        )
        return format_of(target).sound

    aac = ("-c:a", "aac", "-ac", "1")
    assert sound(*aac, "-b:a", "32k", "-ar", "16000") == sound(*aac, "-b:a", "64k", "-ar", "16000")
    others = {
        sound(*aac, "-ar", "16000"), sound(*aac, "-ar", "48000"),
        sound("-c:a", "aac", "-ac", "2", "-ar", "48000"),
        sound("-c:a", "libopus", "-ac", "1"), sound("-c:a", "libopus", "-ac", "2"),
    }  # fmt: skip
    assert len(others) == 5


def test_a_picture_without_parameter_sets_has_a_format_too(ffmpeg: str, tmp_path: Path) -> None:
    target = tmp_path / "jpeg.mp4"
    source = ("-f", "lavfi", "-i", "testsrc2=size=64x48:rate=5", "-t", "1", "-pix_fmt", "yuvj420p")
    run(ffmpeg, *source, "-c:v", "mjpeg", *FRAGMENTED, target)
    header = format_of(target)
    assert (header.codec, header.width, header.height, header.sets) == ("mp4v", 64, 48, frozenset())
    assert ends_of(target).sets is None
