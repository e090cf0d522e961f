"""Listings as the pages show them: their price in words, whether they are warm, their cover and sample pictures."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

from django.contrib.staticfiles.storage import staticfiles_storage
from django.core.cache import cache
from django.db.models import Prefetch, prefetch_related_objects
from django.urls import reverse

from marketplace import catalog
from marketplace.models import Listing, Offer, Price
from playground import assets, live
from playground.models import Prediction
from playground.pages.tags import unit, unit_price
from playground.pages.words import Vocabulary, vocabulary

MAX_SAMPLES = 4
_OFFERS = Offer.objects.filter(is_enabled=True)
TASKS_SECONDS = 30
ICONS = {
    "image": "image",
    "video": "video",
    "audio": "audio",
    "speech": "audio",
    "music": "audio",
    "3d": "cube",
    "text": "text",
}


@dataclass(frozen=True, slots=True)
class Sample:
    """A picture that a listing ships, and the prompt that made it."""

    picture: str
    prompt: str


@dataclass(frozen=True, slots=True)
class Card:
    """One listing on the shelf."""

    listing: Listing
    url: str
    icon: str
    price: str
    is_warm: bool
    cover: str


@dataclass(frozen=True, slots=True)
class Cover:
    """A picture that a listing can have as its cover: what its row keeps, the address, and what it is."""

    value: str
    address: str
    label: str


@dataclass(frozen=True, slots=True)
class Sampled:
    """A card with pictures of what its model makes."""

    card: Card
    samples: tuple[Sample, ...]


def cards(listings: Iterable[Listing], query: str = "") -> list[Card]:
    """Cards for listings selected with publisher and default version, in a fixed number of queries.

    `query` is what their links carry.
    """
    shelf = list(listings)
    prefetch_related_objects(
        shelf, "default_version__endpoints__prices", Prefetch("default_version__endpoints__offers", _OFFERS)
    )
    warm = _warm({lane for listing in shelf for lane in _lanes(listing)})
    pictures = assets.thumbnails(listing.cover for listing in shelf)
    return [_card(listing, warm, pictures, query) for listing in shelf]


def first_sampled(cards: Iterable[Card]) -> Sampled | None:
    """The first card whose listing ships samples."""
    for card in cards:
        version = card.listing.default_version
        # Most ship none, and to know that takes a look at what is static, not the manifest.
        if version is not None and card.cover and static_of(_sample_path(card.listing, 1)):
            found = samples(card.listing, vocabulary(version.manifest))
            if found:
                return Sampled(card, found)
    return None


def _card(listing: Listing, warm: dict[str, set[str]], pictures: Mapping[str, str], query: str) -> Card:
    version = listing.default_version
    return Card(
        listing=listing,
        url=reverse("model", args=[listing.publisher.name, listing.name]) + query,
        icon=icon_of(listing.task),
        price=price_text(catalog.prices_now(listing)),
        is_warm=version is not None and any(version.sha256 in warm[lane] for lane in _lanes(listing)),
        cover=pictures.get(listing.cover) or static_of(listing.cover),
    )


def _lanes(listing: Listing) -> list[str]:
    """The lanes that serve what a listing runs by default."""
    endpoints = listing.default_version.endpoints.all() if listing.default_version else ()
    return [offer.lane for endpoint in endpoints for offer in endpoint.offers.all()]


def _warm(lanes: Iterable[str]) -> dict[str, set[str]]:
    """The versions that are loaded, by lane."""
    return {
        lane: {
            version for engine in live.engines(lane) if not engine["draining"] for version in engine["loaded"]
        }
        for lane in lanes
    }


def price_text(prices: Sequence[Price]) -> str:
    """`$0.0040 / image`; several units are joined; prices with conditions begin with `from`.

    What only many runs make cheaper is left out: it is no price that the next run could have.
    """
    prices = [price for price in prices if not price.from_runs]
    if not prices:
        return "no price"
    if all(price.unit_price == 0 for price in prices):
        return "Free"
    lowest: dict[str, Price] = {}
    for price in prices:
        known = lowest.get(price.unit)
        if known is None or price.unit_price < known.unit_price:
            lowest[price.unit] = price
    text = " + ".join(f"{unit_price(p.unit_price)} / {unit(p.unit)}" for p in lowest.values() if p.unit_price)
    return f"from {text}" if len(lowest) < len(prices) else text


def icon_of(task: str) -> str:
    """The icon of what comes out."""
    return ICONS.get(task.rpartition("-")[2], "layers")


def cover_of(listing: Listing) -> str:
    """The address of its cover; nothing where it has none, or where the example that it showed is gone."""
    return assets.thumbnails([listing.cover]).get(listing.cover) or static_of(listing.cover)


def cover_choices(listing: Listing, examples: Iterable[Prediction]) -> list[Cover]:
    """The covers that a listing can have: none, those that it ships, and pictures of its pinned examples."""
    manifest = listing.default_version.manifest if listing.default_version is not None else {}
    shipped = dict.fromkeys([str(manifest.get("cover", "")), *(one["picture"] for one in listing.examples)])
    found = [Cover("", "", "None")]
    found += [Cover(path, static_of(path), "Shipped with it") for path in shipped if static_of(path)]
    pinned = [
        asset.uid for row in examples for asset in row.assets.all() if asset.media_type.startswith("image/")
    ]
    pictures = assets.thumbnails(pinned)
    found += [Cover(uid, pictures[uid], "From an example") for uid in pinned if uid in pictures]
    if listing.cover not in {
        one.value for one in found
    }:  # gone since: it may stay as it is, and shows the icon
        found.append(Cover(listing.cover, cover_of(listing), "As it is"))
    return found


def samples(listing: Listing, words: Vocabulary | None) -> tuple[Sample, ...]:
    """What the listing ships beside its cover: `covers/name-1.webp` is what its first example makes, and so on."""
    if words is None or not listing.cover:
        return ()
    found = []
    for place, prompt in enumerate(words.examples[:MAX_SAMPLES], start=1):
        picture = static_of(_sample_path(listing, place))
        if picture:
            found.append(Sample(picture, prompt))
    return tuple(found)


def _sample_path(listing: Listing, place: int) -> str:
    if assets.is_picture(listing.cover):
        return ""
    cover = PurePosixPath(listing.cover)
    return str(cover.with_name(f"{cover.stem}-{place}{cover.suffix}"))


def static_of(path: str) -> str:
    """The address of a static file, or nothing if there is none of that name."""
    if not path or assets.is_picture(path):
        return ""
    try:
        return str(staticfiles_storage.url(path))
    except ValueError:
        return ""


def tasks() -> list[str]:
    """The tasks that public listings have; up to half a minute old."""

    return list(cache.get_or_set("shelf:tasks", catalog.tasks, TASKS_SECONDS) or [])
