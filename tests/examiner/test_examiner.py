"""Whole files are known, hostile ones refused, and nothing that a file does reaches beyond its process."""

from __future__ import annotations

import io
import tempfile
import threading

import pytest
from PIL import Image

from playground import examiner
from playground.examiner import parent
from tests.examiner import files


def examine(data: bytes, **named) -> examiner.Found:
    with tempfile.TemporaryFile() as file:
        file.write(data)
        return examiner.examine(file, **named)


def reason(data: bytes, **named) -> str:
    with pytest.raises(examiner.Refusal) as refusal:
        examine(data, **named)
    assert str(refusal.value)
    return refusal.value.reason


@pytest.mark.parametrize("form", ["PNG", "JPEG", "WEBP", "GIF"])
def test_pictures(form):
    found = examine(files.picture(form))
    assert (found.media_type, found.width, found.height) == (f"image/{form.lower()}", 640, 400)
    with Image.open(io.BytesIO(found.thumbnail)) as small:
        assert (small.format, small.size) == ("WEBP", (320, 200))


@pytest.mark.parametrize("form", ["PNG", "JPEG", "WEBP", "GIF"])
@pytest.mark.parametrize("share", [0.01, 0.3, 0.9])
def test_cut_off_pictures(form, share):
    whole = files.picture(form)
    assert reason(whole[: int(len(whole) * share)]) in {"truncated", "broken"}


@pytest.mark.parametrize("mode", ["1", "L", "P", "LA", "RGBA", "I;16"])
def test_odd_modes(mode):
    out = io.BytesIO()
    Image.new(mode, (700, 500)).save(out, "PNG")
    assert examine(out.getvalue()).thumbnail


def test_small_pictures_are_their_own_thumbnail():
    assert examine(files.picture(size=(320, 100))).thumbnail == b""


def test_a_turned_photograph_stands_upright_and_its_thumbnail_does_not_tell_where_it_was_taken():
    data = files.turned()
    assert b"Exif" in data
    found = examine(data)
    assert (found.width, found.height) == (400, 640)
    with Image.open(io.BytesIO(found.thumbnail)) as small:
        assert small.size == (200, 320)
        assert not dict(small.getexif())
        assert "xmp" not in small.info
    assert b"EXIF" not in found.thumbnail


def test_damaged_camera_data_is_no_fault_of_the_picture():
    whole = files.turned()
    at = whole.index(b"Exif\0\0")
    assert examine(whole[: at + 6] + b"\xff" * 40 + whole[at + 46 :]).media_type == "image/jpeg"


@pytest.mark.parametrize("form", ["GIF", "WEBP", "PNG"])
def test_animations_are_decoded_frame_by_frame(form):
    found = examine(files.film(form))
    assert found.meta["frames"] == 5
    assert found.duration_ms == 200


def test_animations_without_end_are_refused():
    assert reason(files.film("GIF", frames=700, size=(2, 2))) == "too_many_frames"


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"", "empty"),
        (b"\0", "unsupported"),
        (b"plain words", "unsupported"),
        (b"<svg xmlns='http://www.w3.org/2000/svg' onload='alert(1)'/>", "unsupported"),
        (b"\xef\xbb\xbf  <!DOCTYPE html><script>alert(1)</script>", "unsupported"),
        (b"PK\x03\x04" + b"\0" * 100, "unsupported"),
        (b"\x1f\x8b" + b"\0" * 100, "unsupported"),
        (b"BM" + b"\0" * 100, "unsupported"),
        (b"II*\0" + b"\0" * 100, "unsupported"),
        (b"\x89PNG\r\n\x1a\n" + b"\xff" * 100, "broken"),
        (b"\xff\xd8\xff" + b"\0" * 100, "broken"),
        (b"GIF89a<script>alert(1)</script>", "broken"),
    ],
)
def test_what_is_no_medium(data, expected):
    assert reason(data) == expected


