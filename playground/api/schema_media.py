"""What answers about assets and uploads look like."""

from __future__ import annotations

from playground.api.schema_words import (
    ADDRESS,
    SHA256,
    STRING,
    TIME,
    WHOLE,
    Schema,
    array,
    identifier,
    maybe,
    page_of,
    record,
    ref,
    said,
)
from playground.models import Asset

ASSET = record(
    "A file that is kept. Whoever has its `url` can read it, without a key, until the address ends.",
    id=said(identifier("a"), "what a field of an input takes"),
    kind={"enum": list(Asset.Kind.values)},
    filename=said(STRING, "as it was sent; empty where it had no name"),
    content_type=said(STRING, "what the bytes are, whatever they were declared as"),
    size=said(WHOLE, "bytes"),
    sha256=SHA256,
    width=maybe(WHOLE),
    height=maybe(WHOLE),
    duration_ms=maybe(WHOLE),
    url=ADDRESS,
    thumbnail_url=maybe(said(ADDRESS, "a small version; null for what is no picture")),
    prediction=maybe(said(identifier("p"), "the run that made it; null for an upload")),
    created_at=TIME,
    expires_at=said(TIME, "when the file goes; the same bytes uploaded again put it off"),
)
PART = record("One part that is there.", number=WHOLE, size=said(WHOLE, "bytes"), sha256=SHA256)
UPLOAD = record(
    "A file that comes in parts.",
    id=identifier("u"),
    filename=STRING,
    size=said(WHOLE, "bytes of the whole file, as announced"),
    content_type=said(STRING, "as announced; empty if it was not"),
    part_size=said(WHOLE, "bytes of every part but the last"),
    part_count=said(WHOLE, "parts are numbered from 1 to this"),
    parts=array(ref("Part")),
    asset=maybe(ref("Asset")),
    created_at=TIME,
    expires_at=said(TIME, "when it is forgotten, with its parts"),
    urls=record(
        "Where it is, and where the rest goes.",
        get=ADDRESS,
        part=said(STRING, "the address of a part, with `{number}` in it"),
        complete=ADDRESS,
    ),
)
SCHEMAS: dict[str, Schema] = {
    "Asset": ASSET,
    "Upload": UPLOAD,
    "Part": PART,
    "AssetPage": page_of("Asset"),
}
