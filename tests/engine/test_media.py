"""Films, sounds, meshes and pictures as files and back, and files that are none."""

from __future__ import annotations

import base64
import io
import json
import struct
import threading
import tracemalloc
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageFile

from playground import examiner
from tests.examiner import files
from workers.engine import EngineError, ffmpeg, films, meshes, pictures, sounds
from workers.engine.families.diffusers import inputs, outputs, traits

RATE = 8000


def scene(frames: int = 9, *, width: int = 48, height: int = 32) -> np.ndarray:
    """A bright square that moves over a dark ground."""
    made = np.full((frames, height, width, 3), 40, np.uint8)
    for number in range(frames):
        made[number, 8:24, 2 + 2 * number : 18 + 2 * number] = (200, 120, 60)
    return made


def tone(seconds: float = 0.5, *, channels: int = 2) -> np.ndarray:
    wave = 0.5 * np.sin(2 * np.pi * 440 * np.arange(int(seconds * RATE)) / RATE)
    return np.tile(wave, (channels, 1)).astype(np.float32)


def test_a_film_is_whole_bare_and_the_same_each_time() -> None:
    made = films.encode(scene(), fps=8, seed=3)
    found = examiner.look(made.data)
    assert (found.media_type, found.width, found.height, found.duration_ms) == ("video/mp4", 48, 32, 1125)
    assert (made.width, made.height, made.duration_s) == (48, 32, 1.125)
    assert made.data == films.encode(scene(), fps=8, seed=3).data
    assert b"x264" not in made.data
    assert b"Lavf" not in made.data
    assert made.data.index(b"moov") < made.data.index(b"mdat")
    assert made.poster is not None
    assert Image.open(io.BytesIO(made.poster)).size == (48, 32)


def test_a_film_comes_back_as_its_frames() -> None:
    made = films.encode(scene(), fps=8, seed=0)
    frames = films.decode(made.data, "video/mp4", most=6)
    assert len(frames) == 6
    error = np.abs(np.asarray(frames[5]).astype(int) - scene()[5].astype(int)).mean()
    assert error < 8


def test_a_film_with_ten_bits_a_colour_comes_back_with_eight() -> None:
    arguments = ["-f", "rawvideo", "-pix_fmt", "rgb24", "-s", "48x32", "-r", "8", "-i", "pipe:0"]
    arguments += ["-c:v", "libx264", "-pix_fmt", "yuv420p10le"]
    deep = ffmpeg.encode(arguments, feed=scene().tobytes(), suffix=".mp4")
    frames = films.decode(deep, "video/mp4", most=3)
    assert [(one.mode, one.size) for one in frames] == [("RGB", (48, 32))] * 3


def running() -> list[int]:
    """The programs of that name that this thread has started and that live."""
    found = Path(f"/proc/self/task/{threading.get_native_id()}/children").read_text().split()
    return [int(one) for one in found if Path(f"/proc/{one}/comm").read_text().startswith("ffmpeg")]


def test_no_more_of_a_film_is_held_than_is_kept_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    made = films.encode(scene(9), fps=8, seed=0)
    monkeypatch.setattr(films, "MAX_FILM_PIXELS", 9 * 24 * 16)
    seen: list[int] = []

    def small(frame: Image.Image) -> Image.Image:
        seen.append(len(seen))
        return frame.resize((24, 16))

    assert [one.size for one in films.decode(made.data, "video/mp4", most=9, shape=small)] == [(24, 16)] * 9
    assert len(seen) == 9
    with pytest.raises(EngineError, match="too long or too large") as caught:
        films.decode(made.data, "video/mp4", most=9)
    assert caught.value.code == "invalid_input"
    assert len(films.decode(made.data, "video/mp4", most=2)) == 2
    assert running() == []


class Enough(Exception):
    """Whoever waited does not any more."""


@pytest.mark.parametrize("goes_on", ["-f null", "-f rawvideo -pix_fmt rgb24"])
def test_reading_a_film_ends_at_once_when_nobody_waits_for_it(goes_on: str) -> None:
    """Frames in a circle, for ever: once in silence, once more than anybody reads."""
    made = films.encode(scene(3), fps=8, seed=0)
    beats: list[list[int]] = []

    def beat() -> None:
        beats.append(running())
        if len(beats) == 2:
            raise Enough

    arguments = ["-vf", "loop=loop=-1:size=3:start=0", *goes_on.split()]

    def read() -> None:
        with ffmpeg.decoding(made.data, "video/mp4", arguments, beat=beat) as output:
            while output.read(48 * 32 * 3):
                pass

    with pytest.raises(Enough):
        read()
    assert [len(one) for one in beats] == [1, 1]
    assert running() == []


