"""Keys over the API: what is made, who may make what, rotation, and the end."""

from __future__ import annotations

import datetime as dt
import functools
import json
import logging
from importlib import import_module

import pytest
from django.db import connection
from django.utils import timezone

from billing import ledger, limits
from marketplace import keys
from marketplace.ids import encode, uuid7
from marketplace.models import ApiKey, Membership, User
from playground import keyring
from playground.api.openapi import document
from tests.api.programs import Caller
from tests.api.shapes import assert_problem
from tests.overtaking import overtaking
from tests.predictions import cast

SECRET = {"name": "import", "scopes": ["predictions:read", "predictions:write"]}
PUBLIC = {
    "name": "shop",
    "kind": "publishable",
    "origins": ["https://shop.example"],
    "models": ["kiln/vase"],
    "limit_day_micros": 8_000,
}


def send(who: Caller, method: str, path: str, body: object = None):
    data = json.dumps(body if body is not None else {}).encode()
    return who.client.generic(
        method.upper(), f"/api/v1/{path}", data, content_type="application/json", headers=who.headers({})
    )


def made(who: Caller, **fields):
    answer = who.post("keys", {**SECRET, **fields})
    assert answer.status_code == 201, answer.text
    return answer.json()


def test_a_repeated_request_makes_one_key_and_shows_its_text_once(world):
    sent = {**SECRET, "expires_at": (timezone.now() + dt.timedelta(days=1)).isoformat()}
    first = world.ada.post("keys", sent, Idempotency_Key="one")
    again = world.ada.post("keys", sent, Idempotency_Key="one")
    assert (first.status_code, again.status_code) == (201, 201)
    assert first.json()["key"].startswith(first.json()["prefix"])
    assert again.json() == {**first.json(), "key": None}
    assert (again.headers["Idempotent-Replayed"], again.headers["Location"]) == (
        "true",
        first.headers["Location"],
    )
    assert "Idempotent-Replayed" not in first.headers
    assert ApiKey.objects.filter(name="import").count() == 1
    other = world.ada.post("keys", {**sent, "name": "another"}, Idempotency_Key="one")
    assert_problem(other, "idempotency_conflict")
    assert_problem(world.ada.post("keys", {**sent, "name": ""}, Idempotency_Key="two"), "invalid_input")
    assert world.ada.post("keys", sent, Idempotency_Key="two").json()["key"]  # what failed took no name
    elsewhere = world.mal.post("keys", sent, Idempotency_Key="one").json()
    assert elsewhere["key"]
    assert elsewhere["id"] != first.json()["id"]


def test_a_key_is_made_used_changed_and_revoked(world):
    new = made(world.ada, limit_month_micros=20_000_000)
    assert new["key"].startswith(new["prefix"] + "_")
    assert new["limit_month_micros"] == 20_000_000
    assert new["limit_day_micros"] is None
    who = Caller(new["key"])
    told = who.get("key").json()
    assert told["id"] == new["id"]
    assert told["workspace"] == world.workspace.slug
    assert told["scopes"] == SECRET["scopes"]
    assert who.run().status_code == 201
    changed = send(
        world.ada, "patch", f"keys/{new['id']}", {"name": " new  name ", "limit_month_micros": None}
    )
    assert changed.status_code == 200
    assert (changed.json()["name"], changed.json()["limit_month_micros"]) == ("new name", None)
    ended = send(world.ada, "delete", f"keys/{new['id']}")
    assert ended.json()["is_active"] is False
    assert ended.json()["revoked_at"]
    assert send(world.ada, "delete", f"keys/{new['id']}").json()["revoked_at"] == ended.json()["revoked_at"]
    assert_problem(who.get("key"), "invalid_key")
    assert_problem(send(world.ada, "patch", f"keys/{new['id']}", {"name": "x"}), "forbidden")
    assert_problem(send(world.ada, "post", f"keys/{new['id']}/rotate"), "forbidden")


