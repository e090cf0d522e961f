"""Stored media: taken in by content, kept through the storage backend, handed out by capability.

Nothing is believed: type, size and dimensions are read from the bytes. Everything is private; an address is a signed
capability for one file and some time, and the file behind it goes when the asset expires or is deleted.
"""

from __future__ import annotations

from playground.assets.address import Capability, address, open_address, thumbnail_address
from playground.assets.archive import archive
from playground.assets.intake import Stored, Unusable, are_kept, discard, keep, read, store, store_all
from playground.assets.purge import expire_all, expire_closed, purge, purge_expired, purge_orphans

__all__ = [
    "Capability",
    "Stored",
    "Unusable",
    "address",
    "archive",
    "are_kept",
    "discard",
    "expire_all",
    "expire_closed",
    "keep",
    "open_address",
    "purge",
    "purge_expired",
    "purge_orphans",
    "read",
    "store",
    "store_all",
    "thumbnail_address",
]
