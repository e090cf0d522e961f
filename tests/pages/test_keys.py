"""The page of keys: who sees it, a secret that is shown once, and what people type into the form."""

from __future__ import annotations

import re

import pytest
from django.core import signing

from marketplace import keys
from marketplace.ids import uuid7
from marketplace.models import ApiKey
from playground import keyring
from tests.pages.test_access import INLINE
from tests.predictions import cast

LIST, NEW = "/dashboard/keys", "/dashboard/keys/new"
SECRET = re.compile(r"vt_[0-9a-z]{12}_[0-9a-z]{32}")
HOSTILE = "<script>alert(1)</script> \"'&"


def once(client) -> str:
    found = re.search(r'name="once" value="([^"]+)"', client.get(NEW).content.decode())
    assert found
    return found[1]


def fill(client, **fields):
    values = {
        "once": once(client),
        "name": "import",
        "kind": "secret",
        "preset": "run",
        "life": "never",
        "limit_day": "",
        "limit_month": "",
    }
    return client.post(NEW, {**values, **fields})


@pytest.fixture
def key(world):
    return keys.make(world.workspace, name="production")[0]


def routes(key) -> list[tuple[str, str]]:
    one = f"{LIST}/{key.uid}"
    posts = [one, f"{one}/rotate", f"{one}/revoke"]
    return [("get", LIST), ("get", NEW), ("get", one), ("post", NEW), *(("post", path) for path in posts)]


@pytest.mark.parametrize("place", range(7))
def test_who_may(world, key, place):
    method, path = routes(key)[place]
    names_a_key = key.uid in path
    before = ApiKey.objects.filter(pk=key.pk).values().get()
    for role, allowed in (("billing", False), ("developer", True), ("admin", True), ("owner", True)):
        world.workspace.memberships.update(role=role)
        status = getattr(world.ada, method)(path).status_code
        assert (status != 403) == allowed, (role, status)
        if not allowed:
            assert ApiKey.objects.filter(pk=key.pk).values().get() == before
    assert getattr(world.nobody, method)(path).status_code == 302
    if names_a_key:
        assert getattr(world.mal, method)(path).status_code == 404
    else:
        assert key.key_id not in getattr(world.mal, method)(path).content.decode()


def test_the_secret_is_in_one_answer_and_nowhere_else(world):
    answer = fill(world.ada, name="catalogue", limit_month="20")
    body = answer.content.decode()
    assert answer.status_code == 200
    (text,) = set(SECRET.findall(body))
    assert keys.resolve(text).name == "catalogue"
    assert "not shown again" in body
    assert answer["Cache-Control"] == "no-store"
    assert text not in str(answer.headers) + str(answer.cookies) + str(dict(world.ada.session))
    secret = text.rsplit("_", 1)[1]
    row = ApiKey.objects.get(name="catalogue")
    for path in (LIST, f"{LIST}/{row.uid}", "/dashboard/usage?by=key"):
        assert secret not in world.ada.get(path).content.decode()
    assert text in body.split('id="check-curl"')[1]


def test_a_form_that_is_sent_twice_makes_one_key_and_shows_no_secret_again(world):
    values = {"once": once(world.ada), "name": "twice", "kind": "secret", "preset": "run", "life": "never"}
    assert SECRET.search(world.ada.post(NEW, values).content.decode())
    again = world.ada.post(NEW, values, follow=True)
    assert not SECRET.search(again.content.decode())
    assert "was made before" in again.content.decode()
    assert ApiKey.objects.filter(name="twice").count() == 1


@pytest.mark.parametrize("token", ["", "x", "other", "mal"])
def test_only_a_form_of_ones_own_names_a_key(world, key, token):
    given = {
        "other": signing.dumps(uuid7().hex, salt="key:0:0"),
        "mal": once(world.mal),
    }.get(token, token)
    answer = fill(world.ada, once=given, name="forged")
    assert answer.status_code == 422
    assert not ApiKey.objects.filter(name="forged").exists()


def test_a_rotation_that_is_sent_twice_rotates_once(world, key):
    path, values = f"{LIST}/{key.uid}/rotate", {"grace": "3600", "seen": "0"}
    first = world.ada.post(path, values)
    (text,) = set(SECRET.findall(first.content.decode()))
    assert "has a new secret" in first.content.decode()
    again = world.ada.post(path, values, follow=True)
    assert not SECRET.search(again.content.decode())
    assert keys.resolve(text).pk == key.pk
    assert "Two secrets work until" in world.ada.get(f"{LIST}/{key.uid}").content.decode()
    for wrong in ({"grace": "9"}, {"grace": "3600", "seen": "x"}, {"grace": "3600", "seen": "²"}):
        assert world.ada.post(path, wrong)["Location"] == f"{LIST}/{key.uid}"
    assert world.ada.get(path)["Location"] == f"{LIST}/{key.uid}"
    assert ApiKey.objects.get(pk=key.pk).rotations == 1


