"""Who may do what, on every route: the owner, an outsider, nobody, and keys that are no good or made for less."""

from __future__ import annotations

import base64

import pytest
from django.utils import timezone

from marketplace import keys
from marketplace.ids import encode, uuid7
from marketplace.keys import SCOPES
from tests.api.programs import Caller
from tests.api.shapes import assert_problem
from tests.predictions import cast

# method, address, the scope that it needs, whether visitors may, its status when all is well
ROUTES = [
    ("get", "models", "models:read", True, 200),
    ("get", "models/kiln/vase", "models:read", True, 200),
    ("post", "quotes", "predictions:read", False, 200),
    ("get", "predictions", "predictions:read", False, 200),
    ("post", "predictions", "predictions:write", False, 201),
    ("get", "predictions/{id}", "predictions:read", False, 200),
    ("delete", "predictions/{id}", "predictions:write", False, 204),
    ("post", "predictions/{id}/cancel", "predictions:write", False, 200),
    ("get", "predictions/{id}/events", "predictions:read", False, 503),  # the edge answers it, see tests/edge
    ("get", "models/kiln/vase/schema", "models:read", True, 200),
    ("get", "balance", "billing:read", False, 200),
    ("get", "billing", "billing:read", False, 200),
    ("get", "limits", "billing:read", False, 200),
    ("post", "limits", "billing:write", False, 200),
    ("get", "keys", "keys:read", False, 200),
    ("post", "keys", "keys:write", False, 201),
    ("get", "usage", "usage:read", False, 200),
    ("get", "usage.csv", "usage:read", False, 200),
    ("get", "receipts", "usage:read", False, 200),
    ("get", "receipts/{id}", "usage:read", False, 200),
    ("get", "invoices", "usage:read", False, 200),
    ("get", "invoices/{month}", "usage:read", False, 200),
    ("get", "invoices/{month}/pdf", "usage:read", False, 200),
    ("get", "assets", "assets:read", False, 200),
    ("post", "assets", "assets:write", False, 503),  # the edge brings the file, see tests/edge
    ("post", "assets/uploads", "assets:write", False, 201),
    ("get", "workspace", "workspace:read", False, 200),
    ("get", "publishers", "publishers:read", False, 200),
    ("post", "publishers", "publishers:write", False, 201),
    ("get", "webhooks", "webhooks:read", False, 200),
    ("post", "webhooks", "webhooks:write", False, 201),
    ("get", "webhooks/request-secret", "webhooks:write", False, 200),
    ("post", "webhooks/request-secret", "webhooks:write", False, 200),
]
BODIES = {
    "limits": {"scope": "workspace", "period": "day", "limit_micros": 5_000_000},
    "publishers": {"name": "northlight", "terms": True},
    "webhooks": {"url": "https://example.test/"},
    "quotes": {"model": "kiln/vase", "input": {"prompt": "a vase"}},
    "predictions": {"model": "kiln/vase", "input": {"prompt": "a vase"}},
    "assets/uploads": {"size": 1},
    "keys": {"name": "a key", "scopes": ["keys:write"]},
}


RUN = {"model": "kiln/vase", "input": {"prompt": "a vase"}}


@pytest.fixture(params=ROUTES, ids=lambda route: f"{route[0]} {route[1]}")
def route(request):
    return request.param


def named(path, run):
    """The address of a route, with this run and the present month."""
    return path.format(id=run.uid if run else "none", month=f"{timezone.now():%Y-%m}")


def ask(who: Caller, route, run):
    method, path, *_ = route
    path = named(path, run)
    if method == "get":
        return who.get(path)
    if method == "delete":
        return who.delete(f"{path}?cancel=true")
    return who.post(path, BODIES.get(path, {}))


def text_of(answer) -> str:
    return (answer.getvalue() if answer.streaming else answer.content).decode(errors="replace")


def test_the_owner_may(world, route):
    run = cast.submit(world.workspace)
    assert ask(world.ada, route, run).status_code == route[4]


def test_an_outsider_does_not_see_the_run(world, route):
    run = cast.submit(world.workspace)
    answer = ask(world.mal, route, run)
    if "{id}" in route[1]:
        assert_problem(answer, "not_found")
        assert cast.again(run).status == "queued"
    else:
        assert answer.status_code == route[4]
        assert run.uid not in text_of(answer)


def test_nobody(world, route):
    run = cast.submit(world.workspace)
    answer = ask(world.nobody, route, run)
    if route[3]:
        assert answer.status_code == 200
    else:
        assert_problem(answer, "not_authenticated")
        assert answer.headers["WWW-Authenticate"].startswith("Bearer")


