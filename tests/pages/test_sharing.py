"""Shared runs: what the link shows to anybody, what it never shows, and how it ends."""

from __future__ import annotations

import datetime as dt
import re
import time

import pytest
from django.utils import timezone

from marketplace.models import Listing
from playground import assets, predictions
from playground.models import Asset, Share
from playground.pages.sharing import MEDIA_SECONDS
from tests.pages.world import person


def link_of(world, row, **values) -> str:
    assert world.ada.post(f"/p/{row.uid}/share", values).status_code == 302
    return f"/s/{Share.objects.get(prediction=row, revoked_at=None).token}"


def test_anybody_sees_the_result_and_its_words(world):
    row = world.made(prompt="a teal vase", steps=7, title="for Bob & Co", token="hush-hush", num_images=2)
    address = link_of(world, row)
    for client in (world.nobody, world.mal, world.ada):
        answer = client.get(address)
        assert answer.status_code == 200
        body = answer.content.decode()
        assert "a teal vase" in body
        assert "kiln/vase" in body
        assert "<dd>7</dd>" in body
        assert "steps=7&amp;" in body or "steps=7" in body
        assert body.count("<figure") == 2
    assert 'href="/m/kiln/vase?prompt=a+teal+vase' in body


def test_film_sound_shape_and_file_are_drawn_as_what_they_are(world):
    row = world.made(num_images=4)
    kinds = ("video/mp4", "audio/wav", "model/gltf-binary", "image/png")
    for position, kind in enumerate(kinds):
        Asset.objects.filter(prediction=row, position=position).update(
            media_type=kind, width=None, height=None
        )
    address = link_of(world, row)
    body = world.nobody.get(address).content.decode()
    for piece in ("<video src=", "<audio src=", "#cube", "model/gltf-binary", "data-zoom"):
        assert piece in body, piece
    assert body.count(">Download</a>") == 4
    assert body.count("<figure") == 4
    assert "None ×" not in body
    assert f'property="og:image" content="http://127.0.0.1:8000{address}/4"' in body or f"{address}/4" in body
    owner = world.ada.get(f"/p/{row.uid}").content.decode()
    assert "None ×" not in owner
    for page in ("/dashboard/history", world.page):
        seen = world.ada.get(page).content.decode()
        assert not re.search(r'<img[^>]*src="[^"]*\.(mp4|wav|glb)"', seen), page


def test_nothing_private_is_on_it(world):
    row = world.made(prompt="a teal vase", title="for Bob and Co", token="hush-hush")
    body = world.nobody.get(link_of(world, row)).content.decode()
    who = (row.uid, world.workspace.slug, "ada@example.test", "hush-hush", "for Bob")
    for word in (*who, "$0.0040", "4000", row.version.sha256[:8]):
        assert word not in body, word


def test_it_is_kept_from_search_engines_and_other_sites(world):
    answer = world.nobody.get(link_of(world, world.made()))
    assert answer["X-Robots-Tag"] == "noindex, nofollow"
    assert answer["Referrer-Policy"] == "no-referrer"
    assert answer["Cache-Control"] == "no-store"
    body = answer.content.decode()
    assert '<meta name="robots" content="noindex' in body


def test_the_social_card_names_the_picture_by_the_link_itself(world, settings):
    row = world.made(prompt='a "teal" vase')
    address = link_of(world, row)
    body = world.nobody.get(address).content.decode()
    assert f'<meta property="og:image" content="{settings.PUBLIC_URL}{address}/1">' in body
    assert f'<meta property="og:url" content="{settings.PUBLIC_URL}{address}">' in body
    assert "&quot;teal&quot;" in body
    answer = world.nobody.get(f"{address}/1")
    assert answer.status_code == 302
    assert answer["Location"].startswith("/media/")
    assert world.nobody.get(f"{address}/1?download")["Location"].endswith("?download")
    for number in (0, 2, 10**20):
        assert world.nobody.get(f"{address}/{number}").status_code == 404


def test_media_addresses_are_short_lived_and_never_outlive_the_link(world):
    row = world.made()
    address = link_of(world, row)
    tokens = re.findall(r"/media/([\w-]+)/", world.nobody.get(address).content.decode())
    for token in tokens:
        assert assets.open_address(token).expires_at - time.time() <= 1.5 * MEDIA_SECONDS + 1
    assert tokens
    Share.objects.update(expires_at=timezone.now() + dt.timedelta(seconds=30))
    (token,) = re.findall(r"/media/([\w-]+)/", world.nobody.get(f"{address}/1")["Location"])
    assert assets.open_address(token).expires_at - time.time() <= 46