def test_revoking_says_what_it_did_and_folds_the_key_away(world, key):
    keys.make(world.workspace, name="child", maker=key)
    assert "ends the key" in world.ada.get(f"{LIST}/{key.uid}").content.decode()
    said = world.ada.post(f"{LIST}/{key.uid}/revoke", follow=True).content.decode()
    assert "“production” is revoked. So are the 1 that it made." in said
    assert "2 revoked and expired keys" in said
    assert "No active keys" in said
    body = world.ada.get(f"{LIST}/{key.uid}").content.decode()
    assert "revoked" in body
    assert "Rotate" not in body


def test_settings_change_what_they_say_and_nothing_else(world, key):
    path = f"{LIST}/{key.uid}"
    values = {
        "name": "new name",
        "preset": "custom",
        "scopes": ["usage:read"],
        "life": "keep",
        "limit_day": "1.5",
    }
    assert world.ada.post(path, values)["Location"] == path
    row = ApiKey.objects.get(pk=key.pk)
    assert (row.name, row.scopes, row.expires_at) == ("new name", ["usage:read"], None)
    assert keyring.wish_of(row).limit_day_micros == 1_500_000
    assert 'value="1.50"' in world.ada.get(path).content.decode()
    world.ada.post(path, {**values, "life": "30", "limit_day": ""})
    row = ApiKey.objects.get(pk=key.pk)
    assert row.expires_at is not None
    assert keyring.wish_of(row).limit_day_micros is None


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"name": " "}, "The name is required"),
        ({"name": "x" * 90}, "more than 80 characters"),
        ({"preset": "custom"}, "at least one"),
        ({"preset": "custom", "scopes": ["root"]}, "not one of the available choices"),
        ({"preset": "god"}, "not one of the available choices"),
        ({"life": "date"}, "needs a day"),
        ({"life": "date", "life_until": "2001-01-01"}, "in the future"),
        ({"life": "date", "life_until": "never"}, "valid date"),
        ({"limit_day": "-1"}, "an amount like"),
        ({"limit_day": "NaN"}, "an amount like"),
        ({"limit_day": "0,50"}, "an amount like"),
        ({"limit_day": "1,0000"}, "an amount like"),
        ({"limit_month": "1e999999"}, "an amount like"),
        ({"limit_month": "0.0000001"}, "an amount like"),
        ({"limit_month": "ten"}, "an amount like"),
        ({"kind": "publishable", "limit_day": "1"}, "must name at least one"),
        (
            {"kind": "publishable", "origins": "shop.example", "models": "kiln/vase", "limit_day": "1"},
            "is no origin",
        ),
        (
            {"kind": "publishable", "origins": "https://a.example", "models": "kiln/vase"},
            "required for a publishable key",
        ),
    ],
)
def test_what_is_wrong_stands_beside_its_field(world, fields, said):
    answer = fill(world.ada, **fields)
    body = answer.content.decode()
    assert answer.status_code == 422, body[:500]
    assert said in body
    assert "It was not made." in body
    assert not ApiKey.objects.exists()


def test_a_publishable_key_from_the_form(world):
    fields = {
        "kind": "publishable",
        "origins": "https://Shop.example \n http://localhost:3000",
        "models": world.model,
        "limit_day": "$1,000.50",
    }
    body = fill(world.ada, name="shop", **fields).content.decode()
    row = ApiKey.objects.get(name="shop")
    assert row.origins == ["https://shop.example", "http://localhost:3000"]
    assert row.model_ids == [world.model]
    assert keyring.wish_of(row).limit_day_micros == 1_000_500_000
    assert "works from https://shop.example, http://localhost:3000 only" in body
    page = world.ada.get(f"{LIST}/{row.uid}").content.decode()
    assert "Origin: https://shop.example" in page.replace("&#x27;", "'")


def test_what_people_write_is_text_and_nothing_is_inline(world):
    assert fill(world.ada, name=HOSTILE).status_code == 200
    row = ApiKey.objects.get()
    for path in (LIST, NEW, f"{LIST}/{row.uid}"):
        answer = world.ada.get(path)
        body = answer.content.decode()
        assert "<script>alert" not in body
        assert INLINE.search(body) is None
        assert answer["Cache-Control"] == "no-store"
    assert "&lt;script&gt;" in world.ada.get(LIST).content.decode()


def test_the_list_asks_a_fixed_number_of_questions(world, django_assert_max_num_queries):
    for n in range(30):
        keys.make(world.workspace, name=f"key {n}")
    cast.submit(world.workspace, model=world.model)
    with django_assert_max_num_queries(12):
        assert world.ada.get(LIST).content.decode().count("/dashboard/keys/k_") == 30


@pytest.mark.parametrize(
    "spelling", ["k_zzz", "k_" + "0" * 26, "x" * 200, "%00", "<script>", "p_" + "0" * 26]
)
def test_ids_that_name_nothing(world, spelling):
    assert world.ada.get(f"{LIST}/{spelling}").status_code == 404
