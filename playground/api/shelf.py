"""A listing as plain data."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from django.conf import settings
from django.templatetags.static import static
from django.urls import reverse

from marketplace import catalog, schema
from marketplace.models import Endpoint, Listing, Price
from marketplace.schema.clean import ordered
from playground import assets

Json = dict[str, Any]


def several(listings: Sequence[Listing]) -> list[Json]:
    """Entries of the list. They must come from `catalog.listings` with their endpoints prefetched."""
    pictures = assets.thumbnails(listing.cover for listing in listings)
    return [short(listing, pictures) for listing in listings]


def short(listing: Listing, pictures: Mapping[str, str]) -> Json:
    """One of them. `pictures` are the addresses of covers that are no static files."""
    return {
        "id": listing.model_id,
        "publisher": listing.publisher.name,
        "name": listing.name,
        "tagline": listing.tagline,
        "task": listing.task,
        "license": listing.license,
        "cover_url": _cover(listing, pictures),
        "run_count": listing.run_count,
        "is_paused": listing.is_paused,
        "version": listing.default_version.sha256 if listing.default_version else None,
        "prices": prices(catalog.prices_now(listing)),
        "created_at": listing.created_at.isoformat(),
        "urls": {
            "get": settings.PUBLIC_URL + reverse("api-model", args=[listing.publisher.name, listing.name]),
            "page": settings.PUBLIC_URL + reverse("model", args=[listing.publisher.name, listing.name]),
        },
    }


def whole(called: catalog.Callable) -> Json:
    """Everything a caller needs to know: what goes in, what comes out, at what price, within which limits."""
    listing, endpoint = called.listing, called.endpoint
    return {
        **short(listing, assets.thumbnails([listing.cover])),
        "readme": listing.readme,
        "endpoint": endpoint.name,
        "input_schema": _in_order(endpoint.input_schema),
        "output_schema": endpoint.output_schema,
        "example_input": schema.example(endpoint.input_schema),
        "prices": prices(called.prices),
        "next_prices": _next_prices(called),
        "limits": _limits(endpoint),
        "typical_ms": endpoint.typical_ms,
        "is_available": bool(called.offers) and not listing.is_paused,
        "versions": [
            {
                "id": version.sha256,
                "created_at": version.created_at.isoformat(),
                "is_default": version.pk == listing.default_version_id,
                "measurements": version.measurements,
            }
            for version in listing.versions.order_by("-id")
        ],
    }


def input_schema(called: catalog.Callable, address: str) -> Json:
    """The JSON Schema of a model's input, as a document of its own at `address`."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": address,
        "title": f"Input of {called.model_id}",
        **_in_order(called.endpoint.input_schema),
    }


def prices(lines: Iterable[Price]) -> list[Json]:
    """Price lines; a unit price is a decimal string in USD."""
    return [
        {
            "unit": line.unit,
            "unit_price": format(line.unit_price.normalize(), "f"),
            "currency": "USD",
            "conditions": line.conditions,
            "from_runs": line.from_runs,
        }
        for line in lines
    ]


def _next_prices(called: catalog.Callable) -> Json | None:
    if called.prices_until is None:
        return None
    return {"effective_from": called.prices_until.isoformat(), "prices": prices(called.next_prices)}


def _limits(endpoint: Endpoint) -> Json:
    return {
        "max_seconds": endpoint.max_seconds,
        "start_within_seconds": endpoint.start_within_seconds,
        "max_batch": endpoint.max_batch,
        "granularity": endpoint.granularity,
    }


def _in_order(described: Json) -> Json:
    """The schema with its fields in the order people see them; the database keeps none."""
    return {**described, "properties": dict(ordered(described))}


def _cover(listing: Listing, pictures: Mapping[str, str]) -> str | None:
    if not listing.cover:
        return None
    if assets.is_picture(listing.cover):
        address = pictures.get(listing.cover)
        return settings.PUBLIC_URL + address if address else None
    try:
        path = static(listing.cover)
    except ValueError:  # not among the collected files
        return None
    return path if path.startswith("http") else settings.PUBLIC_URL + path
