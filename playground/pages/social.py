"""What other sites show of a page whose address somebody pastes there: title, description and a picture.

Only pages that anybody may open have it. Addresses begin with the configured public one, whichever name the request
came by, as a proxy stands in front.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

from django.conf import settings
from django.urls import reverse

from marketplace.models import Listing
from playground import assets
from playground.pages import shelf
from playground.pages.media import Medium
from playground.pages.tags import spaced

SITE_CARD = "vitrine/card.jpg"  # both made by tests/cards.py
SUFFIX = "-card.jpg"  # of a cover's card, beside it: `covers/daylight-card.jpg`
CARD_SIZE = (1200, 630)
MAX_TITLE, MAX_ALT = 70, 200
TYPES = {".jpg": "image/jpeg", ".jpeg": "image/jpeg", ".png": "image/png", ".webp": "image/webp"}
TAGLINE = "Try image, video, audio and 3D models in the browser, and call all of them with one key."


@dataclass(frozen=True, slots=True)
class Picture:
    """The picture of a card at an absolute address; its size in pixels where that is known."""

    url: str
    media_type: str
    alt: str
    width: int | None = None
    height: int | None = None


@dataclass(frozen=True, slots=True)
class Social:
    """One card. `type` is Open Graph's."""

    title: str
    description: str
    url: str
    picture: Picture | None
    type: str = "website"


def of_gallery() -> Social:
    """The gallery, whatever is searched in it."""
    return Social("Models on Vitrine", TAGLINE, _absolute(reverse("gallery")), _site_card())


def of_model(listing: Listing, price: str) -> Social | None:
    """A model on the public shelf, by its cover; None for one that is private."""
    if listing.visibility != Listing.Visibility.PUBLIC:
        return None
    address = reverse("model", args=[listing.publisher.name, listing.name])
    description = f"{listing.tagline} {spaced(listing.task).capitalize()}, {price}."
    return Social(listing.model_id, description, _absolute(address), _cover(listing) or _site_card())


def of_shared(token: str, prompt: str, listing: Listing | None, media: Sequence[Medium]) -> Social:
    """A run whose link opens now, by its first picture; the picture has the link's own address and ends with it."""
    made_with = f"Made with {listing.model_id}. {listing.tagline}" if listing else "Made with Vitrine."
    picture = next((one for one in media if one.kind == "image"), None)
    shown = None
    if picture is not None:
        alt = _cut(prompt, MAX_ALT) or "The result"
        address = _absolute(picture.link)
        shown = Picture(address, picture.media_type, alt, picture.width, picture.height)
    title = _cut(prompt, MAX_TITLE) or "A shared result"
    return Social(title, made_with, _absolute(reverse("shared", args=[token])), shown, "article")


def _cover(listing: Listing) -> Picture | None:
    """The card that is drawn of the cover, or the cover as it is."""
    if not listing.cover or assets.is_picture(listing.cover):  # whose address is another one tomorrow
        return None
    cover = PurePosixPath(listing.cover)
    alt = f"What {listing.model_id} makes"
    card = shelf.static_of(str(cover.with_name(cover.stem + SUFFIX)))
    if card:
        return Picture(_absolute(card), TYPES[".jpg"], alt, *CARD_SIZE)
    address = shelf.cover_of(listing)
    media_type = TYPES.get(cover.suffix.lower())
    return Picture(_absolute(address), media_type, alt) if address and media_type else None


def _site_card() -> Picture:
    address = shelf.static_of(SITE_CARD)
    return Picture(_absolute(address), TYPES[".jpg"], "Pictures made on Vitrine", *CARD_SIZE)


def _absolute(address: str) -> str:
    """An address of this site as others reach it."""
    return address if "://" in address else settings.PUBLIC_URL + address


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[: most - 1]}…"
