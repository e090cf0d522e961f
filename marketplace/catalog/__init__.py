"""The shelf's insides: publishing manifests, and finding what an address or a caller names."""

from __future__ import annotations

from marketplace.catalog.find import (
    SORTS,
    Callable,
    NotFound,
    best,
    callable_endpoint,
    endpoint,
    forget,
    listing,
    listings,
    prices_now,
    record_stats,
    tasks,
)
from marketplace.catalog.measurements import Difference, Machine, Measurement, Row, record_measurement
from marketplace.catalog.prices import (
    InvalidPrices,
    Line,
    PriceList,
    line_of,
    price_lists,
    sample,
    set_prices,
    take_effect,
    units_of,
    withdraw,
    wrong_lines,
)
from marketplace.catalog.publish import InvalidManifest, hashes, prices_of, publish, read_manifest
from marketplace.catalog.revisions import MAX_REVISIONS, Revision, revisions

__all__ = [
    "MAX_REVISIONS",
    "SORTS",
    "Callable",
    "Difference",
    "InvalidManifest",
    "InvalidPrices",
    "Line",
    "Machine",
    "Measurement",
    "NotFound",
    "PriceList",
    "Revision",
    "Row",
    "best",
    "callable_endpoint",
    "endpoint",
    "forget",
    "hashes",
    "line_of",
    "listing",
    "listings",
    "price_lists",
    "prices_now",
    "prices_of",
    "publish",
    "read_manifest",
    "record_measurement",
    "record_stats",
    "revisions",
    "sample",
    "set_prices",
    "take_effect",
    "tasks",
    "units_of",
    "withdraw",
    "wrong_lines",
]
