"""Stored media: taken in by content, kept through the storage backend, handed out by capability.

Nothing is believed: type, size and dimensions are read from the bytes. Everything is private; an address is a signed
capability for one file and some time, and the file behind it goes when the asset expires or is deleted. What runs make
comes through `store` and `keep`; what people upload through `playground.assets.uploads`.
"""

from __future__ import annotations

from playground.assets.address import Capability, address, open_address, thumbnail_address
from playground.assets.archive import archive
from playground.assets.arrivals import Arrival, Readable
from playground.assets.intake import Stored, Unusable, are_kept, discard, keep, pieces, read, store, store_all
from playground.assets.present import AssetJson, as_json, is_picture, thumbnails
from playground.assets.purge import (
    InUse,
    delete,
    expire_all,
    expire_closed,
    purge,
    purge_expired,
    purge_orphans,
    purge_uploads,
)

__all__ = [
    "Arrival",
    "AssetJson",
    "Capability",
    "InUse",
    "Readable",
    "Stored",
    "Unusable",
    "address",
    "archive",
    "are_kept",
    "as_json",
    "delete",
    "discard",
    "expire_all",
    "expire_closed",
    "is_picture",
    "keep",
    "open_address",
    "pieces",
    "purge",
    "purge_expired",
    "purge_orphans",
    "purge_uploads",
    "read",
    "store",
    "store_all",
    "thumbnail_address",
    "thumbnails",
]
