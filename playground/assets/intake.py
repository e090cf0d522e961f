"""Taking the media of runs in: sniff, measure, make a thumbnail, write to storage, and only then write the row.

What our own engine has just encoded is decoded here and not in a process of its own, which would cost more than all the
rest of a run outside of its model; the files of strangers go through `uploads`. Films, sounds and meshes have their
structure walked, as the examiner does it; a film's picture comes with it, as nothing here decodes one.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from django.core.files.base import ContentFile
from django.core.files.storage import default_storage
from PIL import Image, UnidentifiedImageError

from marketplace.ids import encode, uuid7
from playground.examiner import Found, Refusal, extension_of, look
from playground.models import Asset, Prediction

_FORMATS = {"PNG": "image/png", "JPEG": "image/jpeg", "WEBP": "image/webp"}
ROOT_FOLDER = "assets"
MAX_PIXELS = 64_000_000
THUMBNAIL_EDGE = 320  # px of the longer side; twice the width of a history thumb at high density
THUMBNAIL_TYPE = "image/webp"
CHUNK_BYTES = 256 * 1024


class Unusable(ValueError):
    """The bytes are no medium that can be kept; the message says why."""


@dataclass(frozen=True, slots=True)
class Stored:
    """A medium that lies in storage but has no row yet: `keep` it, or `discard` it."""

    storage_name: str
    thumbnail_name: str
    sha256: str
    media_type: str
    size: int
    width: int | None
    height: int | None
    duration_ms: int | None = None
    meta: Mapping[str, object] = field(default_factory=dict)


def storage_path(root: str) -> str:
    """A new name in storage without its ending: `<root>/<time>/<two letters>/<name>`."""
    name = encode(uuid7())
    return f"{root}/{name[:6]}/{name[-2:]}/{name}"


def store(data: bytes, *, meta: Mapping[str, object] | None = None, poster: bytes = b"") -> Stored:
    """Write one medium to storage: a picture, decoded in full to prove that it is one, or a film, a sound or a mesh,
    found to be whole. `poster` is a small WebP to show for it. Raises Unusable."""
    if _is_other(data):
        try:
            found = look(data)
        except Refusal as refusal:
            raise Unusable(str(refusal)) from None
        return _write(data, found, _thumbnail(_decode(poster)[0]) if poster else b"", meta or {})
    picture, media_type = _decode(data)
    small = _thumbnail(picture) if max(picture.size) > THUMBNAIL_EDGE else b""
    found = Found(media_type, picture.width, picture.height, None, b"", {})
    return _write(data, found, small, meta or {})


def _is_other(data: bytes) -> bool:
    """A film, a sound or a mesh, by its first bytes."""
    return data[:4] == b"glTF" or data[4:8] == b"ftyp" or (data[:4] == b"RIFF" and data[8:12] == b"WAVE")


def _write(data: bytes, found: Found, thumbnail: bytes, meta: Mapping[str, object]) -> Stored:
    folder = storage_path(ROOT_FOLDER)
    thumbnail_name, name = "", f"{folder}.{extension_of(found.media_type)}"
    try:
        if thumbnail:
            thumbnail_name = default_storage.save(f"{folder}-t.webp", ContentFile(thumbnail))
        storage_name = default_storage.save(name, ContentFile(data))
    except BaseException:
        # A full disk keeps the half of a file that had room, under a name that nobody else has.
        for begun in (f"{folder}-t.webp", name):
            with contextlib.suppress(OSError):
                default_storage.delete(begun)
        raise
    return Stored(
        storage_name=storage_name,
        thumbnail_name=thumbnail_name,
        sha256=hashlib.sha256(data).hexdigest(),
        media_type=found.media_type,
        size=len(data),
        width=found.width,
        height=found.height,
        duration_ms=found.duration_ms,
        meta=meta,
    )


def store_all(
    media: Sequence[tuple[bytes, Mapping[str, object]]], *, posters: Sequence[bytes] = ()
) -> list[Stored]:
    """Write several, each with its meta, or none; `posters` has one for each, or is left out. Raises Unusable for the
    first that cannot be kept."""
    stored: list[Stored] = []
    try:
        pairs = zip(media, posters or (b"",) * len(media), strict=True)
        stored.extend(store(data, meta=meta, poster=poster) for (data, meta), poster in pairs)
    except BaseException:
        discard(stored)
        raise
    return stored


def keep(
    stored: Sequence[Stored],
    *,
    prediction: Prediction,
    expires_at: datetime,
    kind: Asset.Kind = Asset.Kind.OUTPUT,
) -> list[Asset]:
    """Write the rows of a prediction's media, in order, in the present transaction."""
    return Asset.objects.bulk_create(
        Asset(
            workspace_id=prediction.workspace_id,
            prediction=prediction,
            position=position,
            kind=kind,
            sha256=one.sha256,
            media_type=one.media_type,
            size=one.size,
            width=one.width,
            height=one.height,
            duration_ms=one.duration_ms,
            meta=dict(one.meta),
            storage_name=one.storage_name,
            thumbnail_name=one.thumbnail_name,
            expires_at=expires_at,
        )
        for position, one in enumerate(stored)
    )


def read(asset: Asset) -> bytes:
    """The whole file of an asset. Raises OSError."""
    with default_storage.open(asset.storage_name) as file:
        data: bytes = file.read()
    return data


def pieces(storage_name: str) -> Iterator[bytes]:
    """A stored file, a piece at a time. Raises OSError."""
    with default_storage.open(storage_name) as file:
        yield from file.chunks(CHUNK_BYTES)


def are_kept(stored: Sequence[Stored]) -> bool:
    """Whether any of these has its row."""
    return Asset.objects.filter(storage_name__in=[one.storage_name for one in stored]).exists()


def discard(stored: Sequence[Stored]) -> None:
    """Remove files that were stored for nothing."""
    for one in stored:
        for name in filter(None, (one.storage_name, one.thumbnail_name)):
            default_storage.delete(name)


def _decode(data: bytes) -> tuple[Image.Image, str]:
    if not data:
        raise Unusable("the file is empty")
    try:
        with Image.open(io.BytesIO(data), formats=tuple(_FORMATS)) as picture:
            picture.verify()  # the checksums of a PNG; what is cut off behind the last row still decodes
        with Image.open(io.BytesIO(data), formats=tuple(_FORMATS)) as picture:
            if picture.width * picture.height > MAX_PIXELS:
                raise Unusable(f"the picture has more than {MAX_PIXELS // 1_000_000} megapixels")
            media_type = _FORMATS[picture.format or ""]
            picture.load()
            return picture.copy(), media_type
    except (UnidentifiedImageError, Image.DecompressionBombError, OSError, SyntaxError, KeyError) as error:
        raise Unusable(
            f"the file is no complete PNG, JPEG or WebP picture ({type(error).__name__})"
        ) from None


def _thumbnail(picture: Image.Image) -> bytes:
    small = picture.convert("RGBA" if "A" in picture.getbands() else "RGB")
    small.thumbnail((THUMBNAIL_EDGE, THUMBNAIL_EDGE), Image.Resampling.LANCZOS)
    out = io.BytesIO()
    small.save(out, "WEBP", quality=80, method=4)
    return out.getvalue()