def test_bombs():
    assert reason(files.bomb()) == "too_many_pixels"
    assert reason(files.bomb(2_000_000_000)) in {"too_many_pixels", "broken"}
    assert reason(files.bomb(7000)) in {"truncated", "broken"}
    assert reason(files.text_bomb()) in {"broken", "too_complex"}


def test_a_file_that_takes_for_ever_is_given_up():
    data = files.picture(size=(2000, 2000))
    assert reason(data, seconds=0.05) == "too_complex"


def test_there_is_only_so_much_room(monkeypatch):
    monkeypatch.setattr(parent, "_room", threading.BoundedSemaphore(1))
    parent._room.acquire()
    with pytest.raises(examiner.Busy):
        examine(files.picture(), wait_seconds=0.05)
    parent._room.release()
    assert examine(files.picture()).width == 640


@pytest.mark.parametrize(
    "act",
    [
        "open('/etc/passwd')",
        "open('/tmp/vitrine-escape', 'w')",
        "__import__('socket').socket()",
        "__import__('os').fork()",
        "bytearray(2 * 2**30)",
    ],
)
def test_the_process_can_do_nothing_but_read(monkeypatch, act):
    """As if a decoder had been taken over: what it tries is run in the place of the look."""
    child = (
        "import sys; sys.path.insert(0, sys.argv[1]); import os, socket; from playground.examiner import child\n"
        f"def look(file, size):\n    try:\n        {act}\n    except (OSError, MemoryError):\n"
        "        return {'media_type': 'image/png', 'width': 1, 'height': 1}\n"
        "    return {'media_type': 'image/png', 'width': 2, 'height': 2}\n"
        "child.look = look; child.main('look')"
    )
    monkeypatch.setattr(parent, "_START", child)
    assert examine(b"x").width == 1


@pytest.mark.parametrize(
    "said",
    [
        "print('no json')",
        "print('[]')",
        "print('{}')",
        'print(\'{"media_type": "text/html"}\')',
        'print(\'{"media_type": "image/png", "width": -1}\')',
        'print(\'{"media_type": "image/png", "width": "1"}\')',
        "import os; os.kill(os.getpid(), 9)",
        "import sys; sys.exit(1)",
        "1 / 0",
    ],
)
def test_what_the_process_says_is_not_believed(monkeypatch, said):
    monkeypatch.setattr(parent, "_START", said)
    assert reason(b"x") in {"broken", "too_complex"}


def test_a_thumbnail_that_is_none_is_dropped(monkeypatch):
    said = 'print(\'{"media_type": "image/png", "width": 9, "height": 9}\\n<script>\', end="")'
    monkeypatch.setattr(parent, "_START", said)
    assert examine(b"x").thumbnail == b""


def test_sound():
    found = examine(files.wav(1.5))
    assert (found.media_type, found.duration_ms, found.meta) == ("audio/wav", 1500, {"channels": 1})
    assert reason(files.wav()[:-100]) == "truncated"
    assert reason(files.wav(0)) == "empty"
    assert reason(files.wav().replace(b"\1\0\1\0", b"\2\0\1\0", 1)) == "unsupported"
    assert reason(b"RIFF\0\0\0\0WAVE") == "broken"
    for data in (
        files.mp3(),
        files.mp3(tag=b"ID3\4\0\0\0\0\0\x0a" + b"\0" * 10),
        files.mp3() + b"TAG" + b"\0" * 125,
    ):
        found = examine(data)
        assert (found.media_type, found.duration_ms) == ("audio/mpeg", 1306)
    assert examine(files.mp3()[:-100]).duration_ms == 1279
    assert reason(files.mp3(1)) == "broken"
    assert reason(files.mp3(20) + b"\1" * 10_000) == "broken"
    assert reason(b"ID3\4\0\0\0\0\x7f\x7f" + b"\0" * 10) == "truncated"
    xing = bytearray(files.mp3(50))
    xing[36:48] = b"Xing" + (1).to_bytes(4, "big") + (5000).to_bytes(4, "big")
    assert reason(bytes(xing)) == "truncated"