def test_writing_a_film_ends_at_once_when_nobody_waits_for_it() -> None:
    def beat() -> None:
        raise Enough

    endless = ["-f", "lavfi", "-i", "testsrc=size=64x48:rate=25", "-c:v", "libx264"]
    with pytest.raises(Enough):
        ffmpeg.encode(endless, feed=b"", suffix=".mp4", beat=beat)
    assert running() == []


def test_a_program_that_said_all_and_does_not_end_is_ended_when_nobody_waits_for_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stays = tmp_path / "ffmpeg"
    stays.write_text("#!/bin/sh\nexec >&-\nwhile :; do :; done\n")
    stays.chmod(0o700)
    monkeypatch.setattr(ffmpeg, "program", lambda: str(stays))

    def beat() -> None:
        raise Enough

    with pytest.raises(Enough):
        ffmpeg.decode(b"a film", "video/mp4", [], most_bytes=1, beat=beat)
    assert running() == []


def test_what_takes_too_long_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    made = films.encode(scene(3), fps=8, seed=0)
    monkeypatch.setattr(ffmpeg, "SECONDS", 0.1)
    with pytest.raises(EngineError, match="too long"):
        ffmpeg.decode(
            made.data, "video/mp4", ["-vf", "loop=loop=-1:size=3:start=0", "-f", "null"], most_bytes=9
        )
    endless = ["-f", "lavfi", "-i", "testsrc=size=64x48:rate=25", "-c:v", "libx264"]
    with pytest.raises(EngineError, match="took too long"):
        ffmpeg.encode(endless, feed=b"", suffix=".mp4")
    assert running() == []


def test_a_film_of_odd_size_loses_its_last_row_and_column() -> None:
    made = films.encode(scene(3, width=35, height=33), fps=24, seed=0)
    assert (made.width, made.height) == (34, 32)
    assert examiner.look(made.data).width == 34


def test_a_film_has_its_sound() -> None:
    silent = films.encode(scene(8), fps=8, seed=0)
    for seconds in (0.3, 3.0):  # whose frames decide how long it lasts
        made = films.encode(scene(8), fps=8, seed=0, sound=(tone(seconds), RATE))
        found = examiner.look(made.data)
        assert found.media_type == "video/mp4"
        assert found.duration_ms == pytest.approx(1000, abs=2)
    heard = sounds.decode(made.data, "video/mp4", rate=RATE, channels=2)
    assert np.abs(heard).max() > 0.3
    with pytest.raises(EngineError):
        sounds.decode(silent.data, "video/mp4", rate=RATE, channels=2)


def test_a_sound_comes_back_as_its_samples() -> None:
    made = sounds.encode(tone() * 3, rate=RATE, seed=0)  # too loud: cut off, not wrapped around
    found = examiner.look(made.data)
    assert (found.media_type, found.duration_ms, found.meta["channels"]) == ("audio/wav", 500, 2)
    heard = sounds.decode(made.data, "audio/wav", rate=RATE, channels=2)
    assert heard.shape == (2, RATE // 2)
    assert np.abs(heard - np.clip(tone() * 3, -1, 1)).max() < 0.001
    assert sounds.decode(made.data, "audio/wav", rate=RATE // 2, channels=1, seconds=0.25).shape == (
        1,
        RATE // 8,
    )


PLAYLIST = b"#EXTM3U\n#EXTINF:10,\nfile:///etc/passwd\n"


@pytest.mark.parametrize("data", [b"", b"no film", PLAYLIST, b"\0" * 100_000, b"RIFF\x24\0\0\0WAVEfmt "])
@pytest.mark.parametrize("media_type", ["video/mp4", "video/webm", "audio/wav", "image/png", ""])
def test_what_is_no_film_and_no_sound_is_refused(data: bytes, media_type: str) -> None:
    for decode in (
        lambda: films.decode(data, media_type, most=3),
        lambda: sounds.decode(data, media_type, rate=RATE, channels=1),
    ):
        with pytest.raises(EngineError) as caught:
            decode()
        assert caught.value.code == "invalid_input"


def test_a_mesh_says_where_its_corners_are() -> None:
    corners = np.array([[0, 0, 0], [1, 0, 0], [0, 2, 0], [0, 0, 3]], np.float32)
    triangles = np.array([[0, 2, 1], [0, 1, 3], [0, 3, 2], [1, 2, 3]], np.int64)
    made = meshes.encode(corners, triangles, np.full((4, 3), 0.5, np.float32), seed=1)
    assert examiner.look(made.data).meta == {"meshes": 1}
    length, kind = struct.unpack("<I4s", made.data[12:20])
    assert kind == b"JSON"
    described = json.loads(made.data[20 : 20 + length])
    places = described["accessors"][0]
    assert (places["count"], places["min"], places["max"]) == (4, [0, 0, 0], [1, 2, 3])
    assert described["accessors"][-1]["count"] == 12
    assert set(described["meshes"][0]["primitives"][0]["attributes"]) == {"POSITION", "NORMAL", "COLOR_0"}
    binary = made.data[20 + length + 8 :]
    views = described["bufferViews"]
    normals = np.frombuffer(binary[views[1]["byteOffset"] :][: views[1]["byteLength"]], "<f4").reshape(-1, 3)
    assert np.allclose(np.linalg.norm(normals, axis=1), 1, atol=1e-5)
    outward = corners - corners.mean(axis=0)
    assert ((normals * outward).sum(axis=1) > 0).all()


def file(form: str, picture: Image.Image, **options: object) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, form, **options)
    return buffer.getvalue()


