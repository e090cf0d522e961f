"""The shelf's insides: publishing manifests, and finding what an address or a caller names."""

from __future__ import annotations

from marketplace.catalog.find import Callable, NotFound, callable_endpoint, forget, listing, listings, record_stats
from marketplace.catalog.publish import InvalidManifest, publish, read_manifest

__all__ = [
    "Callable",
    "InvalidManifest",
    "NotFound",
    "callable_endpoint",
    "forget",
    "listing",
    "listings",
    "publish",
    "read_manifest",
    "record_stats",
]