def test_films():
    found = examine(files.mp4())
    assert (found.media_type, found.width, found.height, found.duration_ms) == ("video/mp4", 320, 240, 2500)
    assert examine(files.mp4(kind=b"soun")).media_type == "audio/mp4"
    assert reason(files.mp4()[:-10]) == "truncated"
    assert reason(files.mp4()[:90]) == "truncated"
    assert reason(files.mp4(at=10**6)) == "truncated"
    assert reason(files.mp4(width=0)) == "broken"
    assert reason(files.mp4(brand=b"avif")) == "unsupported"
    assert reason(files.mp4(brand=b"qt  ")) == "unsupported"
    for live in (False, True):
        found = examine(files.webm(live=live))
        assert (found.media_type, found.width, found.height) == ("video/webm", 640, 480)
        assert found.duration_ms == (900 if live else 1500)
    assert examine(files.webm(kind=2)).media_type == "audio/webm"
    assert reason(files.webm()[:-3]) == "truncated"
    assert reason(files.webm(doc=b"matroska")) == "unsupported"
    assert reason(b"\x1aE\xdf\xa3" + b"\0" * 50) in {"broken", "truncated"}


def test_models():
    found = examine(files.glb())
    assert (found.media_type, found.meta) == ("model/gltf-binary", {"meshes": 1})
    assert reason(files.glb()[:-3]) == "truncated"
    assert reason(files.glb() + b"more") == "broken"
    assert reason(files.glb(binary=b"\0" * 8)) == "truncated"
    outside = {
        "asset": {"version": "2.0"},
        "buffers": [{"byteLength": 1, "uri": "https://example.com/a.bin"}],
    }
    assert reason(files.glb(outside)) == "unsupported"
    assert reason(files.glb({"asset": 1})) == "broken"
    assert reason(files.glb().replace(b"glTF\2", b"glTF\1", 1)) == "unsupported"


@pytest.mark.parametrize(
    ("declared", "found", "right"),
    [
        ("", "image/png", True),
        ("application/octet-stream", "image/png", True),
        ("image/png; charset=x", "image/png", True),
        ("image/jpg", "image/jpeg", True),
        ("image/jpeg", "image/png", False),
        ("text/html", "image/png", False),
        ("video/mp4", "audio/mp4", True),
        ("audio/x-wav", "audio/wav", True),
    ],
)
def test_what_is_declared_must_agree(declared, found, right):
    assert examiner.agree(declared, found) is right


def with_hole(mode: str = "RGBA", form: str = "PNG") -> bytes:
    picture = Image.new("RGBA", (40, 30), (200, 90, 10, 255))
    picture.paste((0, 0, 0, 0), (10, 10, 20, 20))
    out = io.BytesIO()
    picture.convert(mode).save(out, form)
    return out.getvalue()


@pytest.mark.parametrize(("mode", "form"), [("RGBA", "PNG"), ("LA", "PNG"), ("RGBA", "WEBP")])
def test_a_mask_is_white_where_the_picture_is_transparent(mode, form):
    with Image.open(io.BytesIO(examiner.holes(with_hole(mode, form)))) as mask:
        assert (mask.format, mask.mode, mask.size) == ("PNG", "L", (40, 30))
        assert mask.getpixel((15, 15)) == 255
        assert mask.getpixel((5, 5)) == 0


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"", "empty"),
        (files.picture(), "mismatch"),
        (files.wav(), "mismatch"),
        (files.bomb(), "too_many_pixels"),
        (b"<svg/>", "unsupported"),
    ],
)
def test_of_what_no_mask_is_made(data, why):
    with pytest.raises(examiner.Refusal) as refusal:
        examiner.holes(data)
    assert refusal.value.reason == why