def test_a_picture_comes_upright_and_of_an_animation_the_first_frame() -> None:
    tall = Image.new("RGB", (20, 40), "red")
    exif = Image.Exif()
    exif[0x0112] = 6
    assert pictures.decode(file("JPEG", tall, exif=exif)).size == (40, 20)
    red, blue = Image.new("RGB", (8, 8), "red"), Image.new("RGB", (8, 8), "blue")
    first = pictures.decode(file("GIF", red, save_all=True, append_images=[blue]))
    assert first.convert("RGB").getpixel((0, 0)) == (255, 0, 0)
    glass = pictures.decode(file("PNG", Image.new("RGBA", (8, 8), (0, 0, 0, 0))))
    assert glass.mode == "RGBA"


def broad_frame() -> bytes:
    """A GIF of one pixel, whose frame is gigantic."""
    data = bytearray(file("GIF", Image.new("P", (4, 4))))
    at = data.index(b",\0\0\0\0\4\0\4\0")
    data[6:10], data[at + 5 : at + 9] = struct.pack("<HH", 1, 1), struct.pack("<HH", 9000, 9000)
    return bytes(data)


def broad_canvas() -> bytes:
    """An animated WebP that says that its canvas is gigantic."""
    still = Image.new("RGB", (8, 8))
    data = bytearray(file("WEBP", still, save_all=True, append_images=[Image.new("RGB", (8, 8), "red")]))
    at = data.index(b"VP8X")
    data[at + 12 : at + 18] = struct.pack("<I", 8999)[:3] * 2
    return bytes(data)


HOSTILE = {
    "a bomb": (lambda: files.bomb(), "megapixels"),
    "a bomb with a warning": (lambda: files.bomb(9000), "megapixels"),
    "a broad frame": (broad_frame, "megapixels"),
    "a broad canvas": (broad_canvas, "megapixels"),
    "a gigabyte of text": (lambda: files.text_bomb(), "cannot be decoded"),
    "half a PNG": (lambda: half(file("PNG", NOISE)), "cut off"),
    "half a JPEG": (lambda: half(file("JPEG", NOISE)), "cut off"),
    "half a WebP": (lambda: half(file("WEBP", NOISE)), "cannot be decoded"),
    "half a GIF": (lambda: half(file("GIF", NOISE)), "cut off"),
    "a TIFF": (lambda: file("TIFF", NOISE), "cannot be decoded"),
    "a program of PostScript": (
        lambda: b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n",
        "cannot be decoded",
    ),
    "a drawing": (lambda: b'<svg xmlns="http://www.w3.org/2000/svg"/>', "cannot be decoded"),
}
NOISE = Image.effect_noise((160, 120), 60).convert("RGB")