def test_a_secret_is_in_one_answer_only(world, caplog):
    caplog.set_level(logging.DEBUG)
    text = made(world.ada)["key"]
    secret = text.rsplit("_", 1)[1]
    listed = world.ada.get("keys")
    assert secret not in listed.text
    assert "sha256" not in listed.text
    one = listed.json()["results"][0]
    assert secret not in world.ada.get(f"keys/{one['id']}").text
    assert secret not in Caller(text).get("key").text
    assert secret not in caplog.text
    assert not ApiKey.objects.filter(secret_sha256=secret).exists()


def test_a_limit_of_a_key_refuses_its_runs_alone(world):
    who = Caller(made(world.ada, limit_day_micros=2 * cast.PRICE_MICROS)["key"])
    assert [who.run().status_code for _ in range(3)] == [201, 201, 402]
    body = assert_problem(who.run(), "limit_reached")
    assert (body["scope"], body["period"]) == ("key", "day")
    assert world.ada.run().status_code == 201
    told = who.get("key").json()
    assert told["limit_day_micros"] == 2 * cast.PRICE_MICROS


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"name": ""}, "name"),
        ({"name": "   "}, "name"),
        ({"name": "x" * 81}, "name"),
        ({"name": 5}, "name"),
        ({"name": "a\u202eb"}, "name"),
        ({"scopes": []}, "scopes"),
        ({"scopes": ["nothing:read"]}, "scopes"),
        ({"scopes": "predictions:read"}, "scopes"),
        ({"scopes": [1]}, "scopes"),
        ({"scopes": ["predictions:read"] * 101}, "scopes"),
        ({"expires_at": "tomorrow"}, "expires_at"),
        ({"expires_at": "2999-01-01T00:00:00Z"}, "expires_at"),
        ({"expires_at": "2001-01-01T00:00:00Z"}, "expires_at"),
        ({"expires_at": "2027-01-01T00:00:00"}, "expires_at"),
        ({"expires_at": 0}, "expires_at"),
        ({"limit_day_micros": -1}, "limit_day_micros"),
        ({"limit_day_micros": 1.5}, "limit_day_micros"),
        ({"limit_day_micros": True}, "limit_day_micros"),
        ({"limit_month_micros": 10**15}, "limit_month_micros"),
        ({"kind": "root"}, "kind"),
        ({"origins": ["https://shop.example"]}, "origins"),
        ({"models": ["kiln/vase"]}, "models"),
        ({"workspace": "other"}, "workspace"),
        ({"key_id": "aaaaaaaaaaaa"}, "key_id"),
    ],
)
def test_what_a_key_cannot_be(world, fields, field):
    before = ApiKey.objects.count()
    assert_problem(world.ada.post("keys", {**SECRET, **fields}), "invalid_input", field=field)
    assert ApiKey.objects.count() == before


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"origins": []}, "origins"),
        ({"origins": ["*"]}, "origins"),
        ({"origins": ["null"]}, "origins"),
        ({"origins": ["https://*.example"]}, "origins"),
        ({"origins": ["shop.example"]}, "origins"),
        ({"origins": ["ftp://shop.example"]}, "origins"),
        ({"origins": ["https://shop.example/path"]}, "origins"),
        ({"origins": ["https://ada@shop.example"]}, "origins"),
        ({"origins": ["https://shop.example:99999"]}, "origins"),
        ({"origins": ["https://shop.example, https://other.example"]}, "origins"),
        ({"origins": [f"https://s{n}.example" for n in range(21)]}, "origins"),
        ({"models": []}, "models"),
        ({"models": ["kiln/nothing"]}, "models"),
        ({"models": ["*"]}, "models"),
        ({"models": ["kiln/vase:" + "a" * 64]}, "models"),
        ({"scopes": ["predictions:read", "billing:read"]}, "scopes"),
        ({"limit_day_micros": None}, "limit_day_micros"),
        ({"limit_day_micros": 0}, "limit_day_micros"),
    ],
)
def test_what_a_publishable_key_cannot_be(world, fields, field):
    assert_problem(world.ada.post("keys", {**PUBLIC, **fields}), "invalid_input", field=field)


