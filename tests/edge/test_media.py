"""Media by capability: ranges, conditions, what is shown inline, and what a stranger can try."""

from __future__ import annotations

import base64
import os
from datetime import timedelta

import pytest
from django.core.files.storage import default_storage
from django.utils import timezone

from playground import assets
from playground.edge import media
from playground.edge.ranges import NotSatisfiable, Span, names, span_of
from playground.models import Asset
from tests.edge.asgi import ask, run
from tests.predictions import cast

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def asset(world):
    """A picture of several chunks, from one run."""
    cast.submit(world.ada)
    (job,) = cast.claim()
    assert cast.succeed(job, data=noise())
    media._known.clear()
    return Asset.objects.get()


def noise(edge: int = 640) -> bytes:
    import io

    from PIL import Image

    out = io.BytesIO()
    Image.frombytes("RGB", (edge, edge), os.urandom(edge * edge * 3)).save(out, "PNG")
    return out.getvalue()


def content(asset) -> bytes:
    with default_storage.open(asset.storage_name) as file:
        return file.read()


def get(path, method="GET", **headers):
    headers = {name.replace("_", "-"): value for name, value in headers.items()}
    return run(ask(method, path, headers=headers))


def test_a_whole_picture_comes_with_all_that_keeps_it_harmless(asset):
    whole = content(asset)
    assert len(whole) > 2 * media.CHUNK_BYTES
    answer = get(assets.address(asset))
    assert (answer.status, answer.body) == (200, whole)
    said = answer.headers
    assert said["content-type"] == "image/png"
    assert said["etag"] == f'"{asset.sha256}"'
    assert said["content-length"] == str(len(whole))
    assert said["content-disposition"] == f'inline; filename="{asset.uid}.png"'
    assert said["x-content-type-options"] == "nosniff"
    assert "sandbox" in said["content-security-policy"]
    assert said["referrer-policy"] == "no-referrer"
    assert said["accept-ranges"] == "bytes"
    assert said["cache-control"].startswith("private, max-age=")
    assert said["x-request-id"]


def test_head_tells_the_same_without_the_bytes(asset):
    answer = get(assets.address(asset), "HEAD")
    assert (answer.status, answer.body) == (200, b"")
    assert answer.headers["content-length"] == str(asset.size)


@pytest.mark.parametrize(
    ("wanted", "start", "end"),
    [
        ("bytes=0-0", 0, 1),
        ("bytes=0-", 0, None),
        ("bytes=100-299", 100, 300),
        ("bytes=300000-999999999", 300_000, None),
        ("bytes=-500", -500, None),
        ("BYTES = 5-9", 5, 10),
    ],
)
def test_one_range(asset, wanted, start, end):
    whole = content(asset)
    answer = get(assets.address(asset), Range=wanted)
    assert (answer.status, answer.body) == (206, whole[start:end])
    first = start % len(whole)
    last = (end or len(whole)) - 1
    assert answer.headers["content-range"] == f"bytes {first}-{last}/{len(whole)}"
    assert answer.headers["content-length"] == str(len(answer.body))


@pytest.mark.parametrize(
    "wanted", ["bytes=0-1,5-6", "bytes=9-5", "bytes=a-b", "items=0-5", "bytes=-", "bytes", "bytes=--5"]
)
def test_what_is_no_single_range_gets_the_whole(asset, wanted):
    answer = get(assets.address(asset), Range=wanted)
    assert (answer.status, len(answer.body)) == (200, asset.size)


@pytest.mark.parametrize("wanted", ["bytes=99999999-", "bytes=-0"])
def test_a_range_beyond_the_end(asset, wanted):
    answer = get(assets.address(asset), Range=wanted)
    assert (answer.status, answer.body) == (416, b"")
    assert answer.headers["content-range"] == f"bytes */{asset.size}"


