"""Becoming a publisher in the browser, and what one says of one's models there."""

from __future__ import annotations

import html
import re
from datetime import timedelta

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client
from django.utils import timezone

from billing import ledger
from marketplace import catalog, people, publishers
from marketplace.models import Listing, Membership, Publisher, User
from playground import assets, predictions
from playground.models import Asset, Prediction
from playground.predictions import covers
from tests.examiner import files
from tests.pages import world as worlds
from tests.pages.test_access import INLINE
from tests.predictions import cast

HOME, SETTINGS, CLOSE, REOPEN = "/publish", "/publish/settings", "/publish/close", "/publish/reopen"
MODEL = "/publish/models/kiln/vase"
OPENING = {"name": "northlight", "title": "Northlight Studio", "terms": "1"}
SAID = {"tagline": "A tall vase.", "readme": "# Tall\n\nIt is.", "cover": "", "visibility": "public"}


def text_of(answer) -> str:
    return html.unescape(re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", answer.content.decode())))


def member_of(workspace, role: str) -> Client:
    user = User.objects.create_user(f"{role}-{workspace.slug}@example.test", "a long password")
    Membership.objects.create(user=user, workspace=workspace, role=role)
    client = Client()
    client.force_login(user)
    return client


@pytest.fixture
def pia(world):
    """Who publishes the model."""
    return worlds.person(cast.publisher().workspace, "pia@example.test")


def test_what_publishing_means_is_said_as_the_settings_have_it(world, settings):
    settings.PUBLISHER_SHARE_PERCENT = 85
    settings.PAYOUT_DELAY_DAYS, settings.PAYOUT_LEAST_MICROS, settings.PAYOUT_DAY = 14, 25_000_000, 3
    settings.PUBLISHER_TERMS_URL = "https://example.test/terms"
    answer = world.ada.get(HOME)
    page = text_of(answer)
    for words in (
        "85 % of each charge",
        "other 15 %",
        "waits 14 days",
        "day 3 of each month",
        "from $25 on",
    ):
        assert words in page, words
    assert "Through Stripe" in page
    assert "https://example.test/terms" in answer.content.decode()
    assert INLINE.search(answer.content.decode()) is None
    assert "Start publishing" in text_of(world.ada.get("/dashboard/usage"))
    settings.PAYOUT_METHODS = []
    assert "pays nobody at present" in text_of(world.ada.get(HOME))


def test_a_workspace_starts_publishing(world):
    answer = world.ada.post(HOME, OPENING)
    assert (answer.status_code, answer["Location"]) == (302, "/publish?publisher=northlight")
    made = Publisher.objects.get(name="northlight")
    assert (made.workspace, made.agreed_by.email) == (world.workspace, "ada@example.test")
    answer = world.ada.get(answer["Location"])
    page = text_of(answer)
    assert "Northlight Studio" in page
    assert "No models yet" in page
    assert "--publisher northlight" in page
    assert INLINE.search(answer.content.decode()) is None
    assert "Payouts" in text_of(world.ada.get("/dashboard/usage"))
    again = world.ada.post(HOME, {**OPENING, "name": "southlight"})
    assert again.status_code == 409
    assert "publishes as northlight already" in text_of(again)


@pytest.mark.parametrize(
    ("sent", "said"),
    [
        ({"name": "kiln"}, "The name is taken"),
        ({"name": "ki1n"}, "looks like kiln, which is taken"),
        ({"name": "vitrine"}, "a word that this site keeps"),
        ({"name": "North Light"}, "must be 2 to 39"),
        ({"name": "a\0b"}, "no name can have"),
        ({"name": "x" * 5000}, "The name is far too long"),
        ({"title": "x" * 90}, "at most 80 characters"),
        ({"terms": ""}, "must be agreed to"),
    ],
)
def test_what_is_refused_is_said_beside_its_field_and_kept(world, sent, said):
    answer = world.ada.post(HOME, OPENING | sent)
    assert answer.status_code == 422
    assert said in text_of(answer)
    if "title" not in sent:
        assert "Northlight Studio" in answer.content.decode()
    assert not publishers.of(world.workspace).exists()


def test_only_owners_and_admins_start_it(world):
    for role in ("developer", "billing"):
        client = member_of(world.workspace, role)
        page = client.get(HOME)
        assert page.status_code == 200
        assert "can start it" in text_of(page)
        assert 'name="terms"' not in page.content.decode()
        assert client.post(HOME, OPENING).status_code == 403
    assert not publishers.of(world.workspace).exists()
    assert member_of(world.workspace, "admin").post(HOME, OPENING).status_code == 302


def test_names_are_changed_as_long_as_they_can_be(world, pia):
    world.ada.post(HOME, OPENING)
    saved = world.ada.post(SETTINGS, {"publisher": "northlight", "name": "polestar", "title": "Pole"})
    assert saved["Location"] == f"{SETTINGS}?publisher=polestar"
    assert 'value="Pole"' in world.ada.get(saved["Location"]).content.decode()
    wrong = world.ada.post(SETTINGS, {"publisher": "polestar", "name": "kiln", "title": "Pole"})
    assert wrong.status_code == 422
    assert "is taken" in text_of(wrong)
    page = pia.get(SETTINGS)
    assert "It stays" in text_of(page)
    pia.post(SETTINGS, {"publisher": "kiln", "name": "oven", "title": "The Kiln"})
    assert Publisher.objects.get(name="kiln").title == "The Kiln"
    assert world.mal.post(SETTINGS, {"publisher": "kiln", "title": "Mal's"}).status_code == 404
    assert world.ada.get(SETTINGS, {"publisher": "kiln"}).status_code == 404


def test_who_agreed_and_has_left_is_not_named(world):
    world.ada.post(HOME, OPENING)
    row = Publisher.objects.select_related("agreed_by").get(name="northlight")
    eve = worlds.person(row.workspace, "eve@example.test")
    assert f"by {row.agreed_by.get_short_name()}" in text_of(eve.get(SETTINGS))
    people.forget(row.agreed_by)
    assert "by somebody who has left" in text_of(eve.get(SETTINGS))


def test_closing_says_before_what_becomes_of_models_and_money(world, pia):
    waiting = world.made()
    assert ledger.publisher_balance(cast.publisher().pk).pending_micros == 3_200
    world.run()
    page = text_of(pia.get(CLOSE))
    for words in ("kiln/vase becomes private", "1 was accepted and goes on", "$0.0032 goes on to mature"):
        assert words in page, words
    assert "Say first where it goes" in page
    assert pia.post(CLOSE, {"publisher": "kiln", "name": "kilns"}).status_code == 422
    assert not Publisher.objects.get(name="kiln").is_closed
    assert pia.post(CLOSE, {"publisher": "kiln", "name": "kiln"}).status_code == 302
    home = text_of(pia.get(HOME))
    assert "Closed since" in home
    assert "Private" in home
    assert pia.get(CLOSE).status_code == 302
    assert world.ada.get(f"/p/{waiting.uid}").status_code == 200  # whoever made it keeps it
    assert "Earned" in text_of(pia.get("/publish/earnings"))
    assert pia.post(REOPEN, {"publisher": "kiln"}).status_code == 302
    assert "Closed since" not in text_of(pia.get(HOME))
    assert not cast.ledger.verify()


def test_a_model_is_described(world, pia):
    home = text_of(pia.get(HOME))
    assert "vase Public" in re.sub(r" \$[0-9.]+ / image", "", home)
    page = pia.get(MODEL)
    assert 'value="A vase."' in page.content.decode()
    assert INLINE.search(page.content.decode()) is None
    assert pia.post(MODEL, SAID)["Location"] == MODEL
    catalog.forget()
    assert "A tall vase." in text_of(world.nobody.get(world.page))
    assert "It is." in text_of(world.nobody.get(f"{world.page}/readme"))
    wrong = pia.post(MODEL, SAID | {"tagline": "", "visibility": "hidden"})
    assert wrong.status_code == 422
    assert "The description is required" in text_of(wrong)
    assert pia.post(MODEL, SAID | {"tagline": "a\0b"}).status_code == 422
    assert pia.post(MODEL, SAID | {"cover": "../../etc/passwd"}).status_code == 422
    assert Listing.objects.get().tagline == "A tall vase."


def test_who_sees_a_model(world, pia):
    for visibility, found in (("unlisted", False), ("private", False), ("public", True)):
        pia.post(MODEL, SAID | {"visibility": visibility})
        catalog.forget()
        assert ("A tall vase." in text_of(world.nobody.get("/"))) is found
        assert ("kiln/vase" in world.nobody.get("/llms.txt").content.decode()) is found
        page = world.nobody.get(world.page)
        assert page.status_code == (404 if visibility == "private" else 200)
        if visibility != "private":  # and what is not on the shelf is in no search engine
            assert ('name="robots" content="noindex"' not in page.content.decode()) is found


def test_a_paused_model_says_so_and_takes_no_runs(world, pia):
    assert (
        pia.post(f"{MODEL}/pause", {"act": "pause", "from": "list"})["Location"] == f"{HOME}?publisher=kiln"
    )
    catalog.forget()
    page = world.ada.get(world.page)
    assert "Its publisher has paused it" in text_of(page)
    assert 'id="run" disabled' in page.content.decode()
    refused = world.ada.post(f"{world.page}/run", {"prompt": "a vase"})
    assert "paused by its publisher" in text_of(refused)
    assert not Prediction.objects.exists()
    assert "kiln/vase" not in text_of(world.nobody.get("/"))
    assert "Paused" in text_of(pia.get(HOME))
    assert pia.post(f"{MODEL}/pause", {"act": "resume"})["Location"] == MODEL
    catalog.forget()
    assert 'id="run" disabled' not in world.ada.get(world.page).content.decode()
    assert pia.post(f"{MODEL}/pause", {"act": "explode"}).status_code == 404


def test_the_picture_of_an_example_becomes_the_cover(world, pia):
    house = cast.publisher().workspace
    ledger.credit(house.pk, 1_000_000, source="bought", key="kiln")
    row = cast.submit(house, model=world.model)
    cast.succeed(cast.claim()[0])
    row = cast.again(row)
    [asset] = row.assets.all()
    assert pia.post(MODEL, SAID | {"cover": asset.uid}).status_code == 422  # not pinned yet
    pia.post(f"/p/{row.uid}/example", {"act": "pin"})
    assert asset.uid in pia.get(MODEL).content.decode()
    assert pia.post(MODEL, SAID | {"cover": asset.uid}).status_code == 302
    catalog.forget()
    shelf = world.nobody.get("/").content.decode()
    [cover] = re.findall(r'<img src="(/media/[^"]+)"', shelf)
    assert world.nobody.get("/api/v1/models/kiln/vase").json()["cover_url"].endswith(cover)
    others = world.made()
    assert pia.post(MODEL, SAID | {"cover": others.assets.get().uid}).status_code == 422
    predictions.unpin(row)
    row.assets.update(expires_at=row.created_at)
    catalog.forget()
    assert "/media/" not in world.nobody.get("/").content.decode()
    assert pia.post(MODEL, SAID | {"cover": asset.uid}).status_code == 302  # it may stay as it is


def test_models_are_for_who_publishes_them(world, pia):
    before = Listing.objects.values().get()
    for client in (world.ada, world.mal):
        assert client.get(MODEL).status_code == 404
        assert client.post(MODEL, SAID).status_code == 404
        assert client.post(f"{MODEL}/pause", {"act": "pause"}).status_code == 404
    assert pia.get("/publish/models/kiln/jug").status_code == 404
    clerk = member_of(cast.publisher().workspace, "billing")
    assert clerk.post(MODEL, SAID).status_code == 403
    assert clerk.post(f"{MODEL}/pause", {"act": "pause"}).status_code == 403
    assert clerk.post(CLOSE, {"name": "kiln"}).status_code == 403
    developer = member_of(cast.publisher().workspace, "developer")
    assert developer.post(CLOSE, {"name": "kiln"}).status_code == 403
    assert Listing.objects.values().get() == before
    assert developer.post(MODEL, SAID).status_code == 302


def picture(
    data: bytes | None = None, name: str = "shelf.png", kind: str = "image/png"
) -> SimpleUploadedFile:
    return SimpleUploadedFile(name, files.picture() if data is None else data, content_type=kind)


def test_a_picture_of_ones_own_becomes_the_cover(world, pia, settings):
    wrong = pia.post(MODEL, SAID | {"tagline": "", "picture": picture()})
    assert wrong.status_code == 422
    asset = Asset.objects.get()
    assert (asset.workspace, asset.kind) == (cast.publisher().workspace, "upload")
    assert f'value="{asset.uid}" checked' in wrong.content.decode()  # the picture is not sent twice
    assert asset.expires_at < timezone.now() + timedelta(days=settings.UPLOAD_DAYS + 1)
    assert pia.post(MODEL, SAID | {"cover": asset.uid})["Location"] == MODEL
    catalog.forget()
    assert world.nobody.get("/api/v1/models/kiln/vase").json()["cover_url"].endswith("-small.webp")
    asset.refresh_from_db()
    assert asset.expires_at.year == 9999
    # Another one in one go; the first expires as other uploads do.
    assert (
        pia.post(MODEL, SAID | {"picture": picture(files.picture("WEBP"), kind="image/webp")}).status_code
        == 302
    )
    second = Asset.objects.exclude(pk=asset.pk).get()
    asset.refresh_from_db()
    assert (Listing.objects.get().cover, second.expires_at.year) == (second.uid, 9999)
    assert asset.expires_at < timezone.now() + timedelta(days=settings.UPLOAD_DAYS + 1)
    # Taken away.
    assert pia.post(MODEL, SAID).status_code == 302
    second.refresh_from_db()
    assert (Listing.objects.get().cover, second.expires_at.year < 9999) == ("", True)
    # Chosen again, and then replaced by a manifest, which tells nobody.
    assert pia.post(MODEL, SAID | {"cover": second.uid}).status_code == 302
    assert covers.let_go() == 0
    Listing.objects.update(cover="covers/other.webp")
    assert covers.let_go() == 1
    second.refresh_from_db()
    assert second.expires_at < timezone.now() + timedelta(days=settings.UPLOAD_DAYS + 1)
    assert world.ada.post(MODEL, SAID | {"picture": picture(files.picture(seed=3))}).status_code == 404
    assert Asset.objects.count() == 2
    theirs = world.made().assets.get()
    assert pia.post(MODEL, SAID | {"cover": theirs.uid}).status_code == 422


def test_a_cover_that_is_deleted_while_it_is_chosen_is_none(world, pia, monkeypatch):
    pia.post(MODEL, SAID | {"tagline": "", "picture": picture()})
    [asset] = Asset.objects.all()
    is_own = covers.is_own

    def overtaken(*args):
        found = is_own(*args)
        assets.delete(asset)
        return found

    monkeypatch.setattr(covers, "is_own", overtaken)
    assert pia.post(MODEL, SAID | {"cover": asset.uid}).status_code == 422


def test_a_file_that_is_no_cover_is_refused_with_a_sentence(world, pia):
    no_cover = "a cover is a PNG, JPEG or WebP picture"
    for data, kind, words in (
        (files.picture()[:-100], "image/png", "cut off"),
        (files.picture("JPEG"), "image/png", "announced as image/png"),
        (b"<svg xmlns='http://www.w3.org/2000/svg' onload='alert(1)'/>", "image/svg+xml", "not taken"),
        (b"<html><script>alert(1)</script>", "image/png", ""),
        (files.bomb(), "image/png", ""),
        (files.film("GIF"), "image/gif", no_cover),
        (files.wav(), "audio/wav", no_cover),
        (files.picture() + bytes(covers.MAX_BYTES), "image/png", "at most 8,388,608 bytes"),
        (b"", "image/png", "empty"),
    ):
        answer = pia.post(MODEL, SAID | {"picture": picture(data, kind=kind)})
        assert answer.status_code == 422, (data[:20], kind)
        assert "It cannot be this picture: " in text_of(answer)
        assert words in text_of(answer), words
        assert INLINE.search(answer.content.decode()) is None
    assert (Asset.objects.count(), Listing.objects.get().tagline) == (0, "A vase.")
