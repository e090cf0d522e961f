"""Models and their versions as Replicate's clients read them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from marketplace.models import Listing, Version
from playground import predictions
from playground.api import shelf
from playground.facades.replicate import cog, show
from playground.models import Prediction

Json = dict[str, Any]
WITH_VERSION = ("default_version__endpoints__prices",)  # what is prefetched of listings that are shown


def models(listings: Sequence[Listing], base: str) -> list[Json]:
    """Entries of a list, without their examples; prefetched `WITH_VERSION`."""
    shown = shelf.several(listings)
    return [_model(listing, one, base) for listing, one in zip(listings, shown, strict=True)]


def model(listing: Listing, base: str) -> Json:
    """One model, with the first of its examples; prefetched `WITH_VERSION`."""
    (shown,) = models([listing], base)
    pinned = predictions.examples(listing)
    return {**shown, "default_example": example(pinned[0], base) if pinned else None}


def version(row: Version, base: str) -> Json:
    """One version, its endpoints prefetched: what goes in and what comes out, in Cog's dialect."""
    endpoints = sorted(row.endpoints.all(), key=lambda one: one.pk)
    taken, made = (endpoints[0].input_schema, endpoints[0].output_schema) if endpoints else ({}, {})
    return {
        "id": row.sha256,
        "created_at": show.moment(row.created_at.isoformat()),
        "cog_version": cog.COG_VERSION,
        "openapi_schema": cog.openapi(taken, made),
    }


def example(row: Prediction, base: str) -> Json:
    """A run that is shown to everybody: nothing that is between its maker and us."""
    document = predictions.as_json(row)
    shown = show.prediction({**document, "webhook": None}, None, base)
    # Whoever has the address of its stream may follow it: that is its maker's to give away.
    urls = {name: url for name, url in shown["urls"].items() if name != "stream"}
    times = {name: shown["metrics"][name] for name in _TIMES if name in shown["metrics"]}
    return {**shown, "urls": urls, "metrics": times}


_TIMES = ("predict_time", "total_time")


def _model(listing: Listing, shown: Json, base: str) -> Json:
    """`is_official` says to the clients that the model is called by its name, without a version, as each here is."""
    return {
        "url": show.rebased(shown["urls"]["page"], base),
        "owner": shown["publisher"],
        "name": shown["name"],
        "description": shown["tagline"],
        "visibility": "private" if listing.visibility == Listing.Visibility.PRIVATE else "public",
        "is_official": True,
        "github_url": None,
        "paper_url": None,
        "license_url": None,
        "license": shown["license"],
        "run_count": shown["run_count"],
        "cover_image_url": show.rebased(shown["cover_url"], base) if shown["cover_url"] else None,
        "default_example": None,
        "latest_version": version(listing.default_version, base) if listing.default_version else None,
        "created_at": show.moment(shown["created_at"]),
    }