def half(data: bytes) -> bytes:
    return data[: len(data) // 2]


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_picture_is_refused_with_its_reason_before_it_costs_anything(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    make, says = HOSTILE[name]
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", True)  # as a library might
    data = make()
    tracemalloc.start()
    try:
        with pytest.raises(EngineError, match=says) as caught:
            pictures.decode(data)
        assert tracemalloc.get_traced_memory()[1] < 64 * 2**20
    finally:
        tracemalloc.stop()
    assert caught.value.code == "invalid_input"


def test_a_file_of_more_bytes_than_are_taken_is_refused_before_it_is_decoded(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(inputs, "MAX_FILE_BYTES", 300)
    assert inputs.contents(address(bytes(300)))[1] == bytes(300)
    with pytest.raises(EngineError, match="larger than"):
        inputs.contents(address(bytes(400)))


def test_a_film_of_frames_that_are_too_large_is_refused_by_its_decoder(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    made = films.encode(scene(3), fps=8, seed=0)
    monkeypatch.setattr(ffmpeg, "MAX_PIXELS", 48 * 32 - 1)
    with pytest.raises(EngineError) as caught:
        films.decode(made.data, "video/mp4", most=3)
    assert caught.value.code == "invalid_input"


@pytest.mark.parametrize("codec", ["ffv1", "png"])
def test_a_film_of_another_codec_is_refused(codec: str) -> None:
    arguments = ["-f", "rawvideo", "-pix_fmt", "rgb24", "-s", "48x32", "-r", "8", "-i", "pipe:0"]
    arguments += ["-c:v", codec, "-f", "matroska"]
    made = ffmpeg.encode(arguments, feed=scene(3).tobytes(), suffix=".webm")
    with pytest.raises(EngineError) as caught:
        films.decode(made, "video/webm", most=3)
    assert caught.value.code == "invalid_input"


@pytest.mark.parametrize("data", [b"", b"GIF89a", b"\x89PNG\r\n\x1a\n" + b"\0" * 50, PLAYLIST])
def test_what_is_no_picture_is_refused(data: bytes) -> None:
    with pytest.raises(EngineError) as caught:
        pictures.decode(data)
    assert caught.value.code == "invalid_input"


def test_a_picture_that_is_too_large_is_refused_before_it_is_decoded() -> None:
    with pytest.raises(EngineError, match="megapixels"):
        pictures.decode(file("PNG", Image.new("1", (9000, 9000))))
    bomb = bytearray(file("PNG", Image.new("1", (8, 8))))
    bomb[16:24] = struct.pack(">II", 60_000, 60_000)
    bomb[29:33] = struct.pack(">I", zlib.crc32(bomb[12:29]))
    with pytest.raises(EngineError) as caught:
        pictures.decode(bytes(bomb))
    assert caught.value.code == "invalid_input"


def address(data: bytes, media_type: str = "image/png") -> str:
    return f"data:{media_type};base64,{base64.b64encode(data).decode()}"


@pytest.mark.parametrize("value", ["", "a_01jq", "data:image/png;base64", "data:image/png;base64,?", None, 3])
def test_a_file_that_is_not_there_is_said_to_be(value: object) -> None:
    with pytest.raises(EngineError) as caught:
        inputs.contents(value)
    assert caught.value.code == "invalid_input"


@pytest.mark.parametrize("shape", [(200_000, 1), (1, 200_000), (3000, 2000), (64, 64)])
@pytest.mark.parametrize("asked", [{}, {"width": 1536}, {"height": 1536}])
def test_no_shape_of_a_picture_makes_more_than_the_form_offers(
    shape: tuple[int, int], asked: dict[str, int]
) -> None:
    taken = inputs.Inputs({"image", "prompt", "width", "height"}, traits.CLASSES["FluxKontextPipeline"])
    given = {"prompt": "x", "seed": 1, "image": address(file("PNG", Image.new("1", shape))), **asked}
    size = taken.files(given).size
    assert size is not None
    assert size[0] * size[1] <= 1536 * 1536
    assert size[0] % 16 == size[1] % 16 == 0
    assert all(side in size for side in asked.values())


def test_pictures_and_masks_are_brought_to_the_size_of_what_is_made() -> None:
    taken = inputs.Inputs(
        {"image", "mask_image", "prompt", "width", "height"}, traits.CLASSES["FluxFillPipeline"]
    )
    half = Image.new("RGBA", (100, 60), (0, 0, 0, 0))
    half.paste((9, 9, 9, 255), (0, 0, 50, 60))
    asked = {
        "prompt": "x",
        "seed": 1,
        "image": address(file("PNG", half)),
        "mask_image": address(file("PNG", half)),
    }
    taken.check(asked)
    found = taken.files(asked)
    assert found.size == (96, 48)
    picture, mask = found.arguments["image"], found.arguments["mask_image"]
    assert isinstance(picture, Image.Image)
    assert isinstance(mask, Image.Image)
    assert (picture.size, picture.mode, picture.getpixel((90, 20))) == ((96, 48), "RGB", (255, 255, 255))
    assert (mask.mode, mask.getpixel((10, 20)), mask.getpixel((90, 20))) == ("L", 255, 0)
    with pytest.raises(EngineError, match="mask_image"):
        taken.check({**asked, "mask_image": None})


@pytest.mark.parametrize(
    ("made", "says"),
    [
        (outputs.Made("image", torch.full((3, 8, 8), float("nan"))), "no colours"),
        (outputs.Made("video", torch.zeros(2, 3, 8, 8)), "film came out black"),
        (outputs.Made("audio", torch.zeros(2, 100), rate=RATE), "silent"),
        (outputs.Made("audio", torch.full((2, 100), float("inf")), rate=RATE), "no numbers"),
        (
            outputs.Made("mesh", None, corners=torch.zeros(3, 3), triangles=torch.zeros(0, 3).long()),
            "mesh came out empty",
        ),
        (
            outputs.Made(
                "mesh", None, corners=torch.full((3, 3), float("nan")), triangles=torch.ones(1, 3).long()
            ),
            "no numbers",
        ),
    ],
)
def test_what_cannot_be_kept_is_said_to_be(made: outputs.Made, says: str) -> None:
    fault = outputs.fault(made)
    assert fault is not None
    assert fault.code == "unusable_output"
    assert says in fault.sentence
