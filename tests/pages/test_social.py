"""What other sites show of a pasted address: of pages that anybody may open, and of no other."""

from __future__ import annotations

import re

import pytest
from django.contrib.staticfiles import finders
from PIL import Image

from marketplace import catalog
from marketplace.models import Listing, Publisher
from playground.pages import social
from tests import cards
from tests.pages.world import person

ORIGIN = "https://models.example"


@pytest.fixture(autouse=True)
def behind_a_proxy(settings):
    settings.PUBLIC_URL = ORIGIN


def card(client, address) -> dict[str, str]:
    """The tags of the page by their names."""
    answer = client.get(address)
    assert answer.status_code == 200
    return dict(
        re.findall(
            r'<meta (?:property|name)="((?:og|twitter):[a-z_:]+)" content="([^"]*)"', answer.content.decode()
        )
    )


def test_the_gallery(world):
    found = card(world.nobody, "/?q=vase&page=1")
    assert found["og:title"] == found["twitter:title"] == "Models on Vitrine"
    assert found["og:url"] == f"{ORIGIN}/"
    assert found["og:image"] == found["twitter:image"] == f"{ORIGIN}/static/vitrine/card.jpg"
    assert (found["og:image:type"], found["og:image:width"], found["og:image:height"]) == (
        "image/jpeg",
        "1200",
        "630",
    )
    assert found["twitter:card"] == "summary_large_image"


@pytest.mark.parametrize("tab", ["", "/api", "/examples", "/readme", "/versions"])
def test_a_model_by_its_cover(world, tab):
    Listing.objects.update(cover="covers/daylight.webp", tagline='A "vase".')
    found = card(world.nobody, world.page + tab)
    assert found["og:title"] == "kiln/vase"
    assert found["og:description"] == "A &quot;vase&quot;. Text to image, $0.0040 / image."
    assert found["og:url"] == ORIGIN + world.page
    assert found["og:image"] == f"{ORIGIN}/static/covers/daylight-card.jpg"
    assert found["og:image:alt"] == "What kiln/vase makes"


def test_a_model_without_a_cover_has_the_card_of_the_site(world):
    assert card(world.nobody, world.page)["og:image"] == f"{ORIGIN}/static/vitrine/card.jpg"


def test_a_cover_without_a_card_is_shown_as_it_is(world, monkeypatch):
    Listing.objects.update(cover="covers/daylight-1.webp")
    monkeypatch.setattr(
        social.shelf, "static_of", lambda path: f"/static/{path}" if finders.find(path) else ""
    )
    found = card(world.nobody, world.page)
    assert found["og:image"] == f"{ORIGIN}/static/covers/daylight-1.webp"
    assert found["og:image:type"] == "image/webp"
    assert "og:image:width" not in found


OWN = ("/p/{uid}", "/p/{uid}/receipt", "/dashboard/history", "/dashboard/keys", "/accounts/profile")


@pytest.mark.parametrize("address", OWN)
def test_what_is_private_has_none(world, address):
    assert card(world.ada, address.format(uid=world.made().uid)) == {}


def test_a_private_model_has_none_for_those_who_see_it(world):
    member = person(Publisher.objects.get(name="kiln").workspace, "pia@example.test")
    assert card(member, world.page)["og:title"] == "kiln/vase"
    Listing.objects.update(visibility="private")
    catalog.forget()
    assert card(member, world.page) == {}
    assert world.nobody.get(world.page).status_code == 404


def test_the_pictures_are_there_and_as_large_as_they_say():
    for path in (social.SITE_CARD, "covers/daylight" + social.SUFFIX):
        with Image.open(finders.find(path)) as picture:
            assert (picture.size, picture.format) == (social.CARD_SIZE, "JPEG")
    assert (cards.SITE_CARD, cards.SUFFIX, cards.CARD_SIZE) == (
        social.SITE_CARD,
        social.SUFFIX,
        social.CARD_SIZE,
    )