def test_a_private_model_is_not_found_out_by_making_a_key(world):
    cast.shelve(name="hidden", visibility="private")
    said = [
        assert_problem(world.ada.post("keys", {**PUBLIC, "models": [model]}), "invalid_input")["errors"]
        for model in ("kiln/hidden", "kiln/hiddem")
    ]
    assert [one[0]["message"].replace("hiddem", "hidden") for one in said] == [said[0][0]["message"]] * 2


@pytest.mark.parametrize(
    ("text", "origin"),
    [
        ("https://Shop.Example", "https://shop.example"),
        ("https://shop.example:443/", "https://shop.example"),
        ("http://localhost:3000", "http://localhost:3000"),
        ("http://[::1]:8080", "http://[::1]:8080"),
        ("https://bücher.example", "https://xn--bcher-kva.example"),
        ("https://shop.example?x", None),
        ("https://shop.example#x", None),
        ("https://-shop.example", None),
        ("https://shop..example", None),
        ("https://", None),
        ("javascript:alert(1)", None),
        ("https://a\\b.example", None),
        ("https://[::1", None),
    ],
)
def test_origins_are_kept_as_browsers_send_them(text, origin):
    assert keys.origin_of(text) == origin


def test_a_key_gives_no_more_than_it_has(world, key_with):
    minter = key_with(scopes=["keys:read", "keys:write", "predictions:read"])
    child = made(minter, scopes=["predictions:read"])
    assert child["scopes"] == ["predictions:read"]
    body = assert_problem(minter.post("keys", SECRET), "invalid_input", field="scopes")
    assert body["errors"][0]["allowed"] == ["keys:read", "keys:write", "predictions:read"] or set(
        body["errors"][0]["allowed"]
    ) == {"keys:read", "keys:write", "predictions:read"}
    assert_problem(
        send(minter, "patch", f"keys/{child['id']}", {"scopes": ["predictions:write"]}),
        "invalid_input",
        field="scopes",
    )


def test_a_key_does_not_outlive_its_maker(world):
    ends = timezone.now() + dt.timedelta(days=7)
    row, text = keys.make(world.workspace, name="minter", expires_at=ends)
    minter = Caller(text)
    assert_problem(minter.post("keys", SECRET), "invalid_input", field="expires_at")
    later = (ends + dt.timedelta(seconds=1)).isoformat()
    assert_problem(minter.post("keys", {**SECRET, "expires_at": later}), "invalid_input", field="expires_at")
    child = made(minter, expires_at=ends.isoformat())
    grand = made(
        Caller(made(minter, expires_at=ends.isoformat(), scopes=list(keys.SCOPES))["key"]),
        expires_at=ends.isoformat(),
    )
    assert_problem(send(minter, "patch", f"keys/{child['id']}", {"expires_at": None}), "invalid_input")
    sooner = (ends - dt.timedelta(days=3)).isoformat()
    assert (
        send(world.ada, "patch", f"keys/{row.uid}", {"name": "m"}).status_code == 403
    )  # not made by Ada's key
    keyring.change(
        keyring.find(world.workspace, row.uid),
        {"expires_at": dt.datetime.fromisoformat(sooner)},
        rights=keyring.rights_of(role="owner"),
    )
    for one in (child, grand):
        assert world.ada.get(f"keys/{one['id']}").json()["expires_at"] == sooner
    assert keyring.revoke(row) == 4
    for one in (child, grand):
        assert_problem(Caller(one["key"]).get("key"), "invalid_key")


