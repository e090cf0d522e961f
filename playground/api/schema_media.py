"""What answers about assets and uploads look like."""

from __future__ import annotations

from playground.api import schema_words as w
from playground.models import Asset

ASSET = w.record(
    "A file that is kept. Whoever has its `url` can read it, without a key, until the address ends.",
    id=w.said(w.identifier("a"), "what a field of an input takes"),
    kind={"enum": list(Asset.Kind.values)},
    filename=w.said(w.STRING, "as it was sent; empty where it had no name"),
    content_type=w.said(w.STRING, "what the bytes are, whatever they were declared as"),
    size=w.said(w.WHOLE, "bytes"),
    sha256=w.SHA256,
    width=w.maybe(w.WHOLE),
    height=w.maybe(w.WHOLE),
    duration_ms=w.maybe(w.WHOLE),
    url=w.ADDRESS,
    thumbnail_url=w.maybe(w.said(w.ADDRESS, "a small version; null for what is no picture")),
    prediction=w.maybe(w.said(w.identifier("p"), "the run that made it; null for an upload")),
    created_at=w.TIME,
    expires_at=w.said(w.TIME, "when the file goes; a run that takes it in puts it off"),
)
PART = w.record("One part that is there.", number=w.WHOLE, size=w.said(w.WHOLE, "bytes"), sha256=w.SHA256)
UPLOAD = w.record(
    "A file that comes in parts.",
    id=w.identifier("u"),
    filename=w.STRING,
    size=w.said(w.WHOLE, "bytes of the whole file, as announced"),
    content_type=w.said(w.STRING, "as announced; empty if it was not"),
    part_size=w.said(w.WHOLE, "bytes of every part but the last"),
    part_count=w.said(w.WHOLE, "parts are numbered from 1 to this"),
    parts=w.array(w.ref("Part")),
    asset=w.maybe(w.ref("Asset")),
    created_at=w.TIME,
    expires_at=w.said(w.TIME, "when it is forgotten, with its parts"),
    urls=w.record(
        "Where it is, and where the rest goes.",
        get=w.ADDRESS,
        part=w.said(w.STRING, "the address of a part, with `{number}` in it"),
        complete=w.ADDRESS,
    ),
)
SCHEMAS: dict[str, w.Schema] = {
    "Asset": ASSET,
    "Upload": UPLOAD,
    "Part": PART,
    "AssetPage": w.page_of("Asset"),
}
