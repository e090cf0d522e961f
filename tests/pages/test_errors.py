"""What went wrong, for people: each page says what happened and what to do, and a broken server can still say it."""

from __future__ import annotations

import pytest
import redis
from django.core.exceptions import DisallowedHost, PermissionDenied
from django.db import OperationalError
from django.http import Http404, HttpResponse
from django.template import TemplateDoesNotExist
from django.test import Client, RequestFactory
from django.urls import path

from playground import urls
from playground.pages import errors

ID = "a-request-of-mine"


def failing(error: Exception):
    def view(request):
        raise error

    return view


FAULTS = {
    "denied": PermissionDenied(),
    "missing": Http404(),
    "broken": ZeroDivisionError("secret"),
    "database": OperationalError("password of the server"),
    "redis": redis.ConnectionError("password of the server"),
    "template": TemplateDoesNotExist("x.html"),
}
urlpatterns = [
    *urls.urlpatterns,
    *(path(f"fails/{name}", failing(error)) for name, error in FAULTS.items()),
    path("act", lambda request: HttpResponse(status=405, headers={"Allow": "POST"})),
]
handler400, handler403, handler404 = urls.handler400, urls.handler403, urls.handler404
handler429, handler500 = urls.handler429, urls.handler500


@pytest.fixture
def client(settings) -> Client:
    settings.ROOT_URLCONF = __name__
    return Client(raise_request_exception=False, headers={"X-Request-Id": ID})


@pytest.mark.parametrize(
    ("name", "status", "said"),
    [
        ("denied", 403, "You may not do that here"),
        ("missing", 404, "There is nothing here"),
        ("broken", 500, "Something broke on our side"),
        ("template", 500, "Something broke on our side"),
        ("database", 503, "We are back in a moment"),
        ("redis", 503, "We are back in a moment"),
    ],
)
def test_each_says_what_happened_what_to_do_and_which_request(db, client, name, status, said):
    answer = client.get(f"/fails/{name}")
    body = answer.content.decode()
    assert answer.status_code == status
    assert said in body
    assert body.count("<li>") >= 1
    assert ID in body
    assert answer["X-Request-Id"] == ID
    assert "secret" not in body
    assert "password" not in body
    assert ("Try again</a>" in body) == (status >= 500)
    assert ("Retry-After" in answer) == (status == 503)


@pytest.mark.parametrize("name", ["broken", "database"])
def test_a_broken_server_needs_no_database_and_no_context(client, name, monkeypatch):
    """Without the fixture of the database every question to it is an error of the test."""
    from playground.pages import context

    monkeypatch.setattr(context, "page", failing(RuntimeError("no context")))
    client.cookies["sessionid"] = "whoever this is"
    assert client.get(f"/fails/{name}").status_code in {500, 503}


def test_where_even_the_session_cannot_be_read(client, monkeypatch):
    """Who is signed in is asked for by the page itself: the page of that is the one for a server that is away."""
    from django.contrib.sessions.backends.db import SessionStore

    monkeypatch.setattr(SessionStore, "load", failing(OperationalError("away")))
    client.cookies["sessionid"] = "whoever this is"
    for address in ("/dashboard/history", "/nothing-here"):
        answer = client.get(address)
        assert (answer.status_code, answer["Retry-After"]) == (503, "5"), address


def test_the_api_is_told_as_the_api_tells(db, client):
    answer = client.get("/api/v2")
    assert answer.json()["code"] == "not_found"
    assert answer.json()["request_id"] == ID


def test_a_form_that_is_too_old_leads_back_to_it(world):
    sender = Client(enforce_csrf_checks=True, headers={"Referer": "http://testserver/dashboard/keys?x=1"})
    body = sender.post("/dashboard/keys/new").content.decode()
    assert "sent no cookie" in body
    sender.get("/accounts/login")
    sender.cookies["csrftoken"] = "0" * 32
    answer = sender.post("/dashboard/keys/new")
    assert answer.status_code == 403
    body = answer.content.decode()
    assert "The form was not taken" in body
    assert 'href="/dashboard/keys?x=1">Back to where you were' in body
    assert "next=%2Fdashboard%2Fkeys%3Fx%3D1" in body


@pytest.mark.parametrize(
    "away",
    [
        "https://elsewhere.test/x",
        "//elsewhere.test/x",
        "javascript:alert(1)",
        "http://testserver.evil/",
        "http://testserver//evil.test",
        "http://[",
    ],
)
def test_nobody_is_led_to_another_site(world, away):
    asked = RequestFactory().get("/here", headers={"Referer": away})
    assert errors.came_from(asked) == ""
    answer = world.nobody.post("/dashboard/history/delete", headers={"Referer": away})
    assert answer["Location"] == "/accounts/login?next=/"


def test_an_act_of_who_is_signed_out_leads_to_the_page_that_it_was_on(world):
    answer = world.nobody.post(
        "/dashboard/history/delete", headers={"Referer": "http://testserver/dashboard/history?q=x"}
    )
    assert answer["Location"] == "/accounts/login?next=/dashboard/history%3Fq%3Dx"


def test_the_address_of_an_act_has_a_page_too(db, client):
    answer = client.get("/act")
    assert (answer.status_code, answer["Allow"]) == (405, "POST")
    assert "only takes a form" in answer.content.decode()


def test_a_refused_form_can_be_looked_at_again(world):
    assert world.ada.get(f"{world.page}/run")["Location"] == world.page


def test_a_name_that_the_server_does_not_know_is_told_to_who_can_mend_it(rf):
    body = errors.bad_request(rf.get("/", HTTP_HOST="shop.test"), DisallowedHost()).content.decode()
    assert "ALLOWED_HOSTS" in body
    assert "shop.test" in body


@pytest.mark.parametrize(
    "code",
    [
        "body_too_large",
        "request_timeout",
        "uri_too_long",
        "headers_too_large",
        "not_found",
        "unavailable",
        "internal_error",
        "malformed_request",
    ],
)
def test_what_the_edge_turns_away_is_a_page_as_well(code):
    body = errors.plain_page(code, request_id=ID)
    assert ID in body
    assert errors.EDGE[code].title in body