@pytest.mark.parametrize("how", ["revoked", "ended", "deleted", "unknown", "damaged", "long", "strange"])
def test_what_has_ended_is_as_if_it_never_was(world, how):
    row = world.made()
    address = link_of(world, row)
    assert world.nobody.get(address).status_code == 200
    if how == "revoked":
        assert world.ada.post(f"/p/{row.uid}/revoke").status_code == 302
    elif how == "ended":
        Share.objects.update(expires_at=timezone.now() - dt.timedelta(seconds=1))
    elif how == "deleted":
        predictions.delete_one(world.workspace, row.public_id, by=None)
    else:
        address = {
            "unknown": "/s/" + "0" * 32,
            "damaged": address[:-1],
            "long": address + "0" * 300,
            "strange": "/s/%00%F0%9F%92%A9",
        }[how]
    answer, never = world.nobody.get(address), world.nobody.get("/s/" + "z" * 32)
    assert answer.status_code == never.status_code == 404
    clean = [re.sub(r"%2Fs%2F[^\"&]*|[0-9a-f]{24}", "", one.content.decode()) for one in (answer, never)]
    assert clean[0] == clean[1]
    assert world.nobody.get(f"{address}/1").status_code == 404


def test_sharing_again_is_the_same_link_and_after_revoking_another(world):
    row = world.made()
    first = link_of(world, row)
    assert link_of(world, row, days="7") == first
    assert Share.objects.get().expires_at > timezone.now() + dt.timedelta(days=6)
    world.ada.post(f"/p/{row.uid}/revoke")
    second = link_of(world, row)
    assert second != first
    assert world.nobody.get(first).status_code == 404
    Share.objects.filter(revoked_at=None).update(expires_at=timezone.now() - dt.timedelta(seconds=1))
    third = link_of(world, row)
    assert third != second
    assert world.nobody.get(second).status_code == 404


def test_only_what_succeeded_is_shared(world):
    for row in (world.failed(), world.run()):
        page = world.ada.post(f"/p/{row.uid}/share", follow=True).content.decode()
        assert "Only a run that succeeded" in page
    assert not Share.objects.exists()


def test_undoing_a_deletion_opens_the_link_again(world):
    row = world.made()
    address = link_of(world, row)
    answer = world.ada.post(f"/p/{row.uid}/delete")
    assert world.nobody.get(address).status_code == 404
    world.ada.post("/dashboard/history/undo", {"deletion": answer["Location"].partition("undo=")[2]})
    assert world.nobody.get(address).status_code == 200


def test_when_the_picture_has_expired_the_words_are_left(world):
    row = world.made(prompt="a teal vase")
    address = link_of(world, row)
    Asset.objects.update(expires_at=timezone.now())
    body = world.nobody.get(address).content.decode()
    assert "not kept any more" in body
    assert "og:image" not in body
    assert "Make your own" in body


def test_a_private_model_is_not_named(world):
    row = world.made()
    address = link_of(world, row)
    Listing.objects.update(visibility="private")
    body = world.nobody.get(address).content.decode()
    assert "kiln/vase" not in body
    assert "Make your own" not in body


def test_the_history_finds_what_is_shared(world):
    shared, revoked, _ = world.made(), world.made(), world.made()
    link_of(world, shared)
    link_of(world, revoked)
    world.ada.post(f"/p/{revoked.uid}/revoke")
    body = world.ada.get("/dashboard/history?shared=1").content.decode()
    assert re.findall(r'<tr id="row-(\w+)"', body) == [shared.uid]


def test_who_may_only_look_sees_the_link_and_cannot_end_it(world):
    row = world.made()
    address = link_of(world, row)
    accountant = person(world.workspace, "bo@example.test")
    world.workspace.memberships.filter(user__email="bo@example.test").update(role="billing")
    page = accountant.get(f"/p/{row.uid}").content.decode()
    assert address in page
    assert "/revoke" not in page
    assert accountant.post(f"/p/{row.uid}/revoke").status_code == 403
    assert accountant.post(f"/p/{row.uid}/share").status_code == 403
    assert accountant.post(f"/p/{row.uid}/delete").status_code == 403
    assert world.nobody.get(address).status_code == 200