@pytest.mark.parametrize("how", ["revoked", "expired", "unknown", "damaged", "basic"])
def test_keys_that_are_no_good(world, route, key_with, how):
    run = cast.submit(world.workspace)
    who = {
        "revoked": lambda: key_with(revoked=True),
        "expired": lambda: key_with(expired=True),
        "unknown": lambda: Caller(f"vt_{'a' * 12}_{'b' * 32}"),
        "damaged": lambda: Caller((world.ada.key or "")[:-1]),
        "basic": lambda: Caller(),
    }[how]()
    if how == "basic":
        who.client.defaults["HTTP_AUTHORIZATION"] = "Basic " + base64.b64encode(b"ada:secret").decode()
    answer = ask(who, route, run)
    body = assert_problem(answer, "invalid_key")
    assert answer.headers["WWW-Authenticate"].startswith("Bearer")
    assert who.key is None or who.key[16:] not in body["detail"]
    assert cast.again(run).status == "queued"


def test_a_key_without_the_scope(world, route, key_with):
    run = cast.submit(world.workspace)
    scope = route[2]
    lacking = key_with(scopes=[one for one in SCOPES if one != scope])
    body = assert_problem(ask(lacking, route, run), "missing_scope")
    assert body["needed_scope"] == scope
    only = key_with(scopes=[scope])
    assert ask(only, route, run).status_code == route[4]


def test_every_method_that_is_not_there(world, route):
    run = cast.submit(world.workspace)
    path = f"/api/v1/{named(route[1], run)}"
    known = {one[0] for one in ROUTES if one[1] == route[1]}
    for method in {"get", "post", "put", "patch", "delete", "trace"} - known:
        answer = world.ada.client.generic(method.upper(), path, headers=world.ada.headers({}))
        assert answer.status_code == 405, method
        assert_problem(answer, "method_not_allowed")
        assert {one.upper() for one in known} <= {m.strip() for m in answer.headers["Allow"].split(",")}


@pytest.mark.parametrize(
    "headers",
    [
        {"Authorization": "Bearer {key}"},
        {"Authorization": "bearer   {key} "},
        {"Authorization": "Key {key}"},
        {"Authorization": "Token {key}"},
        {"X-API-Key": "{key}"},
        {"Authorization": "Key {id}:{secret}"},
        {"X-API-Key": "{id}:{secret}"},
    ],
)
def test_every_way_to_send_a_key(world, headers):
    key = world.ada.key
    key_id, secret = key.rsplit("_", 1)
    sent = {name: value.format(key=key, id=key_id, secret=secret) for name, value in headers.items()}
    answer = world.nobody.client.get("/api/v1/balance", headers=sent)
    assert answer.status_code == 200, answer.text
    assert answer.json()["workspace"] == world.workspace.slug


def test_every_spelling_of_an_id(world):
    run = cast.submit(world.workspace)
    bare = encode(run.public_id)
    for spelling in (run.uid, run.uid.upper(), bare, str(run.public_id), str(run.public_id).upper()):
        assert world.ada.get(f"predictions/{spelling}").json()["id"] == run.uid
    for wrong in (
        "p_",
        "x" * 26,
        encode(uuid7(), "p"),
        f"a_{bare}",
        "p_" + "u" * 26,
        "%00",
        "..",
        "p_" + "9" * 26,
    ):
        assert_problem(world.ada.get(f"predictions/{wrong}"), "not_found")


def test_a_private_model_is_its_publishers_alone(world):
    cast.shelve(name="secret", visibility="private")
    _, own = keys.make(cast.publisher().workspace, name="own")
    body = {"model": "kiln/secret", "input": {"prompt": "a"}}
    for who in (world.ada, world.nobody):
        assert_problem(who.get("models/kiln/secret"), "not_found")
        assert "kiln/secret" not in who.get("models").text
    assert_problem(world.ada.post("quotes", body), "not_found")
    assert_problem(world.ada.post("predictions", body), "not_found")
    assert Caller(own).get("models/kiln/secret").status_code == 200
    assert Caller(own).post("quotes", body).status_code == 200
    assert_problem(world.ada.post("quotes", body), "not_found")


def test_below_the_api_every_error_is_a_problem(world):
    for path in (
        "/api/v1/nothing",
        "/api/v1",
        "/api/",
        "/api/v2/models",
        "/api/v1/models/",
        "/api/v1/models/a/b/c",
    ):
        for who in (world.ada, world.nobody):
            assert_problem(who.get(path), "not_found")
            assert_problem(who.post(path), "not_found")
