"""The shelf's insides: publishing manifests, and finding what an address or a caller names."""

from __future__ import annotations

from marketplace.catalog.find import (
    SORTS,
    Callable,
    NotFound,
    callable_endpoint,
    endpoint,
    forget,
    listing,
    listings,
    prices_now,
    record_stats,
)
from marketplace.catalog.publish import InvalidManifest, publish, read_manifest

__all__ = [
    "SORTS",
    "Callable",
    "InvalidManifest",
    "NotFound",
    "callable_endpoint",
    "endpoint",
    "forget",
    "listing",
    "listings",
    "prices_now",
    "publish",
    "read_manifest",
    "record_stats",
]