def test_what_a_key_made_counts_in_its_own_limit(world):
    row, text = keys.make(world.workspace, name="minter")
    scope = ledger.SpendScope("key", str(row.pk))
    ledger.set_limit(
        workspace_id=world.workspace.pk, scope=scope, period="day", limit_micros=2 * cast.PRICE_MICROS
    )
    children = [Caller(made(Caller(text))["key"]) for _ in range(2)]
    assert [one.run().status_code for one in [*children, *children]] == [201, 201, 402, 402]
    assert_problem(
        send(Caller(text), "patch", f"keys/{row.uid}", {"limit_day_micros": None}), "invalid_input"
    )
    lower = send(Caller(text), "patch", f"keys/{row.uid}", {"limit_day_micros": 1})
    assert lower.json()["limit_day_micros"] == 1


def test_keys_that_were_made_by_keys_become_those_of_the_person_above_them(world):
    """As the migration does it, whose statement this is: keys of before did not say whose they are."""
    bob = User.objects.create_user("bob@example.test", "a long password")
    first, _ = keys.make(world.workspace, name="first", by=bob)
    second, _ = keys.make(world.workspace, name="second", maker=first)
    third, _ = keys.make(world.workspace, name="third", maker=second)
    nobodys, _ = keys.make(world.workspace, name="nobody's")
    below, _ = keys.make(world.workspace, name="below", maker=nobodys)
    ApiKey.objects.filter(pk__in=[second.pk, third.pk]).update(created_by=None)
    with connection.cursor() as cursor:
        cursor.execute(import_module("marketplace.migrations.0010_keys_of_people").PEOPLE)
    for key, person in ((first, bob), (second, bob), (third, bob), (nobodys, None), (below, None)):
        key.refresh_from_db()
        assert key.created_by == person, key.name


def test_a_key_touches_itself_and_what_it_made_only(world, key_with):
    minter, strong = key_with(), made(world.ada, scopes=list(keys.SCOPES))
    weak = made(minter)
    for method, path, body in (
        ("patch", f"keys/{strong['id']}", {"name": "mine"}),
        ("post", f"keys/{strong['id']}/rotate", {}),
    ):
        assert_problem(send(minter, method, path, body), "forbidden")
    assert send(minter, "post", f"keys/{weak['id']}/rotate", {}).status_code == 200
    assert Caller(strong["key"]).get("key").json()["name"] == "import"


def test_rotation_keeps_the_key_and_lets_the_old_secret_live_as_long_as_asked(world):
    first = made(world.ada, limit_month_micros=5_000_000)
    second = send(world.ada, "post", f"keys/{first['id']}/rotate", {"grace_seconds": 3600}).json()
    assert second["id"] == first["id"]
    assert second["key"] != first["key"]
    assert second["limit_month_micros"] == 5_000_000
    assert second["previous_until"]
    assert Caller(first["key"]).get("key").status_code == 200
    row = ApiKey.objects.get(key_id=first["prefix"][3:])
    assert row.previous_used_at is not None
    assert Caller(second["key"]).get("key").status_code == 200
    ApiKey.objects.filter(pk=row.pk).update(previous_until=timezone.now())
    keys.forget()
    assert_problem(Caller(first["key"]).get("key"), "invalid_key")
    third = send(world.ada, "post", f"keys/{first['id']}/rotate", {}).json()
    assert third["previous_until"] is None
    assert_problem(Caller(second["key"]).get("key"), "invalid_key")
    assert Caller(third["key"]).get("key").status_code == 200
    for wrong in ({"grace_seconds": -1}, {"grace_seconds": 10**9}, {"grace_seconds": "now"}, {"x": 1}):
        assert_problem(send(world.ada, "post", f"keys/{first['id']}/rotate", wrong), "invalid_input")


