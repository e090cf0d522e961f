"""Browsers of any origin: what they may ask, what they may read, and that cookies are not with them."""

from __future__ import annotations

import pytest
from django.test import Client

from marketplace.models import Membership, User
from playground.api import rates
from tests.edge.asgi import ask, begin, run
from tests.predictions import cast

pytestmark = pytest.mark.django_db(transaction=True)
ELSEWHERE = "https://elsewhere.test"
PREFLIGHT = {
    "Origin": ELSEWHERE,
    "Access-Control-Request-Method": "POST",
    "Access-Control-Request-Headers": "authorization,idempotency-key",
}


@pytest.mark.parametrize(
    "path", ["/api/v1/predictions", "/api/v1/predictions/x/events", "/api/v1/webhooks", "/api/v1/nothing"]
)
def test_a_preflight_needs_neither_key_nor_django(world, path, monkeypatch):
    from playground.edge.inner import Inner

    async def never(*_):
        raise AssertionError("Django was asked")

    monkeypatch.setattr(Inner, "__call__", never)
    answer = run(ask("OPTIONS", path, headers=PREFLIGHT))
    assert (answer.status, answer.body) == (204, b"")
    assert answer.headers["access-control-allow-origin"] == "*"
    assert "access-control-allow-credentials" not in answer.headers
    assert "Authorization" in answer.headers["access-control-allow-headers"]
    assert "Idempotency-Key" in answer.headers["access-control-allow-headers"]
    assert "DELETE" in answer.headers["access-control-allow-methods"]


def test_every_answer_may_be_read(world):
    row = cast.submit(world.ada)
    own = world.headers()
    for method, path, headers, status in (
        ("GET", "/api/v1/models", {}, 200),
        ("GET", "/api/v1/balance", {}, 401),
        ("GET", f"/api/v1/predictions/{row.uid}", own, 200),
        ("GET", f"/api/v1/predictions/{row.uid}", own, 200),
        ("GET", "/api/v1/predictions/none/events", own, 404),
        ("HEAD", f"/api/v1/predictions/{row.uid}/events", own, 200),
        ("POST", "/api/v1/nothing", {"Content-Length": "3"}, 404),
        ("GET", "/api/v1/nothing", {}, 404),
    ):
        answer = run(ask(method, path, headers={"Origin": ELSEWHERE, **headers}))
        assert answer.status == status, path
        assert answer.headers["access-control-allow-origin"] == "*", path
        assert "RateLimit-Remaining" in answer.headers["access-control-expose-headers"]
        assert "access-control-allow-credentials" not in answer.headers


def test_pages_are_not_opened(world):
    answer = run(ask("GET", "/", headers={"Origin": ELSEWHERE}))
    assert "access-control-allow-origin" not in answer.headers


def test_a_strangers_cookies_are_not_looked_at(world):
    user = User.objects.create_user("ada@example.test", "a long password")
    Membership.objects.create(workspace=world.ada, user=user)
    client = Client()
    client.force_login(user)
    cookie = "; ".join(f"{name}={one.value}" for name, one in client.cookies.items())
    row = cast.submit(world.ada)
    for path in (
        "/api/v1/balance",
        f"/api/v1/predictions/{row.uid}",
        f"/api/v1/predictions/{row.uid}/events",
    ):
        for origin in (ELSEWHERE, "null", "http://localhost.elsewhere.test", "http://localhost:1"):
            answer = run(ask("GET", path, headers={"Cookie": cookie, "Origin": origin}))
            assert answer.status == 401, (path, origin)
    assert (
        run(ask("GET", "/api/v1/balance", headers={"Cookie": cookie, "Origin": "http://localhost"})).status
        == 200
    )
    assert run(ask("GET", "/api/v1/balance", headers={"Cookie": cookie})).status == 200


@pytest.mark.parametrize("origin", ["http://[", "http://[::1", "http://[x]/", "//[", "http://a:b:c"])
def test_an_origin_that_is_none_is_one_of_elsewhere(world, origin):
    row = cast.submit(world.ada)
    for path in (
        "/api/v1/balance",
        f"/api/v1/predictions/{row.uid}",
        f"/api/v1/predictions/{row.uid}/events",
    ):
        answer = run(ask("HEAD", path, headers={"Origin": origin, "Cookie": "sessionid=x"}))
        assert answer.status == 401, (path, origin)
        answer = run(ask("HEAD", path, headers={"Origin": origin, **world.headers()}))
        assert answer.status == 200, (path, origin)


def test_what_the_edge_answers_says_the_figures_too(world, monkeypatch):
    monkeypatch.setattr(rates, "WINDOW_SECONDS", 10**9)  # no minute ends in between
    row = cast.submit(world.ada)

    async def story():
        counts = []
        for path in (f"/api/v1/predictions/{row.uid}", f"/api/v1/predictions/{row.uid}", "/api/v1/balance"):
            answer = await ask("GET", path, headers=world.headers())
            counts.append(int(answer.headers["ratelimit-remaining"]))
        exchange = begin("GET", f"/api/v1/predictions/{row.uid}/events", headers=world.headers())
        _, headers = await exchange.start()
        counts.append(int(headers["ratelimit-remaining"]))
        await exchange.leave()
        return counts

    counts = run(story())
    assert counts == [counts[0] - n for n in range(4)]


def test_streams_are_counted(world, settings, monkeypatch):
    monkeypatch.setattr(rates, "WINDOW_SECONDS", 10**9)
    settings.API_REQUESTS_PER_MINUTE = 1
    row = cast.submit(world.ada)
    path = f"/api/v1/predictions/{row.uid}/events"
    answers = [run(ask("HEAD", path, headers=world.headers())) for _ in range(3)]
    assert [one.status for one in answers][-1] == 429
    assert answers[-1].headers["retry-after"] == answers[-1].headers[rates.RESET.lower()]


def test_a_wait_that_is_none_is_refused(world):
    row = cast.submit(world.ada)
    answer = run(ask("GET", f"/api/v1/predictions/{row.uid}?wait=soon", headers=world.headers()))
    assert answer.json()["errors"][0]["field"] == "wait"


def test_after_a_wait_the_figures_are_those_of_now():
    from playground.edge.held import _aged

    said = [(b"RateLimit-Limit", b"100"), (b"RateLimit-Remaining", b"7"), (b"RateLimit-Reset", b"20")]
    assert dict(_aged(said, 5.2))[b"RateLimit-Reset"] == b"15"
    assert dict(_aged(said, 5.2))[b"RateLimit-Remaining"] == b"7"
    later = dict(_aged(said, 30))
    assert (later[b"RateLimit-Reset"], later[b"RateLimit-Remaining"]) == (b"50", b"100")
    assert _aged([(b"x", b"y")], 3) == [(b"x", b"y")]
