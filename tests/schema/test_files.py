"""File fields: what a value looks like, and where values are found."""

from __future__ import annotations

import base64
from uuid import UUID

import pytest

from marketplace import schema
from marketplace.ids import encode
from marketplace.schema import InvalidInput, clean, replace_files

PICTURE = {"type": "string", "x-media": ["image/png", "image/webp"]}
SCHEMA = {
    "type": "object",
    "properties": {
        "image": PICTURE,
        "more": {"type": "array", "items": PICTURE},
        "mask": {"type": "object", "properties": {"image": PICTURE, "note": {"type": "string"}}},
        "any": {"type": "string", "x-media": ["image/*"]},
    },
}
DATA = "data:image/png;base64," + base64.b64encode(b"picture").decode()
ASSET = encode(UUID("0197d4e0-5b3c-7c11-9d2e-6f0a8b1c2d3e"), "a")


def test_a_file_is_a_data_address_or_an_asset():
    given = {"image": DATA, "more": [ASSET, DATA], "mask": {"image": ASSET, "note": "soft"}, "any": DATA}
    assert clean(SCHEMA, given) == given


@pytest.mark.parametrize(
    "value", ["https://example.com/a.png", "HTTP://example.com", "/media/token/name.png"]
)
def test_a_file_may_be_at_an_address(value):
    assert clean(SCHEMA, {"image": value}) == {"image": value}


def test_a_file_may_be_longer_than_other_texts():
    large = "data:image/png;base64," + base64.b64encode(bytes(200_000)).decode()
    assert clean(SCHEMA, {"image": large}) == {"image": large}


@pytest.mark.parametrize(
    ("value", "code"),
    [
        ("ftp://example.com/a.png", "file"),
        ("https://", "file"),
        ("https://example.com/" + "a" * 2048, "file"),
        ("a_short", "file"),
        ("p" + ASSET[1:], "file"),
        ("data:image/png,raw", "file"),
        ("data:image/png;base64,", "file"),
        ("data:image/png;base64,a", "file"),
        ("data:image/png;base64,!!!!", "file"),
        ("data:image/gif;base64,AAAA", "media_type"),
        ("data:text/html;base64,AAAA", "media_type"),
        ("data:image/png;base64," + "A" * 14_000_000, "too_large"),
        (7, "type"),
    ],
)
def test_what_is_no_file_is_said(value, code):
    with pytest.raises(InvalidInput) as caught:
        clean(SCHEMA, {"image": value})
    (error,) = caught.value.errors
    assert (error.field, error.code) == ("image", code)


def test_errors_of_nested_files_name_their_place():
    with pytest.raises(InvalidInput) as caught:
        clean(SCHEMA, {"more": [DATA, "x"], "mask": {"image": "y"}})
    assert {error.field for error in caught.value.errors} == {"more[1]", "mask.image"}


def test_every_file_is_found_and_nothing_else_is_touched():
    seen = []

    def act(path, value, types):
        seen.append((path, types))
        return value.upper()

    given = {"image": "a", "more": ["b"], "mask": {"image": "c", "note": "d"}, "any": "e"}
    assert replace_files(SCHEMA, given, act) == {
        "image": "A",
        "more": ["B"],
        "mask": {"image": "C", "note": "d"},
        "any": "E",
    }
    assert [path for path, _ in seen] == ["image", "more[0]", "mask.image", "any"]


def test_types():
    assert schema.takes(("image/*",), "image/webp")
    assert not schema.takes(("image/*",), "imagery/webp")
    assert schema.takes((), "video/mp4")