def test_conditions(asset):
    path, etag = assets.address(asset), f'"{asset.sha256}"'
    for listed in (etag, f"W/{etag}", f'"x", {etag}', "*"):
        answer = get(path, If_None_Match=listed)
        assert (answer.status, answer.body) == (304, b"")
        assert answer.headers["etag"] == etag
    assert get(path, If_None_Match='"other"').status == 200
    assert get(path, Range="bytes=0-4", If_Range=etag).status == 206
    assert get(path, Range="bytes=0-4", If_Range='"other"').status == 200
    assert get(path, Range="bytes=0-4", If_Range="Wed, 21 Oct 2015 07:28:00 GMT").status == 200


def test_download_and_foreign_types_are_attachments(asset):
    assert get(assets.address(asset) + "?download").headers["content-disposition"].startswith("attachment")
    Asset.objects.update(media_type="image/svg+xml")
    media._known.clear()
    assert get(assets.address(asset)).headers["content-disposition"].startswith("attachment")


def test_a_thumbnail_is_another_file(asset):
    answer = get(assets.thumbnail_address(asset))
    assert answer.headers["content-type"] == "image/webp"
    assert answer.headers["etag"] != f'"{asset.sha256}"'
    with default_storage.open(asset.thumbnail_name) as file:
        assert answer.body == file.read()


def hostile(asset):
    token = assets.address(asset).split("/")[2]
    raw = bytearray(base64.urlsafe_b64decode(token + "=" * (-len(token) % 4)))
    flipped = bytes([raw[0] ^ 1, *raw[1:]])
    longer = bytes(raw[:17]) + (2**39).to_bytes(5, "big") + bytes(raw[22:])
    yield from (base64.urlsafe_b64encode(one).rstrip(b"=").decode() for one in (flipped, longer))
    yield from (
        "",
        "x",
        "a" * 5000,
        "é" * 22,
        "..",
        "%2e%2e",
        "\0",
        token[:-1],
        token + "A",
        token.swapcase(),
    )


def test_a_forged_or_damaged_address_opens_nothing(asset):
    for token in hostile(asset):
        answer = get(f"/media/{token}/{asset.uid}.png")
        assert (answer.status, answer.headers["content-type"]) == (404, "application/problem+json"), token
    token = assets.address(asset).split("/")[2]
    for name in ("", "a" * 201):
        assert get(f"/media/{token}/{name}").status == 404
    assert get(f"/media/{token}").status == 404


def test_the_name_in_the_address_decides_nothing(asset):
    token = assets.address(asset).split("/")[2]
    answer = get(f'/media/{token}/x.html";evil="/../../etc/passwd')
    assert answer.headers["content-type"] == "image/png"
    assert answer.headers["content-disposition"] == f'inline; filename="{asset.uid}.png"'


def test_what_is_over_or_gone_is_gone(asset):
    path = assets.address(asset)
    assert get(path).status == 200
    default_storage.delete(asset.storage_name)
    assert get(path).status == 404
    media._known.clear()
    Asset.objects.update(expires_at=timezone.now() - timedelta(seconds=1))
    assert get(path).status == 404
    asset.refresh_from_db()
    assert get(assets.address(asset)).status == 404


def test_media_can_only_be_read(asset):
    answer = get(assets.address(asset), "DELETE")
    assert (answer.status, answer.headers["allow"]) == (405, "GET, HEAD")


@pytest.mark.parametrize(
    ("wanted", "size", "span"),
    [
        ("bytes=0-9", 10, Span(0, 10)),
        ("bytes=-20", 10, Span(0, 10)),
        ("bytes=9-", 10, Span(9, 10)),
        ("bytes=" + "9" * 30 + "-", 10, None),
    ],
)
def test_spans(wanted, size, span):
    assert span_of(wanted, size) == span


def test_an_empty_file_has_no_ranges():
    with pytest.raises(NotSatisfiable):
        span_of("bytes=0-", 0)
    with pytest.raises(NotSatisfiable):
        span_of("bytes=-1", 0)
    assert names('"a", W/"b"', '"b"')
    assert not names("", '"b"')