def test_keys_are_their_workspaces_alone(world):
    own = made(world.ada)
    for method, path in (("get", ""), ("patch", ""), ("delete", ""), ("post", "/rotate")):
        assert_problem(send(world.mal, method, f"keys/{own['id']}{path}"), "not_found")
        assert_problem(send(world.nobody, method, f"keys/{own['id']}{path}"), "not_authenticated")
        assert_problem(send(world.ada, method, f"keys/{encode(uuid7(), 'k')}{path}"), "not_found")
    assert own["id"] not in world.mal.get("keys").text
    assert Caller(own["key"]).get("key").status_code == 200


def test_the_list_goes_in_pages(world):
    names = [made(world.ada, name=f"key {n}")["name"] for n in range(5)]
    first = world.ada.get("keys?limit=3").json()
    second = world.ada.get(first["next"]).json()
    found = [one["name"] for one in first["results"] + second["results"]]
    assert found == [*reversed(names), "Ada's"]
    assert_problem(world.mal.get(first["next"]), "invalid_cursor")


def session(world, role: str) -> Caller:
    user = User.objects.create_user(f"{role}@example.test", "a long password")
    Membership.objects.create(workspace=world.workspace, user=user, role=role)
    who = Caller()
    who.client.force_login(user)
    return who


@pytest.mark.parametrize(
    ("role", "status"), [("owner", 201), ("admin", 201), ("developer", 201), ("billing", 403)]
)
def test_a_session_is_held_to_its_role(world, role, status):
    who = session(world, role)
    assert who.post("keys", SECRET).status_code == status
    assert who.get("keys").status_code == (200 if status == 201 else 403)
    assert_problem(who.get("key"), "not_authenticated")


def test_the_document_names_the_ways_in_that_there_are():
    def ways(path):
        return {way for one in document()["paths"][path]["get"]["security"] for way in one}

    assert ways("/api/v1/key") == {"bearer", "apiKey"}
    assert ways("/api/v1/keys") == {"bearer", "apiKey", "session"}


def test_a_role_gives_no_scope_that_it_does_not_allow(world, monkeypatch):
    from marketplace.people import Act

    monkeypatch.setitem(keyring.ACTS, "billing:read", Act.BILLING)
    who = session(world, "developer")
    assert_problem(who.post("keys", {**SECRET, "scopes": ["billing:read"]}), "invalid_input", field="scopes")
    assert who.post("keys", SECRET).status_code == 201
    strong = made(world.ada, scopes=["billing:read"])
    assert_problem(send(who, "post", f"keys/{strong['id']}/rotate"), "forbidden")
    assert send(who, "patch", f"keys/{strong['id']}", {"name": "kept"}).json()["scopes"] == ["billing:read"]


def test_there_is_an_end_to_how_many(world, monkeypatch):
    monkeypatch.setattr(keyring, "MAX_KEYS", 3)
    assert [world.ada.post("keys", SECRET).status_code for _ in range(3)] == [201, 201, 409]


@pytest.mark.django_db(transaction=True)
def test_a_key_that_lowers_its_limit_does_not_undo_what_a_person_sets_at_that_moment():
    owner = cast.payer(name="careful")
    key, _ = keys.make(owner, name="program")
    person, program = keyring.rights_of(role="owner"), keyring.rights_of(key=key)
    keyring.change(key, {"limit_day_micros": 100}, rights=person)
    refused = overtaking(
        functools.partial(keyring.change, key, {"limit_day_micros": 50}, rights=person),
        functools.partial(keyring.change, key, {"limit_day_micros": 90}, rights=program),
    )
    assert isinstance(refused, keyring.Invalid)
    assert keyring.wish_of(key).limit_day_micros == 50


def test_there_is_an_end_to_how_many_limits_too(world, monkeypatch):
    monkeypatch.setattr(limits, "MAX_LIMITS", 1)
    month = {"scope": "workspace", "period": "month", "limit_micros": 5_000}
    assert world.ada.post("limits", month).status_code == 200
    assert_problem(world.ada.post("limits", {**month, "period": "day"}), "too_many")
    assert (
        world.ada.post("limits", {**month, "limit_micros": 4_000}).status_code == 200
    )  # it is there already
